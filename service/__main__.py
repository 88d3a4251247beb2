"""`python -m service`: settings from the environment, an engine, and uvicorn around the app."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError

from models.engine import Engine
from models.errors import Invalid
from service.app import create_app
from service.lanes import LANE_NAME
from service.problems import faults_of
from service.settings import Settings


def main() -> int:
    """Serve until told to stop; 2 if the settings are wrong."""
    try:
        settings = Settings()
        device = settings.resolve_device()
    except ValidationError as error:
        for fault in faults_of(error):
            name = f"UNMEL_{fault['field'].upper()}"
            print(f"{name}: got {fault['got']}; {fault['expected']}", file=sys.stderr)
        return 2
    except (Invalid, SettingsError) as error:
        print(error, file=sys.stderr)
        return 2
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    # uvicorn drains on SIGTERM and then raises it again for whoever handled it before: that is
    # here, and a drained service has ended well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    engine = Engine(device, plan_bytes=settings.plan_cache_mb * 2**20)
    uvicorn.run(
        create_app(settings, engine),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # AccessMiddleware writes one line a request, with its id
        server_header=False,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    if any(thread.name.startswith(LANE_NAME) for thread in threading.enumerate()):
        # A lane computes beyond the grace period; torch aborts if the interpreter ends under it.
        logging.shutdown()
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
