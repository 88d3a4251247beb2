"""`python -m unmel.service`: settings from the environment, an engine, a server for the app."""

from __future__ import annotations

import logging
import os
import sys
import threading

from pydantic import ValidationError
from pydantic_settings import SettingsError

from unmel.models.engine.engine import Engine
from unmel.models.errors import Invalid
from unmel.service.app import create_app
from unmel.service.ops.settings import Settings
from unmel.service.queue.lane import LANE_NAME
from unmel.service.server import Server
from unmel.service.web.components import build_engine
from unmel.service.wire.problems import WHOLE, faults_of


def main(engine_kind: type[Engine] = Engine) -> int:
    """Serve until told to stop; 2 if the settings are wrong."""
    try:
        settings = Settings()
        engine = build_engine(settings, engine_kind)
    except ValidationError as error:
        for fault in faults_of(error):
            print(_told(fault), file=sys.stderr)
        return 2
    except (Invalid, SettingsError) as error:
        print(error, file=sys.stderr)
        return 2
    server = Server(create_app(settings, engine), settings, at_last=_end)
    server.run()
    if any(thread.name.startswith(LANE_NAME) for thread in threading.enumerate()):
        _end()
    return 0


def _told(fault: dict[str, str]) -> str:
    """A fault of the settings; one of several together names them itself."""
    if fault["field"] == WHOLE:
        return fault["expected"]
    return f"UNMEL_{fault['field'].upper()}: got {fault['got']}; {fault['expected']}"


def _end() -> None:
    """End now, whatever still computes: torch aborts if the interpreter ends under a lane."""
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
