"""Where an iteration's time goes, loop by loop, and what transforms of other sizes cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.timing import Work, in_turns, two_transforms
from unmel.models.backends.base import StepCoefficients
from unmel.models.backends.cpu.compiled import LOOPS
from unmel.models.backends.reference import REFERENCE
from unmel.models.engine.turn import turn
from unmel.models.mel.config import MelConfig
from unmel.models.methods.joint.mel_step import MelIteration
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import Plan, build_plan

_REPEATS = 60
_AT_ONCE = 10  # iterations of one call
_MEANING = {
    "frame": "frames cut and windowed",
    "forward": "the transform",
    "mel step": "levels, band sums, ratios, powers, spreading, momentum",
    "backward": "the transform back",
    "overlap_add": "window, overlap-add, division by the envelope",
}
# The usual size; windows of 25 ms at 44.1 and 22.05 kHz, rounded; a prime.
_SIZES = ((1024, 256), (1102, 275), (551, 110), (1103, 275))


def loops_table(config: MelConfig, length: float) -> str:
    """One clip of so many seconds: each loop alone over all its blocks, and the iterations of one
    call, in units of the two transforms by torch.fft; then other sizes beside the usual one.
    """
    if LOOPS.wait() is None:
        return "no compiled loops on this machine: not run."
    # Importing them compiles them, into the cache that the line above has set.
    from unmel.models.backends.cpu import frames as frame_loops  # noqa: PLC0415
    from unmel.models.backends.cpu import iterations, mel_step  # noqa: PLC0415
    from unmel.models.backends.cpu.transforms import block_rows, transforms, width  # noqa: PLC0415

    made = transforms(config.n_fft)
    plan = build_plan(config, torch.device("cpu"))
    frames, step = config.frames(int(length * config.sample_rate)), _step(config)
    with torch.inference_mode(), turn(plan.device):
        pack, iteration = _begun(plan, frames)
        rows, n = block_rows(config.n_fft), config.n_fft
        signal, window, carry, scale = (
            tensor.numpy()
            for tensor in (pack.signal, pack.window, pack.carry, pack.inverse_envelope)
        )
        space = np.random.default_rng(0).standard_normal((rows, width(n)), np.float32)
        spectra = space.copy()
        blocks = [(first, min(rows, pack.used - first)) for first in range(0, pack.used, rows)]
        hop, bands, state = pack.hop, plan.bands, iteration.state
        momentum = state.kept.numpy().view(np.float32)
        tables, coefficients = mel_step.tables(bands), mel_step.coefficients((step,))[0]
        scratch = np.zeros(mel_step.scratch_size(bands.count, len(tables[0])), np.float32)
        # A loop is not given here what it would be; its time does not depend on it.
        each: dict[str, Callable[[int, int], object]] = {
            "frame": lambda at, m: frame_loops.frame(signal, window, space[:m], at, hop),
            "forward": lambda _, m: iterations.forward(
                space[:m], spectra[:m], n, made.table, iterations.AXES
            ),
            "mel step": lambda at, m: mel_step.correct_rows(
                spectra[: -(-m // 8) * 8],
                momentum,
                state.target.prepared,
                at,
                bands.first,
                *tables,
                coefficients,
                config.power,
                scratch,
            ),
            "backward": lambda _, m: iterations.backward(
                spectra[:m], space[:m], n, made.table, iterations.AXES
            ),
            "overlap_add": lambda at, m: frame_loops.overlap_add(
                space[:m], window, carry, scale, signal, at, hop
            ),
        }

        def through(work: Callable[[int, int], object]) -> None:
            for first, count in blocks:
                work(first, count)

        works: list[Work] = [
            two_transforms(config, frames, 1),
            partial(iteration.run, (step,) * _AT_ONCE),
            *(partial(through, work) for work in each.values()),
        ]
        unit, whole, *parts = in_turns(works, _REPEATS)
    lines = ["| part | of the two transforms |", "|---|---|"]
    for name, seconds in zip(each, parts, strict=True):
        lines.append(f"| {name}: {_MEANING[name]} | {seconds / unit:.2f} |")
    lines.append(f"| an iteration of {_AT_ONCE} in one call | {whole / _AT_ONCE / unit:.2f} |")
    return "\n".join([*lines, "", _sizes_table(config, length)])


def _sizes_table(config: MelConfig, length: float) -> str:
    """An iteration's cost for each frame and point, beside that of the usual size."""
    works, points = [], []
    for n_fft, hop in _SIZES:
        size = {"n_fft": n_fft, "win_length": n_fft, "hop_length": hop}
        sized = config.model_copy(update={**size, "padding": "center_reflect"})
        plan = build_plan(sized, torch.device("cpu"))
        frames = sized.frames(int(length * sized.sample_rate))
        works.append(partial(_begun(plan, frames)[1].run, (_step(sized),) * _AT_ONCE))
        points.append(frames * n_fft)
    with torch.inference_mode(), turn(torch.device("cpu")):
        taken = in_turns(works, _REPEATS // 2)
    usual = taken[0] / points[0]
    lines = ["| n_fft / hop | of 1024 / 256, for each frame and point |", "|---|---|"]
    for (n_fft, hop), seconds, count in zip(_SIZES, taken, points, strict=True):
        lines.append(f"| {n_fft} / {hop} | {seconds / count / usual:.2f} |")
    return "\n".join(lines)


def _begun(plan: Plan, frames: int) -> tuple[PackedStft, MelIteration]:
    """A pack of one clip of noise, and its iteration."""
    backend = LOOPS.wait() or REFERENCE
    pack = PackedStft(plan, [(frames, plan.config.samples(frames))], backend)
    mel = torch.rand(pack.rows, plan.alive.numel()) * plan.alive
    pack.load([torch.randn(plan.config.samples(frames))])
    return pack, MelIteration(pack, backend.mel_target(mel, mel < 0.01))


def _step(config: MelConfig) -> StepCoefficients:
    return StepCoefficients(2.1, 0.7, 0.3, 1.3 / config.power, 0.97, 0.2)
