"""OpenTelemetry: a span for each request and for each of its stages.

FastAPI makes the request's span and takes the caller's `traceparent`; here are its children.
Where no endpoint is set nothing is recorded, and the packages of the extra `otel` are not needed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.util.types import AttributeValue

from unmel.models.errors import Invalid

_NAME = "unmel"
_NANO = 10**9


def configure(endpoint: str) -> None:
    """Send spans to an OTLP endpoint over HTTP; Invalid where the extra is not installed."""
    try:
        from unmel.service.ops.otlp import export_to  # noqa: PLC0415 - the extra need not be there
    except ImportError:
        raise Invalid(
            "UNMEL_OTLP_ENDPOINT", endpoint, "nothing, or pip install 'unmel[otel]'"
        ) from None
    export_to(endpoint, _NAME)


def record(began: float, seconds: Mapping[str, float], **attributes: AttributeValue) -> None:
    """Children of the current span, one stage after the other since `began` (time.monotonic)."""
    current = trace.get_current_span()
    if not current.is_recording():
        return
    current.set_attributes({f"{_NAME}.{name}": value for name, value in attributes.items()})
    tracer = trace.get_tracer(_NAME)
    at = time.time_ns() - int((time.monotonic() - began) * _NANO)
    for stage, value in seconds.items():
        span = tracer.start_span(stage, start_time=at)
        at += int(value * _NANO)
        span.end(at)
