"""Quality over HTTP beside librosa: PESQ wide-band and extended STOI against the original.

    python -m benchmarks.quality --data DIR [--clips N] [--seeds N] [--presets all|none|NAME,...]

The mels are made by librosa, not by Unmel; librosa's inversion runs on the same mels.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from pesq import pesq
from pystoi import stoi

from benchmarks.peers import Wave, extract, librosa_audio
from benchmarks.server import running_service
from models.config import MelConfig
from models.presets import PRESETS

PEER_ITERATIONS = 100


class Score(NamedTuple):
    """How close audio came to the original."""

    pesq: float
    estoi: float


@dataclass(frozen=True)
class Row:
    """A table's row: means over clips and seeds."""

    name: str
    score: Score
    seconds_per_second: float
    """Seconds of one core (for Unmel, of a lane's one thread) a second of audio."""


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


def score(original: Wave, result: Wave, rate: int) -> Score:
    """PESQ wide-band at 16 kHz and extended STOI of `result` against `original`."""
    n = min(len(original), len(result))
    pair = original[:n], result[:n]
    a, b = (soxr.resample(x, rate, 16000, quality="VHQ") for x in pair)
    return Score(float(pesq(16000, a, b, "wb")), float(stoi(*pair, rate, extended=True)))


def _score_one(job: tuple[Wave, Wave, int]) -> Score:
    return score(*job)


def _librosa_one(job: tuple[Wave, MelConfig, int]) -> tuple[Score, float]:
    wave, config, n_iter = job
    mel = extract(config, wave)
    began = time.process_time()
    result = librosa_audio(config, mel.linear, n_iter)
    seconds = time.process_time() - began
    return score(wave, result, config.sample_rate), seconds


def _mean(scores: Sequence[Score]) -> Score:
    return Score(
        float(np.mean([s.pesq for s in scores])), float(np.mean([s.estoi for s in scores]))
    )


def unmel_row(
    client: httpx.Client,
    pool: ProcessPoolExecutor,
    preset: str,
    quality: str,
    clips: Sequence[tuple[Wave, int]],
    seeds: int,
) -> Row:
    """Post every clip's mel with every seed, eight requests at a time."""
    config = PRESETS[preset].config
    waves = [at_rate(clip, config.sample_rate) for clip in clips]
    bodies = [_npy(extract(config, wave).values) for wave in waves]
    jobs = [(k, seed) for seed in range(seeds) for k in range(len(waves))]

    def post(job: tuple[int, int]) -> tuple[Wave, float]:
        k, seed = job
        answer = client.post(
            "/reconstruct",
            params={"config": preset, "quality": quality, "seed": seed, "format": "wav_f32"},
            content=bodies[k],
            headers={"Content-Type": "application/x-npy"},
        )
        if answer.status_code != 200:
            raise SystemExit(f"{preset}: {answer.status_code} {answer.text}")
        audio: Wave
        audio, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
        assert rate == config.sample_rate  # noqa: S101 - a benchmark may insist
        timing = dict(part.split(";dur=") for part in answer.headers["Server-Timing"].split(", "))
        return audio, float(timing["compute"]) / 1000 / int(answer.headers["X-Pack-Items"])

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(post, jobs))
    lane_seconds = sum(seconds for _, seconds in results)
    scores = list(
        pool.map(
            _score_one,
            [
                (waves[k], audio, config.sample_rate)
                for (k, _), (audio, _) in zip(jobs, results, strict=True)
            ],
        )
    )
    seconds = seeds * sum(len(w) for w in waves) / config.sample_rate
    return Row(f"Unmel {quality}", _mean(scores), lane_seconds / seconds)


def librosa_row(
    pool: ProcessPoolExecutor,
    preset: str,
    clips: Sequence[tuple[Wave, int]],
    n_iter: int = PEER_ITERATIONS,
) -> Row:
    """`mel_to_stft` and `griffinlim` of librosa on the same mels; seconds are of one core."""
    config = PRESETS[preset].config
    waves = [at_rate(clip, config.sample_rate) for clip in clips]
    done = list(pool.map(_librosa_one, [(wave, config, n_iter) for wave in waves]))
    seconds = sum(len(w) for w in waves) / config.sample_rate
    return Row(
        f"librosa mel_to_audio, {n_iter}",
        _mean([s for s, _ in done]),
        sum(cpu for _, cpu in done) / seconds,
    )


def _npy(values: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of wav files")
    parser.add_argument("--clips", type=int, help="at most this many clips")
    parser.add_argument("--preset-clips", type=int, default=6, help="clips of the second table")
    parser.add_argument("--seeds", type=int, default=2, help="seeds a clip, first table")
    parser.add_argument("--presets", default="all", help="all, none, or names with commas")
    options = parser.parse_args()
    clips = read_clips(options.data, options.clips)
    names = {"all": list(PRESETS), "none": []}.get(options.presets, options.presets.split(","))
    # One thread a process: the service and librosa share the machine.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (
        running_service() as url,
        httpx.Client(base_url=url, timeout=600) as client,
        ProcessPoolExecutor() as pool,
    ):
        print(f"hifigan-22k, {len(clips)} clips, {options.seeds} seeds, over HTTP\n")
        print("| method | PESQ-WB | ESTOI | s per s of audio |\n|---|---|---|---|")
        for quality in ("draft", "standard", "high"):
            row = unmel_row(client, pool, "hifigan-22k", quality, clips, options.seeds)
            print(_line(row), flush=True)
        for n_iter in (32, PEER_ITERATIONS):
            print(_line(librosa_row(pool, "hifigan-22k", clips, n_iter)), flush=True)
        if names:
            preset_table(client, pool, names, clips[: options.preset_clips])


def _line(row: Row) -> str:
    return (
        f"| {row.name} | {row.score.pesq:.2f} | {row.score.estoi:.3f} "
        f"| {row.seconds_per_second:.3f} |"
    )


def preset_table(
    client: httpx.Client,
    pool: ProcessPoolExecutor,
    names: Sequence[str],
    clips: Sequence[tuple[Wave, int]],
) -> None:
    """Standard quality against librosa for each preset; equal configs are measured once."""
    print(f"\nEvery preset at standard beside librosa, {PEER_ITERATIONS}: {len(clips)} clips\n")
    print("| preset | Unmel PESQ | librosa PESQ | ahead by | Unmel ESTOI | librosa ESTOI |")
    print("|---|---|---|---|---|---|")
    known: dict[MelConfig, tuple[Row, Row]] = {}
    for name in names:
        config = PRESETS[name].config
        if config not in known:
            known[config] = (
                unmel_row(client, pool, name, "standard", clips, 1),
                librosa_row(pool, name, clips),
            )
        ours, theirs = known[config]
        print(
            f"| {name} | {ours.score.pesq:.2f} | {theirs.score.pesq:.2f} "
            f"| {ours.score.pesq - theirs.score.pesq:+.2f} "
            f"| {ours.score.estoi:.3f} | {theirs.score.estoi:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
