"""Where an iteration's time goes, loop by loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.timing import seconds, two_transforms
from models.compiled import LOOPS
from models.config import MelConfig
from models.engine import _cpu_thread
from models.mending import Aim, Mending, Step
from models.plan import build_plan
from models.stft import PackedStft

_REPEATS = 60
_MEANING = {
    "frame": "frames cut and windowed",
    "rfft": "`torch.fft.rfft`, its output's memory included",
    "mend": "the mel step: levels, band sums, ratios, powers, spreading, momentum",
    "irfft": "`torch.fft.irfft`, likewise",
    "overlap_add": "window, overlap-add, division by the envelope",
    "move": "edges",
}


def loops_table(config: MelConfig, length: float) -> str:
    """One clip of so many seconds: each loop's share, in units of the two transforms."""
    kernels = LOOPS.wait()
    spent: dict[str, list[float]] = {name: [] for name in _MEANING}
    now = dict.fromkeys(_MEANING, 0.0)
    whole, floor = [], []

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            began = time.thread_time()
            result = work(*args, **options)
            now[name] += time.thread_time() - began
            return result

        return run

    loops = dict(vars(kernels))
    loops |= {n: timed(n, getattr(kernels, n)) for n in ("frame", "mend", "overlap_add", "move")}
    plan = build_plan(config, torch.device("cpu"))
    frames = config.frames(int(length * config.sample_rate))
    one_floor = two_transforms(config, frames, 1)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(_cpu_thread(plan.device))
        pack = PackedStft(
            plan, [(frames, config.samples(frames))], cast(Any, SimpleNamespace(**loops))
        )
        mel = torch.rand(pack.rows, plan.alive.numel()) * plan.alive
        mending = Mending(pack, Aim(pack, mel, mel < 0.01))
        pack.load([torch.randn(config.samples(frames))])
        step = Step(2.1, 0.7, 0.3, 1.3 / config.power, 0.97, 0.2)

        def iterate() -> None:
            pack.begin()
            for block in pack.runs():
                spectrum = pack.spectrum(block)
                mending.mend(block, spectrum, step)
                pack.add(block, spectrum)
            pack.finish()

        for _ in range(_REPEATS):
            floor.append(seconds(one_floor))
            now.update(dict.fromkeys(now, 0.0))
            with (
                patch.object(torch.fft, "rfft", timed("rfft", torch.fft.rfft)),
                patch.object(torch.fft, "irfft", timed("irfft", torch.fft.irfft)),
            ):
                whole.append(seconds(iterate))
            for name, values in spent.items():
                values.append(now[name])
    unit = float(np.median(floor))
    shares = {name: float(np.median(values)) / unit for name, values in spent.items()}
    total = float(np.median(whole)) / unit
    lines = ["| part | of the two transforms |", "|---|---|"]
    lines += [f"| {name}: {_MEANING[name]} | {share:.2f} |" for name, share in shares.items()]
    lines.append(f"| Python between them, and this clock | {total - sum(shares.values()):.2f} |")
    lines.append(f"| together | {total:.2f} |")
    return "\n".join(lines)
