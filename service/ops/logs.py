"""The log: one JSON object per line, uvicorn's lines in the same format."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

Format = Literal["json", "text"]

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the current request, which every log line of it carries."""

# Attributes of every record; any other came through `extra` and becomes a field of the line.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Fields of a log line.

    Parameters
    ----------
    record
        The record to be written.

    Returns
    -------
    Values by name, in the order of the line.

    """
    fields: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
    }
    ident = request_id.get()
    if ident is not None:
        fields["request_id"] = ident
    return fields | {k: v for k, v in vars(record).items() if k not in _OWN}


class JsonFormatter(logging.Formatter):
    """Format a record as one line of JSON; a traceback is a field."""

    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


class TextFormatter(logging.Formatter):
    """Format a record as a readable line; a traceback follows it."""

    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        head = [str(fields.pop(name)) for name in ("time", "level", "logger", "message")]
        rest = [f"{name}={json.dumps(value, default=str)}" for name, value in fields.items()]
        # A message may quote a client's input, which must not be able to start a new line.
        line = " ".join(head + rest).encode("unicode_escape").decode("ascii")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


_FORMATTERS: dict[Format, type[logging.Formatter]] = {"json": JsonFormatter, "text": TextFormatter}


def configure(level: str, form: Format) -> None:
    """Send all log lines, including warnings and uvicorn's, to standard error.

    Parameters
    ----------
    level
        Least severe level that is written.
    form
        `json` or `text`.

    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMATTERS[form]())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
