"""Streams: quality by look-ahead, seams, time to first audio, memory, and sessions per core.

    python -m benchmarks.streaming --data DIR [--clips N] [--minutes 30]
        [--parts memory,latency,socket,capacity,seams,quality]

All parts but `socket` run in this process on one core; scoring uses the others.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from websockets.sync.client import connect

from benchmarks.bench import at_rate, read_clips
from benchmarks.peers import Wave, extract
from benchmarks.scores import Score, mean, score
from benchmarks.server import running_service
from unmel.models.backends.cpu.compiled import LOOPS
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.engine.session import Session
from unmel.models.engine.streams import DEFAULT_LOOKAHEAD, ITERATIONS, Options, Stream
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import Recipe, resolve
from unmel.models.methods.schedule import qualities

PRESET = "hifigan-22k"
LOOKAHEADS = (2, 4, 8, 16)
_PACKS = (1, 4, 16)


@dataclass(frozen=True, eq=False)
class Clip:
    """Speech and its mel `[T, K]`."""

    wave: Wave
    mel: NDArray[np.float32]


def _score(job: tuple[Wave, Wave, int]) -> Score:
    return score(*job)


class Bench:
    """Clips of one config and an engine."""

    def __init__(self, engine: Engine, config: MelConfig, clips: Sequence[Clip]) -> None:
        self.engine, self.config, self.clips = engine, config, clips

    def streams(self, options: Options) -> tuple[list[Wave], float]:
        """All clips streamed side by side, and the seconds of the core."""
        streams = []
        for k, clip in enumerate(self.clips):
            stream = self.engine.stream(self.config, Options(options.quality, options.lookahead, k))
            stream.feed(clip.mel)
            stream.end()
            streams.append(stream)
        parts: list[list[Wave]] = [[] for _ in streams]
        began = time.process_time()
        for found in _advance(self.engine, streams):
            for part, samples in zip(parts, found, strict=True):
                part.append(samples)
        return [np.concatenate(part) for part in parts], time.process_time() - began

    def offline(self, recipe: Recipe) -> tuple[list[Wave], float]:
        """All clips reconstructed offline, and the seconds of the core."""
        items = [
            Item(c.mel, self.config, recipe, self.config.samples(len(c.mel)), k)
            for k, c in enumerate(self.clips)
        ]
        began = time.process_time()
        results = self.engine.run(items)
        seconds = time.process_time() - began
        return [np.asarray(r.values, np.float32) for r in results], seconds

    def scored(self, pool: ProcessPoolExecutor, waves: Sequence[Wave]) -> Score:
        """Mean scores over the clips."""
        rate = self.config.sample_rate
        jobs = [(c.wave, wave, rate) for c, wave in zip(self.clips, waves, strict=True)]
        return mean(list(pool.map(_score, jobs)))

    @property
    def seconds(self) -> float:
        """Seconds of audio."""
        return sum(len(clip.wave) for clip in self.clips) / self.config.sample_rate


def _advance(engine: Engine, streams: Sequence[Stream]) -> Iterator[list[Wave]]:
    """The samples that each stream settles, step by step."""
    while any(steps := [stream.step for stream in streams]):
        results = iter(engine.run([step for step in steps if step is not None]))
        yield [
            np.asarray(next(results).values, np.float32) if step else np.zeros(0, np.float32)
            for step in steps
        ]


def quality_part(bench: Bench, pool: ProcessPoolExecutor) -> None:
    """PESQ and ESTOI by look-ahead, and those of RTISI-LA with as many iterations per frame."""
    ms = 1000.0 * bench.config.hop_length / bench.config.sample_rate
    print(f"\n{PRESET}, {len(bench.clips)} clips, {bench.seconds:.0f} s of audio\n")
    print("| look-ahead | stream, draft | standard | high | smooth + RTISI-LA |")
    print("|---|---|---|---|---|")
    for lookahead in LOOKAHEADS:
        cells = []
        for quality in ITERATIONS:
            waves, seconds = bench.streams(Options(quality, lookahead))
            cells.append(_cell(bench.scored(pool, waves), seconds / bench.seconds))
        passes = Options("standard", lookahead).n_iter * (lookahead + 1)
        recipe = resolve(
            bench.config.power,
            inversion="smooth",
            phase="rtisi_la",
            n_iter=passes,
            params={"lookahead": lookahead},
        )
        waves, seconds = bench.offline(recipe)
        cells.append(_cell(bench.scored(pool, waves), seconds / bench.seconds))
        name = f"{lookahead} frames, {lookahead * ms:.0f} ms"
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    cells = []
    for quality in qualities(bench.config.power):
        waves, seconds = bench.offline(
            resolve(bench.config.power, octaves=bench.config.octaves, quality=quality)
        )
        cells.append(_cell(bench.scored(pool, waves), seconds / bench.seconds))
    print(f"| offline, all frames | {' | '.join(cells)} | |")
    print(
        "\nPESQ-WB / ESTOI / seconds of one core a second of audio, sixteen streams side by side."
    )
    print("RTISI-LA runs the iterations of standard.")


def _cell(value: Score, cost: float) -> str:
    return f"{value.pesq:.2f} / {value.estoi:.3f} / {cost:.3f}"


def seams_part(bench: Bench) -> None:
    """Jumps between samples at the borders of chunks and elsewhere."""
    waves, _ = bench.streams(Options())
    hop, lead = bench.config.hop_length, bench.config.lead
    print("\nJumps between neighbouring samples, full scale at 1\n")
    print("| order | where | mean | root mean square | 99 % | 99.9 % |")
    print("|---|---|---|---|---|---|")
    for order, name in ((1, "first difference"), (2, "second difference")):
        borders, others = [], []
        for wave in waves:
            jumps = np.abs(np.diff(wave, order))
            # The jump at a border is between the samples before and behind it.
            place = (np.arange(len(jumps)) + 1 + lead) % hop
            at = place == 0 if order == 1 else (place == 0) | (place == hop - 1)
            borders.append(jumps[at])
            others.append(jumps[~at])
        for where, parts in (("chunk borders", borders), ("elsewhere", others)):
            j = np.concatenate(parts)
            numbers = (j.mean(), np.sqrt((j**2).mean()), *np.quantile(j, (0.99, 0.999)))
            print(f"| {name} | {where} | " + " | ".join(f"{n:.5f}" for n in numbers) + " |")


def latency_part(bench: Bench) -> None:
    """Wall time of the push that settles the first samples, and of later pushes."""
    print("\nTime of a push of one frame, one stream alone, ms\n")
    print("| quality | first audio, median | first audio, worst | push, median | push, 99 % |")
    print("|---|---|---|---|---|")
    for quality in ITERATIONS:
        first: list[float] = []
        others: list[float] = []
        for clip in bench.clips:
            session = Session(bench.config, Options(quality), bench.engine)
            heard = 0
            for frame in clip.mel:
                began = time.perf_counter()
                samples = session.push(frame[None])
                took = 1000.0 * (time.perf_counter() - began)
                if len(samples):
                    (others if heard else first).append(took)
                heard += len(samples)
            session.finish()
        numbers = (np.median(first), max(first), np.median(others), np.quantile(others, 0.99))
        print(f"| {quality} | " + " | ".join(f"{n:.1f}" for n in numbers) + " |", flush=True)


def socket_part(bench: Bench) -> None:
    """Time over a WebSocket from the frame that completes the first window to its samples."""
    print("\nFirst audio over WS /stream, frames sent in real time, ms\n")
    print("| quality | median | worst |\n|---|---|---|")
    config = bench.config
    period = config.hop_length / config.sample_rate
    hello = {"config": PRESET, "format": "f32le"}
    with running_service() as url:
        for quality in ITERATIONS:
            waits = []
            for clip in bench.clips:
                with connect(url.replace("http", "ws") + "/stream") as connection:
                    connection.send(json.dumps({**hello, "quality": quality}))
                    began = time.monotonic()
                    for t in range(config.lead // config.hop_length + DEFAULT_LOOKAHEAD + 1):
                        time.sleep(max(0.0, began + t * period - time.monotonic()))
                        connection.send(clip.mel[t].astype("<f4").tobytes())
                    sent = time.monotonic()
                    connection.recv()
                    waits.append(1000.0 * (time.monotonic() - sent))
            print(f"| {quality} | {np.median(waits):.1f} | {max(waits):.1f} |", flush=True)


def capacity_part(bench: Bench) -> None:
    """Real-time streams per core: seconds of audio per second of the core."""
    print("\nStreams in real time on one core: seconds of audio a second of the core\n")
    print("| quality | " + " | ".join(f"{n} in a pack" for n in _PACKS) + " |")
    print("|---" * (len(_PACKS) + 1) + "|")
    mel = max((clip.mel for clip in bench.clips), key=len)[:400]
    for quality in ITERATIONS:
        cells = []
        for count in _PACKS:
            streams = [
                bench.engine.stream(bench.config, Options(quality, seed=k)) for k in range(count)
            ]
            heard, began = 0, time.process_time()
            for frame in mel:
                for stream in streams:
                    stream.feed(frame[None])
                for found in _advance(bench.engine, streams):
                    heard += sum(map(len, found))
            seconds = time.process_time() - began
            cells.append(f"{heard / bench.config.sample_rate / seconds:.1f}")
        print(f"| {quality} | {' | '.join(cells)} |", flush=True)


def memory_part(bench: Bench, minutes: float) -> None:
    """Peak memory of the process while a long mel goes through one session."""
    per_minute = int(60 * bench.config.sample_rate / bench.config.hop_length)
    session = Session(bench.config, Options("draft"), bench.engine)
    mel = np.concatenate([clip.mel for clip in bench.clips])
    frames = samples = 0
    print(f"\n{minutes:g} minutes through one session\n")
    print("| minutes | samples | most memory, MiB |\n|---|---|---|")
    marks = {int(per_minute * m) for m in (1, minutes / 3, 2 * minutes / 3)}
    total = int(per_minute * minutes)
    while frames < total:
        at = frames % len(mel)
        part = mel[at : at + min(50, total - frames)]
        samples += len(session.push(part))
        before, frames = frames, frames + len(part)
        if frames == total:
            samples += len(session.finish())
        if frames == total or any(before < mark <= frames for mark in marks):
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"| {frames / per_minute:.1f} | {samples} | {most:.0f} |", flush=True)
    if samples != bench.config.samples(total):
        raise SystemExit(f"{samples} samples, offline gives {bench.config.samples(total)}")


def main() -> None:
    """Print the chosen tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of wav files")
    parser.add_argument("--clips", type=int, help="at most this many clips")
    parser.add_argument("--minutes", type=float, default=30.0, help="length of the last part")
    parser.add_argument("--parts", default="memory,latency,socket,capacity,seams,quality")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config, engine = PRESETS[PRESET].config, Engine()
    LOOPS.wait()
    clips = []
    for clip in read_clips(options.data, options.clips):
        wave = at_rate(clip, config.sample_rate)
        clips.append(Clip(wave, np.ascontiguousarray(extract(config, wave).values.T)))
    bench, parts = Bench(engine, config, clips), options.parts.split(",")
    print(f"Look-ahead {DEFAULT_LOOKAHEAD} frames where none is named.")
    # First, because the memory of the other parts would hide it.
    if "memory" in parts:
        memory_part(bench, options.minutes)
    if "latency" in parts:
        latency_part(bench)
    if "socket" in parts:
        socket_part(bench)
    if "capacity" in parts:
        capacity_part(bench)
    if "seams" in parts:
        seams_part(bench)
    if "quality" in parts:
        with ProcessPoolExecutor() as pool:
            quality_part(bench, pool)


if __name__ == "__main__":
    main()
