"""Made-up bytes, values and requests: a refusal or an answer, and never anything else.

`make fuzz` asks the service itself for as many again, by its OpenAPI document.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from benchmarks.server import service_process
from tests.cases import CASES
from tests.service import fuzz
from unmel.models.errors import Invalid
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.start.starts import STARTS
from unmel.service.errors import NotAcceptable
from unmel.service.ops.keys import split_keys
from unmel.service.ops.settings import Settings
from unmel.service.web.pipeline import read_deadline
from unmel.service.wire.bodies import Body
from unmel.service.wire.codecs import (
    parse_json,
    parse_json_array,
    parse_npy,
    read_audio,
)
from unmel.service.wire.formats import FORMATS, encode_audio, encode_npy, format_for
from unmel.service.wire.levels import LevelOptions
from unmel.service.wire.limiter import limit
from unmel.service.wire.requests import read_reconstruct_request

pytestmark = pytest.mark.slow

LOSSY = {"ogg", "opus", "mp3"}
ACCEPTED = r"(audio/(wav|flac|ogg|\*)(; ?codecs=opus)?(;q=[0-9.]*)?,?)*"
MANY = settings(max_examples=500, deadline=None)

REAL = st.sampled_from(["<f2", "<f4", "<f8", ">f4", ">f8", "<i2", ">i4", "|u1", "|i1"])
ARRAYS = hnp.arrays(REAL, hnp.array_shapes(max_dims=3, max_side=8))


def saved(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    return stream.getvalue()


# --- codecs -------------------------------------------------------------------------------------


@MANY
@given(
    array=ARRAYS,
    order=st.sampled_from(["C", "F"]),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)
def test_any_real_array_is_read_as_it_was_saved(
    array: np.ndarray, order: Any, version: tuple[int, int]
) -> None:
    CASES["codecs"] += 1
    with contextlib.suppress(UserWarning):  # numpy's, that version 3 is newer than need be
        array = np.array(array, order=order)
        np.testing.assert_array_equal(parse_npy("mel", saved(array, version)), array)


@MANY
@given(array=ARRAYS, at=st.integers(0, 400), to=st.binary(max_size=6), cut=st.integers(0, 40))
def test_a_damaged_npy_file_is_refused_or_read_and_never_more_than_is_there(
    array: np.ndarray, at: int, to: bytes, cut: int
) -> None:
    CASES["codecs"] += 1
    data = saved(array)
    at %= len(data)
    data = (data[:at] + to + data[at + len(to) :])[: len(data) - cut]
    with contextlib.suppress(Invalid):
        assert parse_npy("mel", data).nbytes <= len(data)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["float32", "AAAA", "hifigan-22k"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["mel", "data", "dtype", "shape", "config", "kind"]) | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@MANY
@given(value=JSON_VALUES)
def test_any_json_value_is_an_array_of_numbers_or_refused(value: object) -> None:
    CASES["codecs"] += 1
    with contextlib.suppress(Invalid):
        assert parse_json_array("mel", value).dtype.kind in "fiu"


@MANY
@given(value=JSON_VALUES, text=st.text(max_size=30), at=st.integers(0, 60))
def test_any_json_body_is_an_order_or_refused(value: object, text: str, at: int) -> None:
    CASES["codecs"] += 1
    data = json.dumps(value if isinstance(value, dict) else {"mel": value}).encode()
    data = data[:at] + text.encode() + data[at:] if text else data
    with contextlib.suppress(Invalid, ValidationError):
        read_reconstruct_request(Body("application/json", data), {"n_iter": "1"}, None, Settings())


@MANY
@given(array=hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=6)))
def test_an_array_is_the_same_by_lists_and_by_base64(array: np.ndarray) -> None:
    CASES["codecs"] += 1
    coded = {"data": base64.b64encode(array.tobytes()).decode(), "shape": list(array.shape)}
    np.testing.assert_array_equal(parse_json_array("mel", coded), array)
    if np.isfinite(array).all():
        body = parse_json(json.dumps({"mel": array.tolist()}).encode(), 10**4)
        np.testing.assert_array_equal(parse_json_array("mel", body["mel"]), array)
        np.testing.assert_array_equal(np.load(io.BytesIO(encode_npy(array).data)), array)


@MANY
@given(
    wave=hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(-4, 4, width=32)),
    name=st.sampled_from(list(FORMATS)),
    how=st.builds(
        LevelOptions,
        st.sampled_from(["none", "peak", "loudness"]),
        st.sampled_from([0.0, -6.0, 60.0]),
        peak=st.sampled_from([None, "limit", "scale", "clip"]),
    ),
)
def test_samples_come_back_as_they_were_written(
    wave: np.ndarray, name: str, how: LevelOptions
) -> None:
    CASES["codecs"] += 1
    encoded = encode_audio(wave, 16000, name, how)
    if FORMATS[name].container is None:
        kind, scale = ("<i2", 32767) if name == "pcm" else ("<f4", 1)
        back = np.frombuffer(encoded.data, kind) / scale
    else:
        back, warnings = read_audio(encoded.data, 16000, 100)
        assert warnings == ()
    assert back.shape == wave.shape
    assert np.isfinite(back).all()
    if name not in LOSSY:
        step = 1.6 / 32767 if FORMATS[name].fixed_point else 0.0
        expected = wave.astype(np.float64) * encoded.gain  # of the least float its peak is huge
        [done] = [warning.split()[-1] for warning in encoded.warnings] or [None]
        if done == "limited":
            expected = limit(expected.astype(np.float32), 16000)
        elif done == "clipped":
            expected = np.clip(expected, -1.0, 1.0)
        np.testing.assert_allclose(back, expected, atol=step + 1e-6, rtol=1e-6)


@MANY
@given(text=st.text(max_size=60) | st.from_regex(ACCEPTED))
def test_any_header_is_read_or_refused(text: str) -> None:
    CASES["codecs"] += 1
    with contextlib.suppress(NotAcceptable):
        assert format_for(text) in FORMATS
    with contextlib.suppress(Invalid):
        answer_by = read_deadline(text, 100.0)
        assert answer_by is not None
        assert 100.0 < answer_by <= 86_500.0
    with contextlib.suppress(ValueError):
        split_keys({"api_keys": text})


# --- requests -----------------------------------------------------------------------------------

DOCUMENTED = {200, 400, 413, 415, 422, 503, 504}

MELS = hnp.arrays(
    st.sampled_from(["<f4", ">f4", "<f8", "<f2"]),
    st.tuples(st.sampled_from([80, 80, 80, 100, 1]), st.integers(1, 24)),
    elements=st.floats(-11, 1, width=16),
    fill=st.just(-5.0),
)
OPTIONS = st.fixed_dictionaries(
    {
        "config": st.sampled_from(["hifigan-22k"] * 6 + sorted(PRESETS)),
        "n_iter": st.integers(-1, 5).map(str),
    },
    optional={
        "quality": st.sampled_from(["draft", "best"]),
        "method": st.sampled_from(list(JOINT)),
        "phase": st.sampled_from(list(PHASES)),
        "inversion": st.sampled_from(list(INVERSIONS)),
        "start": st.sampled_from([*STARTS, "given"]),
        "momentum": st.floats(-0.5, 2.0).map(str),
        "harmonics": st.sampled_from(["auto", "off", "on", ""]),
        "fit": st.sampled_from(["exact", "relaxed", "loose"]),
        "seed": st.integers(-1, 2**64).map(str),
        "length": st.integers(0, 6000).map(str),
        "format": st.sampled_from([*FORMATS, "npy", "mp5"]),
        "output": st.sampled_from(["audio", "magnitude", "stft"]),
        "layout": st.sampled_from(["auto", "bands_first", "frames_first"]),
        "normalize": st.sampled_from(["none", "peak", "loudness"]),
        "gain": st.floats(-70, 70).map(str),
        "sample_rate": st.integers(0, 400_000).map(str),
        "params": st.sampled_from(["{}", '{"momentum": 0.5}', '{"rho": 1}', "[", "null"]),
        "inversion_params": st.sampled_from(["{}", '{"n_iter": 3}', '{"n_iter": 1e9}']),
    },
)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(mel=MELS, options=OPTIONS, way=st.sampled_from(["npy", "form", "json", "base64"]))
def test_any_combination_of_options_is_answered_as_documented(
    client: TestClient, mel: np.ndarray, options: dict[str, str], way: str
) -> None:
    CASES["requests"] += 1
    if way == "npy":
        answer = client.post(
            "/reconstruct",
            params=options,
            content=saved(mel),
            headers={"Content-Type": "application/x-npy"},
        )
    elif way == "form":
        answer = client.post("/reconstruct", files={"mel": saved(mel)}, data=options)
    else:
        coded: object = mel.tolist()
        if way == "base64":
            raw = base64.b64encode(mel.astype("<f4").tobytes()).decode()
            coded = {"data": raw, "shape": list(mel.shape)}
        answer = client.post("/reconstruct", params=options, json={"mel": coded})
    assert answer.status_code in DOCUMENTED, answer.text
    if answer.status_code != 200:
        body = answer.json()
        assert body["status"] == answer.status_code
        assert body["detail"]
    elif options.get("output", "audio") != "audio":
        assert np.isfinite(np.load(io.BytesIO(answer.content))).all()
    else:
        assert float(answer.headers["x-audio-seconds"]) > 0
        assert answer.content


@pytest.mark.process
@pytest.mark.slow
def test_the_service_keeps_to_its_own_document() -> None:
    with service_process(**fuzz.SETTINGS) as (url, _):
        outcome = fuzz.run(url, examples=10, stateful=False)
    CASES["schemathesis"] += outcome.cases
    assert outcome.failures == []
    assert outcome.cases > 500
    assert {status for _, status in outcome.statuses} <= DOCUMENTED | {204, 404, 405, 406, 408}
