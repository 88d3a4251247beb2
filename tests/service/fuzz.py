"""Requests that schemathesis makes up from the service's own OpenAPI document, every check on.

    python -m tests.service.fuzz --examples N

starts a service of its own and prints what was asked and answered; 1 if a check failed.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import schemathesis
import soundfile
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from benchmarks.server import service_process
from unmel.service.wire.schemas import ReconstructOptions

# What the document cannot say: whether bytes are an array, and an array a mel of that config.
_REFUSALS = ["400", "413", "415", "422"]
# Statuses that the issue of the day is to be answered with, and no other of the 500s.
_BUSY = ["503", "504"]

OPTIONS = frozenset(ReconstructOptions.model_fields)
# Options of which a random value hardly ever fits the mel and the method.
HARD = frozenset({"length", "params", "inversion_params", "phases", "momentum", "layout"})

SETTINGS = {
    "UNMEL_LANES": "2",
    "UNMEL_MAX_FRAMES": "300",
    "UNMEL_MAX_ITERATIONS": "20",
    "UNMEL_MAX_POINTS": str(2**20),
    "UNMEL_WARM_PRESETS": '["hifigan-22k"]',
}


@dataclass
class Outcome:
    """What a run asked and what came of it."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Answers by operation and status."""
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    """Seconds of the slowest answer."""

    @property
    def cases(self) -> int:
        return sum(self.statuses.values())

    def table(self) -> str:
        """Statuses by operation."""
        rows = [
            f"{label:24} {status} {n:6}" for (label, status), n in sorted(self.statuses.items())
        ]
        return "\n".join(rows)


def _saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def files() -> st.SearchStrategy[bytes]:
    """Bytes of a file: an array, a sound, or nothing of the kind."""
    return st.one_of(arrays(), arrays(), st.builds(_sound, st.integers(0, 3000)))


def _sound(samples: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.zeros(samples, np.float32), 22050, format="WAV")
    return stream.getvalue()


def arrays() -> st.SearchStrategy[bytes]:
    """Npy bytes: mostly a mel that some preset takes, else of another shape, kind or length."""
    bands, frames = st.sampled_from([80, 80, 80, 100, 128, 3]), st.integers(1, 30)
    dtypes = st.sampled_from(["<f4", "<f4", "<f4", ">f8", "<f2", "<i2", "<c8"])
    values = st.sampled_from([-5.0, -5.0, -5.0, 0.5, -80.0, 1e30, float("nan")])

    def make(bands: int, frames: int, dtype: str, value: float) -> bytes:
        with np.errstate(all="ignore"):
            return _saved(np.full((bands, frames), value).astype(dtype))

    whole = st.builds(make, bands, frames, dtypes, values)
    cut = st.builds(lambda data, n: data[: len(data) - n], whole, st.integers(1, 200))
    return st.one_of(whole, whole, whole, cut, st.binary(max_size=100))


@schemathesis.hook("before_call")
def lead_inwards(_: object, case: schemathesis.Case, __: object) -> None:
    """Take from well-formed requests what would refuse nearly all of them at the door: an option
    both in the body and in the query, a missing config, options that hardly ever fit a mel.
    """
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.operation.path not in ("/reconstruct", "/analyze"):
        return
    query = case.query or {}
    options = {k: v for k, v in query.items() if v and k not in HARD and k in OPTIONS}
    if isinstance(case.body, dict):
        case.query, case.headers = {}, {}
        case.body = {k: v for k, v in case.body.items() if v != "" and k not in HARD}
        case.body["config"] = "hifigan-22k"
        if case.media_type == "application/json":
            case.body["mel"] = [[-5.0] * 9] * 80
    else:
        case.query = {**options, "config": "hifigan-22k"}


def run(url: str, examples: int, *, stateful: bool = True) -> Outcome:
    """The phases of schemathesis against a service; `examples` for each operation."""
    for media in ("x-npy", "x-npz", "x-safetensors"):
        schemathesis.openapi.media_type(f"application/{media}", arrays())
    schemathesis.openapi.format("binary", files())
    refused = {"expected-statuses": ["401", "404", "405", "406", "408", *_REFUSALS, *_BUSY]}
    config = SchemathesisConfig.from_dict(
        {
            "generation": {"max-examples": examples},
            "continue-on-failure": True,
            "phases": {"stateful": {"enabled": stateful}},
            "checks": {
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", *_BUSY]},
                "positive_data_acceptance": {
                    "expected-statuses": ["2xx", "404", *_REFUSALS, *_BUSY]
                },
                "negative_data_rejection": refused,
            },
        }
    )
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    outcome = Outcome()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            outcome.failures.append(str(event.value if "value" in vars(event) else event))
        if not isinstance(event, events.ScenarioFinished):
            continue
        for interaction in event.recorder.interactions.values():
            if interaction.response is None:
                outcome.failures.append(f"{event.recorder.label}: no answer")
                continue
            outcome.statuses[event.recorder.label, interaction.response.status_code] += 1
            outcome.slowest = max(outcome.slowest, interaction.response.elapsed)
        for checks in event.recorder.checks.values():
            outcome.failures += [
                f"{event.recorder.label}: {check.name}: {check.failure_info.failure}\n"
                f"{check.failure_info.code_sample}"
                for check in checks
                if check.failure_info is not None
            ]
    return outcome


def main() -> int:
    """Fuzz a service of our own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=300, help="for each operation")
    options = parser.parse_args()
    began = time.monotonic()
    with service_process(**SETTINGS) as (url, _):
        outcome = run(url, options.examples)
    print(outcome.table())
    print(
        f"{outcome.cases} cases in {time.monotonic() - began:.0f} s, slowest answer "
        f"{outcome.slowest:.2f} s, {len(outcome.failures)} failures"
    )
    print(*outcome.failures[:20], sep="\n\n")
    return bool(outcome.failures)


if __name__ == "__main__":
    raise SystemExit(main())
