"""Quality of a service: post clips' mels, score the audio, and run peers on the same mels."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

from benchmarks.peers import Wave, extract, librosa_audio, torchaudio_audio
from benchmarks.process import usage
from benchmarks.scores import Score, mean, score
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.schedule import Quality

PEER_ITERATIONS = 100

QUALITIES: tuple[Quality, ...] = ("draft", "standard", "high")
FORMATS = {".wav", ".flac", ".ogg"}

Values = NDArray[np.float32]
Options = Mapping[str, str | int]


@dataclass(frozen=True)
class Row:
    """A row of a table: means over clips and seeds."""

    name: str
    score: Score
    seconds: float
    """Seconds of one core per second of audio."""
    peer: bool = False

    def line(self) -> str:
        """The row as Markdown."""
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


def named_folder(text: str) -> tuple[str, Path]:
    """Name and folder of `NAME=FOLDER`, or of `FOLDER`."""
    name, _, folder = text.rpartition("=")
    return name or Path(folder).resolve().name, Path(folder)


def read_clips(folder: Path, limit: int | None) -> list[tuple[Wave, int]]:
    """The audio files of a folder as `(samples, rate)`, mono."""
    files = sorted(file for file in folder.glob("*") if file.suffix in FORMATS)[:limit]
    if not files:
        raise SystemExit(f"no {', '.join(sorted(FORMATS))} files in {folder}")
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


Peer = Callable[[MelConfig, Values, int, int], Wave]
"""Samples from a linear mel `[K, T]`, a number of iterations and a seed."""


def _peer_one(job: tuple[Peer, Wave, MelConfig, Values, int, int]) -> tuple[Score, float]:
    peer, wave, config, linear, n_iter, seed = job
    began = time.process_time()
    result = peer(config, linear, n_iter, seed)
    seconds = time.process_time() - began
    return score(wave, result, config.sample_rate), seconds


Original = Callable[[MelConfig, Values], Sequence[Wave]]
"""Samples of each seed from a linear mel `[K, T]`; none where the original fails."""


def _original_one(job: tuple[Original, Wave, MelConfig, Values]) -> list[float]:
    original, wave, config, linear = job
    torch.set_num_threads(1)
    return [score(wave, result, config.sample_rate).pesq for result in original(config, linear)]


@dataclass(frozen=True, eq=False)
class Results:
    """What a service made of clips' mels."""

    waves: Sequence[Wave]
    """The clips at the preset's rate."""
    rate: int
    jobs: Sequence[tuple[int, int]]
    """Index of the clip and seed of each result: every clip with one seed, then with the next."""
    audio: Sequence[Wave]
    seconds: float
    """Processor seconds of the service for all of them."""


class Bench:
    """A service, clips, and processes for scoring and for peers."""

    def __init__(
        self,
        client: httpx.Client,
        pid: int,
        pool: ProcessPoolExecutor,
        clips: Sequence[tuple[Wave, int]],
    ) -> None:
        self.client, self.pid, self.pool, self.clips = client, pid, pool, clips

    def cut(self, count: int, seconds: float) -> Bench:
        """The same with the first clips only, cut to `seconds`."""
        clips = [(wave[: round(seconds * rate)], rate) for wave, rate in self.clips[:count]]
        return Bench(self.client, self.pid, self.pool, clips)

    def results(
        self, preset: str, options: Options, seeds: int, change: Callable[[Values], Values]
    ) -> Results:
        """Post every clip's mel with every seed, four requests at a time."""
        config = PRESETS[preset].config
        waves = [at_rate(clip, config.sample_rate) for clip in self.clips]
        bodies = [_npy(change(extract(config, wave).values)) for wave in waves]
        jobs = [(k, seed) for seed in range(seeds) for k in range(len(waves))]

        def post(job: tuple[int, int]) -> Wave:
            k, seed = job
            return self._post(bodies[k], {"config": preset, "seed": seed, **options})

        before = usage(self.pid).cpu_seconds
        with ThreadPoolExecutor(4) as threads:
            audio = list(threads.map(post, jobs))
        seconds = usage(self.pid).cpu_seconds - before
        return Results(waves, config.sample_rate, jobs, audio, seconds)

    def unmel(
        self,
        name: str,
        preset: str,
        options: Options,
        seeds: int = 1,
        change: Callable[[Values], Values] = lambda values: values,
    ) -> Row:
        """Scores of the service's audio."""
        found = self.results(preset, options, seeds, change)
        scores = self.pool.map(
            _score_one,
            [
                (found.waves[k], audio, found.rate)
                for (k, _), audio in zip(found.jobs, found.audio, strict=True)
            ],
        )
        length = seeds * sum(len(w) for w in found.waves) / found.rate
        return Row(name, mean(list(scores)), found.seconds / length)

    def _post(self, body: bytes, options: Options) -> Wave:
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
        return audio

    def librosa(
        self,
        preset: str,
        n_iter: int = PEER_ITERATIONS,
        seeds: int = 1,
        change: Callable[[Values], Values] = lambda values: values,
    ) -> Row:
        """`mel_to_stft` and `griffinlim` of librosa on the same mels."""
        name = f"librosa mel_to_audio, {n_iter}"
        return self._peer(name, librosa_audio, preset, n_iter, seeds, change)

    def librosa_results(
        self, preset: str, n_iter: int, seeds: int, change: Callable[[Values], Values]
    ) -> Results:
        """What `librosa` makes of the same mels."""
        config = PRESETS[preset].config
        waves, linear = self._mels(preset, change)
        jobs = [(k, seed) for seed in range(seeds) for k in range(len(waves))]
        made = [(config, linear[k], n_iter, seed) for k, seed in jobs]
        audio = list(self.pool.map(librosa_audio, *zip(*made, strict=True)))
        return Results(waves, config.sample_rate, jobs, audio, 0.0)

    def torchaudio(self, preset: str, n_iter: int, seeds: int = 1) -> Row:
        """`InverseMelScale` and `GriffinLim` of torchaudio on the same mels."""
        name = f"torchaudio, {n_iter}"
        return self._peer(name, torchaudio_audio, preset, n_iter, seeds, lambda values: values)

    def original(self, preset: str, original: Original) -> float | None:
        """Mean PESQ of a method's original on the mels; None where it fails on one."""
        config = PRESETS[preset].config
        waves = [at_rate(clip, config.sample_rate) for clip in self.clips]
        jobs = [(original, wave, config, extract(config, wave).linear) for wave in waves]
        found = list(self.pool.map(_original_one, jobs))
        return float(np.mean(found)) if all(found) else None

    def _peer(
        self,
        name: str,
        peer: Peer,
        preset: str,
        n_iter: int,
        seeds: int,
        change: Callable[[Values], Values],
    ) -> Row:
        config = PRESETS[preset].config
        jobs = [
            (peer, wave, config, linear, n_iter, seed)
            for wave, linear in zip(*self._mels(preset, change), strict=True)
            for seed in range(seeds)
        ]
        done = list(self.pool.map(_peer_one, jobs))
        length = sum(len(wave) for _, wave, *_ in jobs) / config.sample_rate
        return Row(
            name, mean([s for s, _ in done]), sum(cpu for _, cpu in done) / length, peer=True
        )

    def _mels(
        self, preset: str, change: Callable[[Values], Values]
    ) -> tuple[list[Wave], list[Values]]:
        """The clips at a preset's rate, and their linear mels after a change of the stored ones."""
        config = PRESETS[preset].config
        waves = [at_rate(clip, config.sample_rate) for clip in self.clips]
        linear = []
        for wave in waves:
            mel = extract(config, wave)
            changed = change(mel.values)
            # The preset of the degraded part stores ln, which exp undoes.
            linear.append(mel.linear if changed is mel.values else np.exp(changed))
        return waves, linear


def _npy(values: Values) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()
