"""What the command tells on a terminal, and in which words a failure is told."""

from __future__ import annotations

import io
import sys

import pytest

from unmel.models.errors import Invalid, NonFiniteOutput
from unmel.service.cli.report import Report, describe


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_only_what_is_wrong_in_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Report(3) as report:
        report.done("a.npy", None, ())
        report.done("b.npy", None, ("loud",))
        report.failed("c.npy", Invalid("mel", "text", "numbers"))
    shown = terminal.getvalue()
    assert report.failures == 1
    for words in ("0/3", "1/3", "3/3", "\x1b[Kunmel: b.npy: warning: loud\n"):
        assert words in shown
    assert "\x1b[Kunmel: c.npy: mel: got text; expected numbers\n" in shown
    assert "a.npy ->" not in shown


def test_a_failure_is_told_in_the_services_words_or_the_systems_or_by_its_name() -> None:
    missing = FileNotFoundError(2, "No such file or directory")
    assert describe(missing) == "No such file or directory"
    assert describe(Invalid("mel", "text", "numbers")) == "mel: got text; expected numbers"
    assert "overflowed" in describe(NonFiniteOutput("not finite"))
    assert describe(ZeroDivisionError("by zero")) == "ZeroDivisionError: by zero"
