"""Compiled loops are there before the first test, so that every run tests the same thing; and the
end of a run says how many made-up cases it went through.
"""

from __future__ import annotations

import pytest

from models.compiled import LOOPS
from tests.cases import CASES

# At import: librosa, which other test modules import, brings numba too, and two threads must not
# be importing it at once.
assert LOOPS.wait() is not None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if CASES:
        parts = ", ".join(f"{name} {count}" for name, count in sorted(CASES.items()))
        terminalreporter.write_line(f"made-up cases: {CASES.total()} ({parts})")
