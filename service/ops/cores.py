"""How many processors this process may use: its affinity, and the limit of its control group."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path


def usable_cores() -> int:
    """Processors that this process may keep busy, at least 1; a part of one counts as one.

    A container's CPU limit is a quota of its control group, which the affinity does not show.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    return max(1, math.ceil(min(cores, quota_cores())))


def quota_cores(root: Path = Path("/")) -> float:
    """Processors by the quota of the control group and of those above it; infinite without one.

    Version 2 writes `cpu.max`, version 1 two files (Linux: admin-guide/cgroup-v2.rst,
    scheduler/sched-bwc.rst). `root` is where `proc` and `sys` are.
    """
    return min((_quota(folder) for folder in _folders(root)), default=math.inf)


def _folders(root: Path) -> Iterator[Path]:
    """Where the process's groups and those above may be shown.

    In a container with a view of its own the path is `/` or one of the host's, which is not
    there; its group is then the mount itself.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not on Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        group = Path(path.lstrip("/"))
        yield from (mount / part for part in (group, *group.parents))


def _quota(folder: Path) -> float:
    try:
        quota, period = _read(folder)
        cores = float(quota) / float(period)
    except (OSError, ValueError):  # no file, or the word `max`
        return math.inf
    return cores if cores > 0 else math.inf  # version 1 says -1 for none


def _read(folder: Path) -> list[str]:
    version_2 = folder / "cpu.max"
    if version_2.exists():
        return version_2.read_text().split()
    return [(folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]
