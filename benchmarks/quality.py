"""Quality over HTTP beside librosa: every method, degraded mels, every preset.

    python -m benchmarks.quality --data DIR [--clips N] [--seeds N]
        [--parts methods,degraded,presets] [--presets all|NAME,...] [--picture FILE.svg]

The mels are made by librosa, not by Unmel; librosa's inversion runs on the same mels. Seconds
are of one core: for Unmel a lane's own, shared out over the pack.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from benchmarks.degrade import DEGRADATIONS
from benchmarks.peers import Wave, extract, librosa_audio
from benchmarks.picture import draw
from benchmarks.scores import Score, mean, score
from benchmarks.server import running_service
from models.config import MelConfig
from models.inversion import INVERSIONS
from models.joint import JOINT
from models.phase import PHASES
from models.presets import PRESETS

PRESET = "hifigan-22k"
PEER_ITERATIONS = 100
# The inversion that phase methods are compared on, and the phases that inversions are.
GOOD_INVERSION = "smooth"
PLAIN_PHASE = "griffin_lim"

Values = NDArray[np.float32]
Options = dict[str, str | int]


@dataclass(frozen=True)
class Row:
    """A table's row: means over clips and seeds."""

    name: str
    score: Score
    seconds: float
    """Of one core, a second of audio."""
    peer: bool = False

    def line(self) -> str:
        """As Markdown."""
        s = self.score
        name = f"*{self.name}*" if self.peer else self.name
        return (
            f"| {name} | {s.pesq:.2f} | {s.estoi:.3f} | {s.spectral:.1f} | {s.mel:.2f} "
            f"| {self.seconds:.3f} |"
        )


HEAD = (
    "| method | PESQ-WB | ESTOI | spectral distance, dB | mel distance, dB | s per s |\n"
    "|---|---|---|---|---|---|"
)


def read_clips(folder: Path, limit: int | None) -> list[tuple[Wave, int]]:
    """The wav files of a folder as `(samples, rate)`, mono."""
    files = sorted(folder.glob("*.wav"))[:limit]
    if not files:
        raise SystemExit(f"no .wav files in {folder}")
    clips = []
    for file in files:
        wave, rate = soundfile.read(file, dtype="float32", always_2d=True)
        clips.append((wave.mean(axis=1), rate))
    return clips


def at_rate(clip: tuple[Wave, int], rate: int) -> Wave:
    """A clip's samples at another rate."""
    wave, own = clip
    return wave if own == rate else soxr.resample(wave, own, rate, quality="VHQ")


def _score_one(job: tuple[Wave, Wave, int]) -> Score:
    return score(*job)


def _librosa_one(job: tuple[Wave, MelConfig, Values, int]) -> tuple[Score, float]:
    wave, config, linear, n_iter = job
    began = time.process_time()
    result = librosa_audio(config, linear, n_iter)
    seconds = time.process_time() - began
    return score(wave, result, config.sample_rate), seconds


class Bench:
    """A service, clips, and processes that score and run the peer."""

    def __init__(
        self, client: httpx.Client, pool: ProcessPoolExecutor, clips: Sequence[tuple[Wave, int]]
    ) -> None:
        self.client, self.pool, self.clips = client, pool, clips

    def unmel(
        self,
        name: str,
        preset: str,
        options: Options,
        seeds: int = 1,
        change: Callable[[Values], Values] = lambda values: values,
    ) -> Row:
        """Post every clip's mel with every seed, four requests at a time."""
        config = PRESETS[preset].config
        waves = [at_rate(clip, config.sample_rate) for clip in self.clips]
        bodies = [_npy(change(extract(config, wave).values)) for wave in waves]
        jobs = [(k, seed) for seed in range(seeds) for k in range(len(waves))]

        def post(job: tuple[int, int]) -> tuple[Wave, float]:
            k, seed = job
            return self._post(bodies[k], {"config": preset, "seed": seed, **options})

        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(post, jobs))
        scores = self.pool.map(
            _score_one,
            [
                (waves[k], audio, config.sample_rate)
                for (k, _), (audio, _) in zip(jobs, results, strict=True)
            ],
        )
        seconds = sum(lane for _, lane in results)
        length = seeds * sum(len(w) for w in waves) / config.sample_rate
        return Row(name, mean(list(scores)), seconds / length)

    def _post(self, body: bytes, options: Options) -> tuple[Wave, float]:
        answer = self.client.post(
            "/reconstruct",
            params={"format": "wav_f32", **options},
            content=body,
            headers={"Content-Type": "application/x-npy"},
        )
        if answer.status_code != 200:
            raise SystemExit(f"{options}: {answer.status_code} {answer.text}")
        audio: Wave
        audio, _ = soundfile.read(io.BytesIO(answer.content), dtype="float32")
        timing = dict(part.split(";dur=") for part in answer.headers["Server-Timing"].split(", "))
        return audio, float(timing["compute"]) / 1000 / int(answer.headers["X-Pack-Items"])

    def librosa(
        self,
        preset: str,
        n_iter: int = PEER_ITERATIONS,
        change: Callable[[Values], Values] = lambda values: values,
    ) -> Row:
        """`mel_to_stft` and `griffinlim` of librosa on the same mels."""
        config = PRESETS[preset].config
        jobs = []
        for clip in self.clips:
            wave = at_rate(clip, config.sample_rate)
            mel = extract(config, wave)
            changed = change(mel.values)
            # The preset of the degraded part stores ln, which exp undoes.
            linear = mel.linear if changed is mel.values else np.exp(changed)
            jobs.append((wave, config, linear, n_iter))
        done = list(self.pool.map(_librosa_one, jobs))
        length = sum(len(wave) for wave, *_ in jobs) / config.sample_rate
        return Row(
            f"librosa mel_to_audio, {n_iter}",
            mean([s for s, _ in done]),
            sum(cpu for _, cpu in done) / length,
            peer=True,
        )


def _npy(values: Values) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def methods_part(bench: Bench, seeds: int) -> list[Row]:
    """Every method by name, beside librosa."""
    print(f"\n{PRESET}, {len(bench.clips)} clips\n\n{HEAD}")
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        print(row.line(), flush=True)

    for quality in ("draft", "standard", "high"):
        add(bench.unmel(f"consistent, {quality}", PRESET, {"quality": quality}, seeds))
    for method in JOINT:
        if method != "consistent":
            add(bench.unmel(f"{method}, 100", PRESET, {"method": method, "n_iter": 100}))
    for inversion in INVERSIONS:
        options: Options = {"inversion": inversion, "phase": PLAIN_PHASE, "n_iter": 100}
        add(bench.unmel(f"{inversion} + {PLAIN_PHASE}, 100", PRESET, options))
    for phase in PHASES:
        n_iter = 8 if phase == "rtisi_la" else 100
        options = {"inversion": GOOD_INVERSION, "phase": phase, "n_iter": n_iter}
        if phase != PLAIN_PHASE:
            add(bench.unmel(f"{GOOD_INVERSION} + {phase}, {n_iter}", PRESET, options))
    for n_iter in (32, PEER_ITERATIONS):
        add(bench.librosa(PRESET, n_iter))
    return rows


def degraded_part(bench: Bench) -> None:
    """Mels as an acoustic model emits them: PESQ and ESTOI of a few methods."""
    print(f"\n{PRESET}, mels as a model emits them, {len(bench.clips)} clips: PESQ-WB / ESTOI\n")
    print("| mel | draft | standard | smooth + griffin_lim, 100 | librosa, 100 |")
    print("|---|---|---|---|---|")
    two_stage: Options = {"inversion": GOOD_INVERSION, "phase": PLAIN_PHASE, "n_iter": 100}
    for name, change in DEGRADATIONS.items():
        rows = [
            bench.unmel("", PRESET, {"quality": "draft"}, change=change),
            bench.unmel("", PRESET, {"quality": "standard"}, change=change),
            bench.unmel("", PRESET, two_stage, change=change),
            bench.librosa(PRESET, change=change),
        ]
        cells = [f"{row.score.pesq:.2f} / {row.score.estoi:.3f}" for row in rows]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def presets_part(bench: Bench, names: Sequence[str]) -> None:
    """Standard quality against librosa for each preset; equal configs are measured once."""
    print(
        f"\nEvery preset at standard beside librosa, {PEER_ITERATIONS}: {len(bench.clips)} clips\n"
    )
    print("| preset | Unmel PESQ | librosa PESQ | ahead by | Unmel ESTOI | librosa ESTOI |")
    print("|---|---|---|---|---|---|")
    known: dict[MelConfig, tuple[Row, Row]] = {}
    for name in names:
        config = PRESETS[name].config
        if config not in known:
            known[config] = (
                bench.unmel("", name, {"quality": "standard"}),
                bench.librosa(name),
            )
        ours, theirs = (row.score for row in known[config])
        print(
            f"| {name} | {ours.pesq:.2f} | {theirs.pesq:.2f} | {ours.pesq - theirs.pesq:+.2f} "
            f"| {ours.estoi:.3f} | {theirs.estoi:.3f} |",
            flush=True,
        )


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of wav files")
    parser.add_argument("--clips", type=int, help="at most this many clips")
    parser.add_argument("--few", type=int, default=6, help="clips of the parts after the first")
    parser.add_argument("--seeds", type=int, default=2, help="seeds a clip, for the qualities")
    parser.add_argument("--parts", default="methods,degraded,presets")
    parser.add_argument("--presets", default="all", help="all, or names with commas")
    parser.add_argument("--picture", type=Path, help="draw the first part here, as SVG")
    options = parser.parse_args()
    clips = read_clips(options.data, options.clips)
    names = list(PRESETS) if options.presets == "all" else options.presets.split(",")
    # One thread a process: the service and librosa share the machine.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (
        running_service() as url,
        httpx.Client(base_url=url, timeout=600) as client,
        ProcessPoolExecutor() as pool,
    ):
        parts = options.parts.split(",")
        if "methods" in parts:
            rows = methods_part(Bench(client, pool, clips), options.seeds)
            if options.picture:
                draw(
                    [(r.name, r.seconds, r.score.pesq, r.peer) for r in rows],
                    options.picture,
                )
        few = Bench(client, pool, clips[: options.few])
        if "degraded" in parts:
            degraded_part(few)
        if "presets" in parts:
            presets_part(few, names)


if __name__ == "__main__":
    main()
