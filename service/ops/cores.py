"""Number of processors for this process: by its affinity and its control group's quota."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path


def usable_cores() -> int:
    """Count the processors that this process may keep busy.

    A container's CPU limit is a quota of its control group, which the affinity does not show.

    Returns
    -------
    The count, rounded up, at least 1.

    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has none
        cores = os.cpu_count() or 1
    return max(1, math.ceil(min(cores, quota_cores())))


def quota_cores(root: Path = Path("/")) -> float:
    """Read the smallest CPU quota of the process's control group and of its parents.

    Parameters
    ----------
    root
        Folder that holds `proc` and `sys`.

    Returns
    -------
    Processors; infinite without a quota.

    References
    ----------
    Linux: admin-guide/cgroup-v2.rst (`cpu.max`), scheduler/sched-bwc.rst (version 1, two files).

    """
    return min((_quota(folder) for folder in _folders(root)), default=math.inf)


def _folders(root: Path) -> Iterator[Path]:
    """Folders of the process's control groups and of their parents.

    In a container with its own cgroup namespace the path is `/`, or a path of the host that does
    not exist here; the mount itself is the group then.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # another system than Linux
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
    return cores if cores > 0 else math.inf  # version 1 writes -1 for no quota


def _read(folder: Path) -> list[str]:
    version_2 = folder / "cpu.max"
    if version_2.exists():
        return version_2.read_text().split()
    return [(folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]
