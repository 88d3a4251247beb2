"""Where an iteration's time goes, loop by loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module

import numpy as np
import torch

from benchmarks.timing import Work, in_turns, two_transforms
from unmel.models.backends.base import StepCoefficients
from unmel.models.backends.cpu.compiled import LOOPS
from unmel.models.backends.cpu.transforms import block_rows, transforms, width
from unmel.models.engine.engine import _cpu_thread
from unmel.models.mel.config import MelConfig
from unmel.models.methods.joint.mel_step import Aim, Mending
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import build_plan

_REPEATS = 60
_AT_ONCE = 10  # iterations of one call
_MEANING = {
    "frame": "frames cut and windowed",
    "forward": "MKL's transform, in place",
    "mend": "the mel step: levels, band sums, ratios, powers, spreading, momentum",
    "backward": "MKL's transform back, likewise",
    "overlap_add": "window, overlap-add, division by the envelope",
}


def loops_table(config: MelConfig, length: float) -> str:
    """One clip of so many seconds: each loop alone over all its blocks, and the iterations of one
    call, in units of the two transforms by torch.fft.
    """
    kernels, made = LOOPS.wait(), transforms(config.n_fft)
    if kernels is None or made is None:
        return "no compiled loops, or none of MKL's transforms, on this machine: not run."
    transform = import_module("unmel.models.backends.cpu.iterations").transform_rows
    plan = build_plan(config, torch.device("cpu"))
    frames, step = config.frames(int(length * config.sample_rate)), _step(config)
    with torch.inference_mode(), _cpu_thread(plan.device):
        pack = PackedStft(plan, [(frames, config.samples(frames))], kernels)
        mel = torch.rand(pack.rows, plan.alive.numel()) * plan.alive
        aim = Aim(pack, mel, mel < 0.01)
        mending = Mending(pack, aim)
        pack.load([torch.randn(config.samples(frames))])
        own, rows = pack.arrays, block_rows(config.n_fft)
        space = np.random.default_rng(0).standard_normal((rows, width(config.n_fft)), np.float32)
        spectra = torch.from_numpy(space.copy().view(np.complex64))
        blocks = [(first, min(rows, pack.used - first)) for first in range(0, pack.used, rows)]
        table, hop = made.table, pack.hop
        # A loop is not given here what it would be; its time does not depend on it.
        each: dict[str, Callable[[int, int], object]] = {
            "frame": lambda at, n: kernels.frame(own.signal, own.window, space[:n], at, hop),
            "forward": lambda _, n: transform(space[:n], table[0]),
            "mend": lambda at, n: kernels.mend(
                spectra[:n], mending.behind, aim.compiled, at, plan.bands, step, config.power
            ),
            "backward": lambda _, n: transform(space[:n], table[1]),
            "overlap_add": lambda at, n: kernels.overlap_add(
                space[:n], own.window, own.carry, own.inverse, own.signal, at, hop
            ),
        }

        def through(work: Callable[[int, int], object]) -> None:
            for first, count in blocks:
                work(first, count)

        works: list[Work] = [
            two_transforms(config, frames, 1),
            partial(mending.iterate, (step,) * _AT_ONCE),
            *(partial(through, work) for work in each.values()),
        ]
        unit, whole, *parts = in_turns(works, _REPEATS)
    lines = ["| part | of the two transforms |", "|---|---|"]
    for name, seconds in zip(each, parts, strict=True):
        lines.append(f"| {name}: {_MEANING[name]} | {seconds / unit:.2f} |")
    lines.append(f"| an iteration of {_AT_ONCE} in one call | {whole / _AT_ONCE / unit:.2f} |")
    return "\n".join(lines)


def _step(config: MelConfig) -> StepCoefficients:
    return StepCoefficients(2.1, 0.7, 0.3, 1.3 / config.power, 0.97, 0.2)
