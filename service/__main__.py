"""`python -m unmel.service`: run the service with settings from the environment."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from unmel.models.engine import Engine
from unmel.models.errors import Invalid
from unmel.service.app import create_app
from unmel.service.ops.settings import Settings
from unmel.service.queue.lane import LANE_NAME
from unmel.service.server import Server
from unmel.service.web.components import build_engine
from unmel.service.wire.problems import ALL_FIELDS, faults_of


def main(engine_kind: type[Engine] = Engine, given: Mapping[str, Any] | None = None) -> int:
    """Serve until a signal.

    Parameters
    ----------
    engine_kind
        Class of the engine.
    given
        Settings by name that go before the environment's.

    Returns
    -------
    Exit status: 0, or 2 for wrong settings.

    """
    try:
        settings = Settings(**(given or {}))
        engine = build_engine(settings, engine_kind)
        server = Server(create_app(settings, engine), settings, force_exit_now=_exit_now)
    except ValidationError as error:
        for fault in faults_of(error):
            print(format_fault(fault, given or ()), file=sys.stderr)
        return 2
    except (Invalid, SettingsError) as error:
        print(error, file=sys.stderr)
        return 2
    server.run()
    if any(thread.name.startswith(LANE_NAME) for thread in threading.enumerate()):
        _exit_now()
    return 0


def format_fault(fault: dict[str, str], given: Collection[str] = ()) -> str:
    """A fault of one setting, or of several, which its text then names.

    Parameters
    ----------
    fault
        One of `faults_of`.
    given
        Names of the settings that options of a command gave.

    """
    field = fault["field"]
    if field == ALL_FIELDS:
        return fault["expected"]
    name = f"--{field.replace('_', '-')}" if field in given else f"UNMEL_{field.upper()}"
    return f"{name}: got {fault['got']}; expected {fault['expected']}"


def _exit_now() -> None:
    """End without the interpreter's shutdown, in which torch aborts if a lane computes."""
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
