"""Resources of a running process, from /proc: memory, threads, open files, processor time."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Resources at one moment."""

    memory_mb: float
    """Resident bytes."""
    threads: int
    files: int
    cpu_seconds: float
    """Processor seconds of all threads since the start."""


def usage(pid: int) -> Usage:
    """Resources of a process now."""
    folder = Path("/proc") / str(pid)
    status = dict(re.findall(r"^(\w+):\s+(\d+)", (folder / "status").read_text(), re.M))
    # The process name may contain spaces; the 14th and 15th fields are ticks (proc(5)).
    user, system = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
    return Usage(
        int(status["VmRSS"]) / 1024,
        int(status["Threads"]),
        len(list((folder / "fd").iterdir())),
        (int(user) + int(system)) / os.sysconf("SC_CLK_TCK"),
    )
