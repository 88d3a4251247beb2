"""Before the first test compiled loops are there; at the end made-up cases are counted."""

from __future__ import annotations

import pytest

from models.compiled import LOOPS
from tests.cases import CASES

# Every run tests the same loops. At import: librosa, which other test modules import, brings numba
# too, and two threads must not be importing it at once.
assert LOOPS.wait() is not None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if CASES:
        parts = ", ".join(f"{name} {count}" for name, count in sorted(CASES.items()))
        terminalreporter.write_line(f"made-up cases: {CASES.total()} ({parts})")
