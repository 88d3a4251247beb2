"""What a running process takes, from /proc: memory, threads, open files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """At one moment."""

    memory_mb: float
    """Resident."""
    threads: int
    files: int


def usage(pid: int) -> Usage:
    """Of the process with that number."""
    folder = Path("/proc") / str(pid)
    status = dict(re.findall(r"^(\w+):\s+(\d+)", (folder / "status").read_text(), re.M))
    return Usage(
        int(status["VmRSS"]) / 1024, int(status["Threads"]), len(list((folder / "fd").iterdir()))
    )
