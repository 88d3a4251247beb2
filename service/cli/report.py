"""What the command tells while it works: a bar on a terminal, else a line for each file."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import click

from unmel.service.wire.problems import problem_body, status_of


def describe(error: BaseException) -> str:
    """An error in the words of the service's answers: the field, what came, what would do."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    status = status_of(error)
    if status == 500:
        return f"{type(error).__name__}: {error}"
    return str(problem_body(error, status)["detail"])


def usage_error(error: Exception) -> click.UsageError:
    """The error of a command whose options cannot be used."""
    return click.UsageError(describe(error))


class Report:
    """Progress on standard error, from any thread.

    Parameters
    ----------
    total
        Number of files.

    """

    def __init__(self, total: int) -> None:
        self._lock = threading.Lock()
        self.failures = 0
        # Without a terminal the bar would print its label alone.
        self._bar = (
            click.progressbar(length=total, file=sys.stderr, show_pos=True, item_show_func=_shown)
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def done(self, source: object, target: Path | None, warnings: Sequence[str]) -> None:
        """Tell that a result was written."""
        lines = [f"{source}: warning: {text}" for text in warnings]
        if self._bar is None and target is not None:
            lines.append(f"{source} -> {target}")
        self._tell(lines, source)

    def failed(self, source: object, error: BaseException) -> None:
        """Tell that a file failed."""
        with self._lock:
            self.failures += 1
        self._tell([f"{source}: {describe(error)}"], source)

    def _tell(self, lines: Sequence[str], source: object) -> None:
        with self._lock:
            for line in lines:
                start = "" if self._bar is None else "\r\x1b[K"
                click.echo(f"{start}unmel: {line}", err=True)
            if self._bar is not None:
                self._bar.update(1, source)


def _shown(source: object) -> str | None:
    return None if source is None else str(source)[-40:]
