"""The card, its backends beside float64, and the bits that two runs agree on."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.gpu.check import Check, table
from benchmarks.gpu.moved import copy_bandwidth
from unmel.models.backends.base import Name
from unmel.models.engine.engine import Engine
from unmel.models.engine.prove import DEVICE_LOOPS
from unmel.models.mel.presets import PRESETS

_PRESETS = "hifigan-22k", "vocos-24k", "whisper-80", "torchaudio", "librosa", "bigvgan-44k-256"
# Steps after which float32's roundings have not spread, and the distance that they make.
_FEW, _NEAR = 3, 3e-3


def card(check: Check) -> None:
    """What is there."""
    if check.device.type != "cuda":
        print(f"no GPU: torch {torch.__version__} on the CPU")
        return
    memory = torch.cuda.get_device_properties(check.device).total_memory / 2**30
    print(
        f"{torch.cuda.get_device_name(check.device)}, {memory:.0f} GiB, torch {torch.__version__}: "
        f"copies {copy_bandwidth(check) / 1e9:.0f} GB/s, read and written"
    )


def _backends(check: Check) -> list[Name]:
    """Those of the device that work here."""
    if check.device.type != "cuda":
        return ["torch"]
    return ["torch"] if DEVICE_LOOPS.wait(check.device) is None else ["triton", "torch"]


def loops(check: Check) -> None:
    """Every backend of the device, a few iterations beside float64 on the CPU."""
    began, wrong = time.perf_counter(), []
    names = _backends(check)
    print(f"backends {', '.join(names)} ready after {time.perf_counter() - began:.1f} s\n")
    exact = Engine(dtype=torch.float64)

    def rows() -> Iterator[str]:
        for preset in _PRESETS[: 1 if check.small else None]:
            items = check.items(2, 1.0, config=PRESETS[preset].config, n_iter=_FEW)
            expected = [np.asarray(result.values) for result in exact.run(items)]
            cells = []
            for name in names:
                found = Engine(check.device, backend=name).run(items)
                far = max(
                    float(np.linalg.norm(one.values - other) / np.linalg.norm(other))
                    for one, other in zip(found, expected, strict=True)
                )
                cells.append(f"{far:.1e}")
                wrong.extend([f"{preset} by {name}"] if not far < _NEAR else [])
            yield f"| {preset} | {' | '.join(cells)} |"

    table(f"| {_FEW} iterations, from float64 by | {' | '.join(names)} |", rows())
    if check.device.type == "cuda" and "triton" not in names:
        wrong.append("no kernel of Triton's works")
    if wrong:
        raise SystemExit(f"WRONG: {', '.join(wrong)}")


def bits(check: Check) -> None:
    """Of a run's results, which are the same bytes again, and alone as in a pack."""

    def rows() -> Iterator[str]:
        for name in _backends(check):
            engine = Engine(check.device, backend=name)
            for quality in ("draft", "standard"):
                items = check.items(6, 2.0, quality)
                first = [result.values for result in engine.run(items)]
                again = [result.values for result in engine.run(items)]
                alone = [engine.run([item])[0].values for item in items]
                same = [
                    sum(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
                    for other in (again, alone)
                ]
                yield f"| {name} | {quality} | {same[0]} of 6 | {same[1]} of 6 |"

    table("| backend | quality | same bytes again | alone and in a pack |", rows())
