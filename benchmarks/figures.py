"""Figures of a result beside its original, by name: each with its columns and its packages.

    name         columns                              is
    pesq         PESQ-WB                              P.862.2, 1 to 4.64
    estoi        ESTOI                                extended short-time intelligibility, up to 1
    distillmos   DistillMOS                           predicted opinion, 1 to 5, without an original
    p808         P.808                                DNSMOS's prediction of opinions, likewise
    periodicity  periodicity RMSE, V/UV F1            `benchmarks.crepe`
    pitch        r and e of three bands               `benchmarks.pitch`

All are taken at 16 kHz. What an original yields is computed once. A figure's packages are imported
when it is first computed.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import librosa
import numpy as np
import soxr
import torch

from benchmarks import crepe, pitch
from benchmarks.optional import folder, load, missing
from benchmarks.peers import Wave

RATE = 16000
Values = tuple[float, ...]


@dataclass(frozen=True)
class Figure:
    """A figure of results, whose originals are looked at once."""

    columns: tuple[str, ...]
    packages: tuple[str, ...]
    """Modules that it imports."""
    install: str
    """How to install them."""
    reference: Callable[[Wave], Any]
    """What it needs of an original, samples at 16 kHz."""
    own: Callable[[Any], Values]
    """The original's own values, from its reference; nan where it has none."""
    compare: Callable[[Any, Wave], Values]
    """Values of a result, samples at 16 kHz, from its original's reference."""
    digits: int = 2


def _itself(wave: Wave) -> Wave:
    return wave


def _nan(reference: Any) -> Values:
    return (float("nan"),)


def _as_it_is(reference: Values) -> Values:
    return reference


def _pesq(original: Wave, result: Wave) -> Values:
    return (float(load("pesq").pesq(RATE, *_same_length(original, result), "wb")),)


def _estoi(original: Wave, result: Wave) -> Values:
    pair = _same_length(original, result)
    return (float(load("pystoi").stoi(*pair, RATE, extended=True)),)


def _same_length(original: Wave, result: Wave) -> tuple[Wave, Wave]:
    n = min(len(original), len(result))
    return original[:n], result[:n]


@cache
def _distillmos_model() -> Any:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights are
        return load("distillmos").ConvTransformerSQAModel().eval()


def distillmos(wave: Wave) -> Values:
    """DistillMOS of samples `[L]` at 16 kHz: mean over windows of 7.68 s, at most 1 s apart."""
    with torch.inference_mode():
        return (float(_distillmos_model()(torch.from_numpy(wave)[None])),)


@cache
def _p808_session() -> Any:
    runtime = load("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = folder("speechmos") / "dnsmos_models" / "model_v8.onnx"
    return runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def p808(wave: Wave) -> Values:
    """P.808 opinion by DNSMOS of samples `[L]` at 16 kHz, as `speechmos.dnsmos.run` has it.

    Mean over windows of 9.01 s, 1 s apart; a shorter clip is repeated. speechmos itself would run
    a second model, for the opinions of P.835, at four times the cost.
    """
    window = int(9.01 * RATE)
    while len(wave) < window:
        wave = np.append(wave, wave)
    count = int(np.floor(len(wave) / RATE) - 9.01) + 1
    segments = [wave[k * RATE : k * RATE + window] for k in range(count)]
    mels = np.stack([_p808_mel(s[:-160]) for s in segments if len(s) == window])
    found = [_p808_session().run(None, {"input_1": mel[None]})[0] for mel in mels]
    return (float(np.mean(found)),)


def _p808_mel(wave: Wave) -> Any:
    mel = librosa.feature.melspectrogram(y=wave, sr=RATE, n_fft=321, hop_length=160, n_mels=120)
    return ((librosa.power_to_db(mel, ref=np.max) + 40) / 40).T.astype(np.float32)


def _no_periodicity(reference: Any) -> Values:
    return (float("nan"), float("nan"))


def _periodicity(reference: Any, result: Wave) -> Values:
    found = crepe.periodicity(result)
    n = min(len(found[0]), len(reference[0]))
    (true, voiced), (values, told) = ((p[:n], v[:n]) for p, v in (reference, found))
    either = voiced.sum() + told.sum()
    f1 = 2.0 * (voiced & told).sum() / either if either else float("nan")
    return float(np.sqrt(np.mean((values - true) ** 2))), float(f1)


def _pitch_reference(wave: Wave) -> tuple[pitch.Voiced, Values]:
    voiced = pitch.voiced_frames(wave)
    return voiced, tuple(map(float, pitch.pitch_figures(wave, voiced)))


def _pitch_own(reference: Any) -> Values:
    values: Values = reference[1]
    return values


def _pitch(reference: Any, result: Wave) -> Values:
    return tuple(map(float, pitch.pitch_figures(result, reference[0])))


_BENCH = "pip install -e '.[bench]'"
_APART = f"{_BENCH} and pip install --no-deps"
_BANDS = [f"{low / 1000:g}–{high / 1000:g}" for low, high in pitch.BANDS]

FIGURES: dict[str, Figure] = {
    "pesq": Figure(("PESQ-WB",), ("pesq",), _BENCH, _itself, _nan, _pesq),
    "estoi": Figure(("ESTOI",), ("pystoi",), _BENCH, _itself, _nan, _estoi, 3),
    "distillmos": Figure(
        ("DistillMOS",),
        ("distillmos", "xls_r_sqa"),
        f"{_APART} distillmos xls-r-sqa",
        distillmos,
        _as_it_is,
        lambda _, result: distillmos(result),
    ),
    "p808": Figure(
        ("P.808",),
        ("speechmos", "onnxruntime"),
        _BENCH,
        p808,
        _as_it_is,
        lambda _, result: p808(result),
    ),
    "periodicity": Figure(
        ("periodicity RMSE", "V/UV F1"),
        ("torchcrepe", "resampy", "tqdm"),
        f"{_APART} torchcrepe",
        crepe.periodicity,
        _no_periodicity,
        _periodicity,
        3,
    ),
    "pitch": Figure(
        tuple(f"{name} {band}" for name in "re" for band in _BANDS),
        ("librosa", "scipy"),
        _BENCH,
        _pitch_reference,
        _pitch_own,
        _pitch,
    ),
}


def available(names: Sequence[str]) -> list[str]:
    """The figures whose packages are installed; a line is printed for each other one."""
    unknown = set(names) - set(FIGURES)
    if unknown:
        raise SystemExit(f"no figures {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    found = []
    for name in names:
        lacking = missing(FIGURES[name].packages)
        if lacking:
            print(f"{name} is left out: no {', '.join(lacking)} ({FIGURES[name].install})")
        else:
            found.append(name)
    return found


def at_16k(wave: Wave, rate: int) -> Wave:
    """Samples `[L]` at 16 kHz."""
    if rate == RATE:
        return wave
    return np.asarray(soxr.resample(wave, rate, RATE, quality="VHQ"), np.float32)


References = dict[str, Any]
Timed = tuple[dict[str, Values], dict[str, float]]
"""Values of each figure, and processor seconds that each took."""


def references(names: Sequence[str], wave: Wave, rate: int) -> References:
    """What each figure needs of an original."""
    torch.set_num_threads(1)
    wave = at_16k(wave, rate)
    return {name: FIGURES[name].reference(wave) for name in names}


def own(found: References) -> dict[str, Values]:
    """The original's own values of each figure."""
    return {name: FIGURES[name].own(reference) for name, reference in found.items()}


def compare(found: References, wave: Wave, rate: int) -> Timed:
    """Values of a result for each figure that its original has a reference of."""
    torch.set_num_threads(1)
    wave = at_16k(wave, rate)
    values, seconds = {}, {}
    for name, reference in found.items():
        began = time.process_time()
        values[name] = FIGURES[name].compare(reference, wave)
        seconds[name] = time.process_time() - began
    return values, seconds
