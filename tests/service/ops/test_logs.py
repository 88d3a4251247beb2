"""Log lines: one line for each record, whatever its message holds."""

from __future__ import annotations

import json
import logging

import pytest

from unmel.service.ops import logs


@pytest.mark.parametrize(
    ("formatter", "read"),
    [(logs.JsonFormatter(), json.loads), (logs.TextFormatter(), str)],
)
def test_every_line_is_one_line_whatever_it_says(formatter: logging.Formatter, read: type) -> None:
    record = logging.LogRecord("uvicorn.error", logging.INFO, "", 1, "a %s", ("b\nc\x1b",), None)
    record.color_message = "never shown"
    record.extra = {"set": {1}}
    line = formatter.format(record)
    assert line.isprintable()
    assert "color" not in line
    assert "uvicorn.error" in str(read(line))
