"""Every named method over HTTP for five presets, each beside its original's own code.

Where the original cannot be run its reference twin replaces it. Both start from the same random
phases, except torchaudio's GriffinLim, which draws its own. The remaining differences are chaos:
rounding errors, grown over the iterations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench import Bench, Options
from benchmarks.peers import (
    Drawn,
    Wave,
    bank,
    librosa_griffin_lim,
    librosa_magnitude,
    load_torchaudio,
    torchaudio_griffin_lim,
    torchaudio_magnitude,
)
from benchmarks.twins import inversions, joint, phases, starts
from benchmarks.twins.frames import Frames, Real
from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.start.starts import check_start

FIVE = ("hifigan-22k", "tacotron2-22k", "speecht5-16k", "whisper-80", "librosa")
N_ITER = 32
CLIPS, SECONDS, SEEDS = 8, 3.0, 4
# Differences up to this are those of seeds.
WITHIN = 0.05

Array = NDArray[Any]
Invert = Callable[[MelConfig, Array], Array]
"""Magnitude `[N, T]` of a linear mel `[K, T]`."""
Recover = Callable[[MelConfig, Array, int, int], Wave]
"""Samples from a magnitude, a number of iterations and a seed."""


@dataclass(frozen=True)
class Original:
    """A request of a method, and the original code with the same purpose."""

    method: str
    options: Options
    name: str
    """Name of the original."""
    invert: Invert
    recover: Recover
    torchaudio: bool = False
    better: str = ""
    """Reason why Unmel may be ahead by more than seeds differ."""


# --- the originals with one signature -----------------------------------------------


def _by_bank(solve: Callable[[Real, Real], Real], config: MelConfig, linear: Array) -> Array:
    values = solve(bank(config).astype(np.float64), linear.astype(np.float64))
    return np.asarray(values ** (1.0 / config.power), np.float32)


def _former(config: MelConfig, linear: Array) -> Array:
    """Torchaudio's former code, unchanged but for the number of steps."""
    start = np.random.default_rng(0).random((config.n_bins, linear.shape[1]))

    def solve(fb: Real, mel: Real) -> Real:
        return inversions.former_inverse_mel_scale(fb, mel, start, steps=1000)

    return _by_bank(solve, config, linear)


def _librosa(
    config: MelConfig, magnitude: Array, n_iter: int, seed: int, momentum: float = 0.99
) -> Wave:
    drawn = Drawn(starts.random(config, magnitude, seed))
    return librosa_griffin_lim(config, magnitude, n_iter, drawn, momentum)


def _twin(
    method: Callable[..., Real],
    start: Callable[..., Real],
    config: MelConfig,
    magnitude: Array,
    n_iter: int,
    seed: int,
) -> Wave:
    values = magnitude.astype(np.float64)
    frames = Frames(config, values.shape[1])
    wave = method(frames, values, start(config, values, seed), n_iter)
    return np.asarray(wave, np.float32)


def _mel_itself(config: MelConfig, linear: Array) -> Array:
    return linear


def _admm_mel(config: MelConfig, linear: Array, n_iter: int, seed: int) -> Wave:
    mel = linear.astype(np.float64)
    bound = (mel == 0.0) & (config.scale.kind != "linear")
    shape = np.empty((config.n_bins, mel.shape[1]))
    frames, drawn = Frames(config, mel.shape[1]), starts.random(config, shape, seed)
    wave = joint.admm_mel(frames, bank(config).astype(np.float64), mel, bound, drawn, n_iter)
    return np.asarray(wave, np.float32)


def _inversion(
    method: str, name: str, invert: Invert, *, torchaudio: bool = False, better: str = ""
) -> Original:
    """An inversion, followed by Griffin-Lim: librosa's for the original, ours for ours."""
    options: Options = {"inversion": method}
    return Original(f"{method} + griffin_lim", options, name, invert, _librosa, torchaudio, better)


_pinv = partial(_by_bank, inversions.shared_pinv)


def _phase(
    method: str, name: str, recover: Recover, *, torchaudio: bool = False, better: str = ""
) -> Original:
    """A phase method, after the same pseudo-inverse on both sides."""
    options: Options = {"inversion": "pinv", "phase": method}
    return Original(f"pinv + {method}", options, name, _pinv, recover, torchaudio, better)


def _start(method: str, name: str, recover: Recover) -> Original:
    options: Options = {"inversion": "pinv", "start": method}
    return Original(f"pinv + {method} start", options, name, _pinv, recover)


_DEPENDENT = "bands that are nearly sums of others blow it up"
_EARLY = "it stops early, by absolute tolerances"
_SMOOTH = "it starts smooth, and of many minimisers the start decides"

ORIGINALS: tuple[Original, ...] = (
    Original("admm_mel", {"method": "admm_mel"}, "its three steps", _mel_itself, _admm_mel),
    _inversion("transpose", "numpy, one line", partial(_by_bank, inversions.transpose)),
    _inversion("pinv", "numpy, one line", partial(_by_bank, inversions.pinv), better=_DEPENDENT),
    _inversion(
        "lstsq",
        "torchaudio InverseMelScale",
        torchaudio_magnitude,
        torchaudio=True,
        better=_DEPENDENT,
    ),
    _inversion("smooth", "numpy, in a loop", partial(_by_bank, inversions.smooth)),
    _inversion("nnls", "librosa mel_to_stft", librosa_magnitude, better=f"{_EARLY}; {_SMOOTH}"),
    _inversion(
        "nnls",
        "librosa's nnls, converged",
        partial(_by_bank, inversions.converged_nnls),
        better=_SMOOTH,
    ),
    _inversion(
        "lbfgs",
        "torch.optim.LBFGS on u",
        partial(_by_bank, inversions.squared_lbfgs),
        better=_SMOOTH + ", and ends each frame alone",
    ),
    _inversion(
        "gradient",
        "torchaudio's former InverseMelScale, 1000 steps",
        _former,
        better="1000 steps of its rate hardly leave the random start",
    ),
    _inversion(
        "gradient",
        "the same with Unmel's step a bin",
        partial(_by_bank, inversions.relative_descent),
    ),
    _phase("griffin_lim", "librosa griffinlim", _librosa),
    _phase(
        "griffin_lim",
        "torchaudio GriffinLim",
        torchaudio_griffin_lim,
        torchaudio=True,
        better="its random phases fill a quarter of the circle",
    ),
    Original(
        "pinv + griffin_lim, momentum 0",
        {"inversion": "pinv", "phase": "griffin_lim", "momentum": 0},
        "librosa griffinlim, momentum 0",
        _pinv,
        partial(_librosa, momentum=0.0),
    ),
    *(
        _phase(name, "formula written out", partial(_twin, getattr(phases, name), starts.random))
        for name in ("accelerated", "admm", "raar", "difference_map")
    ),
    _phase("rtisi_la", "its loop over frames", partial(_twin, phases.rtisi_la, starts.random)),
    _phase("lbfgs", "scipy's L-BFGS-B", partial(_twin, phases.lbfgs, starts.random)),
    _start("zero", "zeros, twin", partial(_twin, phases.griffin_lim, starts.zero)),
    _start("spsi", "its loop over peaks", partial(_twin, phases.griffin_lim, starts.spsi)),
    _start("pghi", "its heap", partial(_twin, phases.griffin_lim, starts.pghi)),
)


# --- the table ------------------------------------------------------------------------------------


def _heard(config: MelConfig, linear: Array) -> Array:
    """The linear mel with zeros at the floor of the logarithm, as in Unmel."""
    if config.scale.kind == "linear":
        return linear
    return np.where(linear <= 1.02 * linear.min(), 0.0, linear).astype(linear.dtype)


def recovered(original: Original, seeds: int, config: MelConfig, linear: Array) -> list[Wave]:
    """The original's samples from a linear mel `[K, T]` for each seed; none where it fails."""
    try:
        magnitude = original.invert(config, _heard(config, linear))
        if not np.isfinite(magnitude).all():
            return []
        return [original.recover(config, magnitude, N_ITER, seed) for seed in range(seeds)]
    except RuntimeError:  # of torch.linalg, for a singular matrix
        return []


def _allows(preset: str, options: Options) -> bool:
    try:
        check_start(str(options.get("start", "random")), PRESETS[preset].config)
    except Invalid:
        return False
    return True


def _cell(ours: float, theirs: float | None) -> tuple[str, float]:
    """The cell as Markdown, and our lead."""
    if theirs is None:
        return f"{ours:.2f} / breaks", 0.0
    ahead = ours - theirs
    mark = "**" if ahead < -WITHIN else ""
    return f"{ours:.2f} / {theirs:.2f} ({mark}{ahead:+.2f}{mark})", ahead


def originals_part(bench: Bench, seeds: int = SEEDS) -> None:
    """Print the PESQ of every method and of its original."""
    bench = bench.cut(CLIPS, SECONDS)
    print(
        f"\nEvery name over HTTP / its original, {N_ITER} iterations, {len(bench.clips)} clips of "
        f"at most {SECONDS:g} s, {seeds} seeds: PESQ-WB (difference)\n"
    )
    print(f"| method | original | {' | '.join(FIVE)} | |")
    print("|---|---|" + "---|" * len(FIVE) + "---|")
    known: dict[tuple[str, str], float] = {}
    defaults = [
        f"{bench.unmel('', preset, {'n_iter': N_ITER}, seeds).score.pesq:.2f}" for preset in FIVE
    ]
    print(f"| consistent | none: Unmel's own | {' | '.join(defaults)} | |", flush=True)
    for original in ORIGINALS:
        if original.torchaudio and load_torchaudio() is None:
            print(f"| {original.method} | {original.name}: does not load here |" + " |" * 6)
            continue
        cells, most = [], 0.0
        for preset in FIVE:
            if not _allows(preset, original.options):
                cells.append("refused")
                continue
            key = repr(original.options), preset
            if key not in known:
                options: Options = {**original.options, "n_iter": N_ITER}
                known[key] = bench.unmel("", preset, options, seeds).score.pesq
            theirs = bench.original(preset, partial(recovered, original, seeds))
            text, ahead = _cell(known[key], theirs)
            cells.append(text)
            most = max(most, ahead)
        why = original.better if most > WITHIN else ""
        why = f"ours is better: {why}" if why else ""
        print(f"| {original.method} | {original.name} | {' | '.join(cells)} | {why} |", flush=True)
