"""Prints, at the end of a run, how many made-up cases it went through."""

from __future__ import annotations

import pytest

from tests.cases import CASES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if CASES:
        parts = ", ".join(f"{name} {count}" for name, count in sorted(CASES.items()))
        terminalreporter.write_line(f"made-up cases: {CASES.total()} ({parts})")
