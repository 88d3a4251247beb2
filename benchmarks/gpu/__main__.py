"""Check a GPU, part by part: does it work, is it right, how fast is it.

    python -m benchmarks.gpu [--parts card,loops,...] [--data DIR] [--out DIR]
        [--small] [--device cpu]
    python -m benchmarks.gpu --score OUT --data DIR

Every part is a process with a time limit of its own and prints what it finds at once, so that one
that hangs costs only itself; all of them together end within eight minutes. The last lines say
which failed. `quality` leaves audio in `--out`, which `--score` scores where PESQ is installed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.gpu.agreement import bits, card, loops
from benchmarks.gpu.check import Check
from benchmarks.gpu.quality import quality, scored
from benchmarks.gpu.service import service
from benchmarks.gpu.speed import speed
from benchmarks.gpu.streams import streams

_TESTS = "tests/models/backends/test_cuda.py", "tests/models/signal/test_transfer.py"


def tests(check: Check) -> None:
    """The tests that need a card."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:benchmark"]
    chosen = ["-q", "--tb=short", "-n", "6", "-k", "cuda and not pretended", *_TESTS]
    ran = subprocess.run([*command, *chosen], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(ran.stdout[-6000:] + ran.stderr[-2000:])
    print(ran.stdout.splitlines()[-1])


PARTS: dict[str, tuple[Callable[[Check], None], int]] = {
    "card": (card, 30),
    "loops": (loops, 60),
    "tests": (tests, 100),
    "bits": (bits, 30),
    "quality": (quality, 30),
    "speed": (speed, 60),
    "service": (service, 120),
    "streams": (streams, 50),
}
"""Each part, and the seconds that it may take: all of them fit in eight minutes."""


def _run(name: str, arguments: list[str]) -> str:
    """A part in a process of its own; what became of it."""
    print(f"\n## {name}\n", flush=True)
    command = [sys.executable, "-m", "benchmarks.gpu", "--only", name, *arguments]
    began = time.monotonic()
    try:
        status = subprocess.run(command, timeout=PARTS[name][1], check=False).returncode
    except subprocess.TimeoutExpired:
        return f"{name}: stopped after {PARTS[name][1]} s"
    said = "ok" if status == 0 else f"FAILED ({status})"
    return f"{name}: {said}, {time.monotonic() - began:.0f} s"


def main() -> None:
    """Run the parts, or score what one left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--only", choices=PARTS, help="this part, in this process")
    parser.add_argument("--data", type=Path, default=Path("examples"), help="folder of audio files")
    parser.add_argument("--out", type=Path, default=Path("gpu-check"), help="folder for audio")
    parser.add_argument("--score", type=Path, help="score the audio of this folder")
    parser.add_argument("--small", action="store_true", help="a thousandth of the work")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    options = parser.parse_args()
    check = Check(torch.device(options.device), options.data, options.out, options.small)
    if options.score is not None:
        scored(check, options.score)
    elif options.only is not None:
        PARTS[options.only][0](check)
    else:
        given = ["--data", str(options.data), "--out", str(options.out), "--device", options.device]
        given += ["--small"] if options.small else []
        ended = [_run(name, given) for name in options.parts.split(",")]
        print("\n" + "\n".join(ended), flush=True)
        if not all(": ok" in line for line in ended):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
