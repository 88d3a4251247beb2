"""OpenTelemetry: a span for each request and for each of its stages.

FastAPI makes the request's span and takes the caller's `traceparent`; here are its children, and
the span of a call over gRPC.
Where no endpoint is set nothing is recorded, and the packages of the extra `otel` are not needed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.util.types import AttributeValue

from unmel.models.errors import Invalid

_NAME = "unmel"
_NANO = 10**9


def configure(endpoint: str) -> None:
    """Send the process's spans to an OTLP endpoint over HTTP.

    Sampling and batching follow OpenTelemetry's own environment variables.

    Parameters
    ----------
    endpoint
        URL that takes the spans.

    Raises
    ------
    Invalid
        The extra `otel` is not installed.

    """
    try:  # the extra is optional, so it is imported only when an endpoint is set
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise Invalid(
            "UNMEL_OTLP_ENDPOINT", endpoint, "nothing, or pip install 'unmel[otel]'"
        ) from None
    resource = Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", _NAME)})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)


@contextmanager
def server_span(name: str, carrier: Mapping[str, str]) -> Iterator[None]:
    """Make a span around a call that FastAPI does not know; `carrier` has its `traceparent`."""
    tracer, parent = trace.get_tracer(_NAME), propagate.extract(carrier)
    with tracer.start_as_current_span(name, parent, trace.SpanKind.SERVER):
        yield


def record(began: float, seconds: Mapping[str, float], **attributes: AttributeValue) -> None:
    """Add a child span for each stage to the current span, one after the other.

    Parameters
    ----------
    began
        Start of the first stage (time.monotonic).
    seconds
        Duration of each stage, in order.
    **attributes
        Attributes for the current span; their names get the prefix `unmel.`.

    """
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
