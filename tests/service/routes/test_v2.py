"""The Open Inference Protocol: the real client of Triton, and what the protocol says beside it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.service.asking import HIFIGAN, MEL, npy
from tests.service.live import TestEngine, live
from tests.signals import voice
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.errors import NonFiniteOutput
from unmel.models.mel.presets import PRESETS

ENGINE = Engine()
PARAMETERS = {"n_iter": 2, "seed": 3}


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    with triton.InferenceServerClient(url.removeprefix("http://")) as made:
        yield made


def mel_of(preset: str) -> np.ndarray:
    config = PRESETS[preset].config
    return analyze(ENGINE.plans.get(config), voice(0.3, config.sample_rate))


def given(mel: np.ndarray, *, binary: bool = True, datatype: str = "FP32") -> Any:
    tensor = triton.InferInput("mel", list(mel.shape), datatype)
    tensor.set_data_from_numpy(mel, binary_data=binary)
    return tensor


def ask(client: Any, model: str, mel: np.ndarray, **more: Any) -> np.ndarray:
    answer = client.infer(model, [given(mel)], parameters=PARAMETERS, **more)
    return np.asarray(answer.as_numpy("audio"))


def reconstructed(url: str, mel: np.ndarray, preset: str = "hifigan-22k") -> np.ndarray:
    """What `POST /reconstruct` gives for the same."""
    answer = httpx.post(
        f"{url}/reconstruct",
        params={"config": preset, "format": "pcm_f32", **PARAMETERS},
        content=npy(mel),
        headers={"Content-Type": "application/x-npy"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<f4")


@pytest.mark.parametrize("preset", PRESETS)
def test_tritons_client_gets_every_presets_audio(client: Any, url: str, preset: str) -> None:
    mel, bands = mel_of(preset), PRESETS[preset].config.n_mels
    said = client.get_model_metadata(preset)
    assert said["name"] == preset
    assert said["inputs"][0] == {"name": "mel", "datatype": "FP32", "shape": [bands, -1]}
    assert said["outputs"][0] == {"name": "audio", "datatype": "FP32", "shape": [-1]}
    assert [tensor["name"] for tensor in said["inputs"][1:]] == ["lengths"]
    assert [tensor["name"] for tensor in said["outputs"][1:]] == ["samples", "errors"]
    assert client.is_model_ready(preset)
    np.testing.assert_array_equal(ask(client, preset, mel), reconstructed(url, mel, preset))


def test_tritons_client_finds_the_server_live_and_ready(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    said = client.get_server_metadata()
    assert said["name"] == "unmel"
    assert "binary_tensor_data" in said["extensions"]
    assert client.is_model_ready("hifigan-22k", "1")
    assert not client.is_model_ready("hifigan-22k", "2")
    assert not client.is_model_ready("nothing")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_json_and_binary_tensors_carry_the_same(
    client: Any, url: str, *, binary_in: bool, binary_out: bool | None
) -> None:
    outputs = (
        None
        if binary_out is None
        else [triton.InferRequestedOutput("audio", binary_data=binary_out)]
    )
    answer = client.infer(
        "hifigan-22k",
        [given(MEL, binary=binary_in)],
        outputs=outputs,
        parameters=PARAMETERS,
        request_id="abc",
        model_version="1",
    )
    np.testing.assert_array_equal(answer.as_numpy("audio"), reconstructed(url, MEL))
    said = answer.get_response()
    assert said["id"] == "abc"
    assert said["model_name"] == "hifigan-22k"
    assert said["parameters"] == {"sample_rate": 22050}


def test_axes_of_size_one_beside_the_batch_are_dropped(client: Any, url: str) -> None:
    want = reconstructed(url, MEL)
    np.testing.assert_array_equal(ask(client, "hifigan-22k", MEL[None]), want[None])
    np.testing.assert_array_equal(ask(client, "hifigan-22k", MEL[None, None]), want[None])
    two = np.stack([MEL.T[None], MEL.T[None]])
    np.testing.assert_array_equal(ask(client, "hifigan-22k", two), [want, want])
    np.testing.assert_array_equal(ask(client, "hifigan-22k", MEL[..., None]), want)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client_may_pack_its_request(
    client: Any, url: str, coding: str, *, binary: bool
) -> None:
    """The length of the JSON head is that of the unpacked one."""
    answer = client.infer(
        "hifigan-22k",
        [given(MEL, binary=binary)],
        parameters=PARAMETERS,
        request_compression_algorithm=coding,
    )
    np.testing.assert_array_equal(answer.as_numpy("audio"), reconstructed(url, MEL))


def test_half_precision_is_the_same_as_its_values_in_single(client: Any, url: str) -> None:
    half = MEL.astype(np.float16)
    answer = client.infer("hifigan-22k", [given(half, datatype="FP16")], parameters=PARAMETERS)
    expected = reconstructed(url, half.astype(np.float32))
    np.testing.assert_array_equal(answer.as_numpy("audio"), expected)


def test_double_precision_and_bfloat16_are_taken_too(client: Any, url: str) -> None:
    """BF16 is the upper half of a float32's bits; Triton's client needs another package for it."""
    double = client.infer(
        "hifigan-22k", [given(MEL.astype("f8"), datatype="FP64")], parameters=PARAMETERS
    )
    np.testing.assert_array_equal(double.as_numpy("audio"), reconstructed(url, MEL))
    halves = (MEL.astype("<f4").view("<u4") >> 16).astype("<u2")
    brain = tensor(
        datatype="BF16",
        shape=list(MEL.shape),
        data=None,
        parameters={"binary_data_size": halves.nbytes},
    )
    head = json.dumps({"inputs": [brain], "parameters": PARAMETERS}).encode()
    answer = httpx.post(
        f"{url}/v2/models/hifigan-22k/infer",
        content=head + halves.tobytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
        timeout=60,
    )
    expected = reconstructed(url, (halves.astype("<u4") << 16).view("<f4"))
    np.testing.assert_array_equal(np.float32(answer.json()["outputs"][0]["data"]), expected)


def test_all_that_tritons_client_can_say_is_taken(client: Any, url: str) -> None:
    answer = client.infer(
        "hifigan-22k",
        [given(MEL)],
        model_version="1",
        request_id="7",
        sequence_id=7,
        sequence_start=True,
        sequence_end=True,
        priority=1,
        timeout=60_000_000,
        headers={"X-Extra": "1"},
        query_params={"extra": 1},
        parameters=PARAMETERS,
    )
    np.testing.assert_array_equal(answer.as_numpy("audio"), reconstructed(url, MEL))


@pytest.mark.parametrize("where", ["output", "input"])
def test_shared_memory_is_refused_in_words(client: Any, where: str) -> None:
    mel, audio = given(MEL), triton.InferRequestedOutput("audio")
    (mel if where == "input" else audio).set_shared_memory("region", 320)
    with pytest.raises(InferenceServerException, match=r"shared_memory_region.*in the body"):
        client.infer("hifigan-22k", [mel], outputs=[audio])


def test_classes_of_audio_are_refused_in_words(client: Any) -> None:
    with pytest.raises(InferenceServerException, match=r"classification: got 3.*no classes"):
        client.infer(
            "hifigan-22k",
            [given(MEL)],
            outputs=[triton.InferRequestedOutput("audio", class_count=3)],
        )


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_is_its_clips_one_by_one(client: Any, url: str, count: int) -> None:
    mels = np.stack([MEL - n for n in range(count)])
    got = ask(client, "hifigan-22k", mels)
    assert got.shape == (count, MEL.shape[1] * HIFIGAN.hop_length)
    for mel, clip in zip(mels, got, strict=True):
        np.testing.assert_array_equal(clip, reconstructed(url, mel))


@pytest.mark.parametrize(("count", "status"), [(256, 200), (257, 413)])
def test_a_batch_has_a_bounded_number_of_mels(url: str, count: int, status: int) -> None:
    """However short they are: each is a request in the queue."""
    mels = tensor(shape=[count, 80, 1], data=None, parameters={"binary_data_size": count * 320})
    head = json.dumps({"inputs": [mels], "parameters": {"n_iter": 1}}).encode()
    answer = httpx.post(
        f"{url}/v2/models/hifigan-22k/infer",
        content=head + np.full((count, 80), -5.0, "<f4").tobytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
        timeout=60,
    )
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.json() == {"error": "mel: got a batch of 257 mels; expected at most 256"}


def test_options_travel_as_parameters(client: Any) -> None:
    answer = client.infer(
        "hifigan-22k",
        [given(MEL)],
        parameters={
            "inversion": "smooth",
            "phase": "admm",
            "params": json.dumps({"rho": 0.2}),
            "sample_rate": 8000,
            "normalize": "peak",
            "n_iter": 2,
        },
    )
    assert answer.get_response()["parameters"]["sample_rate"] == 8000
    samples = answer.as_numpy("audio")
    assert len(samples) == pytest.approx(MEL.shape[1] * 256 * 8000 / 22050, abs=1)
    assert np.abs(samples).max() == pytest.approx(10 ** (-1 / 20))


def test_warnings_come_along(client: Any) -> None:
    answer = client.infer("torchaudio", [given(mel_of("torchaudio"))], parameters=PARAMETERS)
    assert "bands hold no bin" in answer.get_response()["parameters"]["warnings"]


@pytest.mark.parametrize(
    ("model", "mel", "parameters", "status", "words"),
    [
        ("nothing", MEL, {}, 404, "one of tacotron2-22k"),
        ("hifigan-22k", MEL[:79], {}, 422, "mel: got shape 79x"),
        ("hifigan-22k", MEL + 100, {}, 422, "values from"),
        ("hifigan-22k", MEL * np.nan, {}, 422, "nan in band 0"),
        ("hifigan-22k", MEL[None][:0], {}, 422, "an empty batch"),
        ("hifigan-22k", MEL, {"n_iter": -1}, 422, "n_iter"),
        ("hifigan-22k", MEL, {"format": "mp3"}, 422, "parameters.format"),
        ("hifigan-22k", MEL, {"nonsense": 1}, 422, "nonsense"),
    ],
)
def test_tritons_client_is_told_what_was_wrong(
    client: Any, model: str, mel: np.ndarray, parameters: dict[str, Any], status: int, words: str
) -> None:
    with pytest.raises(InferenceServerException, match=words) as caught:
        client.infer(model, [given(mel)], parameters=parameters)
    assert caught.value.status() == str(status)


def unequal(client: Any, mels: np.ndarray, lengths: Any, *names: str, **how: Any) -> Any:
    """A batch of mels of different lengths; `how` says what is binary, and the options."""
    counts = triton.InferInput("lengths", list(np.shape(lengths)), how.get("datatype", "INT64"))
    kind = {"INT32": np.int32, "INT64": np.int64}[how.get("datatype", "INT64")]
    counts.set_data_from_numpy(np.asarray(lengths, kind), binary_data=how.get("binary", True))
    back = how.get("back", True)
    return client.infer(
        "hifigan-22k",
        [given(mels, binary=how.get("binary", True)), counts],
        outputs=[triton.InferRequestedOutput(n, binary_data=back) for n in names] or None,
        parameters={**PARAMETERS, **how.get("parameters", {})},
    )


def filled(*mels: np.ndarray, value: float = 0.0) -> np.ndarray:
    """Mels `[K, T]` filled up to the longest, as a batch."""
    longest = max(mel.shape[1] for mel in mels)
    return np.stack(
        [np.pad(m, [(0, 0), (0, longest - m.shape[1])], constant_values=value) for m in mels]
    )


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize("datatype", ["INT32", "INT64"])
@pytest.mark.parametrize("axes", [1, 2])
def test_mels_of_different_lengths_are_each_answered_as_alone(
    client: Any, url: str, *, binary: bool, back: bool, datatype: str, axes: int
) -> None:
    mels = [MEL, MEL[:, :7], MEL[:, :20]]
    lengths = np.reshape([m.shape[1] for m in mels], (3, 1)[:axes])
    answer = unequal(
        client, filled(*mels), lengths, *(["audio", "samples", "errors"] if back else []),
        datatype=datatype, binary=binary, back=back,
    )  # fmt: skip
    audio, samples = answer.as_numpy("audio"), answer.as_numpy("samples")
    assert samples.tolist() == [m.shape[1] * 256 for m in mels]
    assert audio.shape == (3, max(samples))
    for row, count, mel in zip(audio, samples, mels, strict=True):
        np.testing.assert_array_equal(row[:count], reconstructed(url, mel))
        assert not row[count:].any()
    assert [bytes(one) for one in np.ravel(answer.as_numpy("errors"))] == [b""] * 3


@pytest.mark.parametrize("frames_first", [True, False])
@pytest.mark.parametrize("longest", [90, 80])
def test_the_axis_of_the_frames_is_the_batchs_be_an_item_square_or_the_whole(
    client: Any, url: str, longest: int, *, frames_first: bool
) -> None:
    """80 bands: a mel cut to 80 frames is square, and so is a batch filled up to 80."""
    whole = analyze(ENGINE.plans.get(HIFIGAN), voice(1.2))[:, :longest]
    mels = [whole, whole[:, :80], whole[:, :30]]
    batch = filled(*mels)
    batch = np.ascontiguousarray(batch.swapaxes(1, 2)) if frames_first else batch
    answer = unequal(client, batch, [longest, 80, 30])
    for row, mel in zip(answer.as_numpy("audio"), mels, strict=True):
        alone = reconstructed(url, mel)
        np.testing.assert_array_equal(row[: len(alone)], alone)


def test_a_faulty_mel_is_refused_alone_and_the_others_are_answered(client: Any, url: str) -> None:
    bad = MEL.copy()
    bad[3, 5] = np.nan
    batch = filled(MEL, bad, MEL[:, :9], MEL, MEL)
    full = MEL.shape[1]
    answer = unequal(client, batch, [full, full, 9, 0, full + 1])
    assert answer.as_numpy("samples").tolist() == [full * 256, 0, 9 * 256, 0, 0]
    np.testing.assert_array_equal(answer.as_numpy("audio")[0], reconstructed(url, MEL))
    assert not answer.as_numpy("audio")[1].any()
    good, nan, also_good, none, beyond = answer.as_numpy("errors")
    assert (good, also_good) == (b"", b"")
    said = json.loads(nan)
    assert (said["status"], said["field"]) == (422, "mel")
    assert "nan in band 3, frame 5" in said["detail"]
    for fault, words in ((none, "0 for mel 3"), (beyond, f"{full + 1} for mel 4")):
        assert json.loads(fault)["field"] == "lengths"
        assert words in json.loads(fault)["detail"]


def test_a_faulty_mel_refuses_the_batch_of_a_client_that_would_not_look(client: Any) -> None:
    """Without the output `errors` nothing would tell it silence from audio."""
    mels = np.stack([MEL, MEL * np.nan])
    with pytest.raises(InferenceServerException, match="nan in band 0"):
        client.infer("hifigan-22k", [given(mels)], parameters=PARAMETERS)
    with pytest.raises(InferenceServerException, match="nan in band 0"):
        unequal(client, mels, [MEL.shape[1]] * 2, "audio")
    wanted = [triton.InferRequestedOutput(name) for name in ("errors", "audio")]
    answer = client.infer("hifigan-22k", [given(mels)], outputs=wanted, parameters=PARAMETERS)
    assert [bool(one) for one in answer.as_numpy("errors")] == [False, True]
    assert answer.as_numpy("samples") is None


@pytest.mark.parametrize(
    ("mels", "lengths", "words"),
    [
        (np.stack([MEL * np.nan, MEL * np.nan]), [5, 5], "nan in band 0, frame 0"),
        (np.stack([MEL, MEL]), [0, -1], "0 for mel 0; expected 1 to"),
        (np.stack([MEL, MEL]), [5], "1 for mels of shape"),
        (np.stack([MEL, MEL]), [[5, 5]], "lengths: got shape"),
    ],
)
def test_a_batch_without_a_good_mel_is_refused_as_ever(
    client: Any, mels: np.ndarray, lengths: Any, words: str
) -> None:
    with pytest.raises(InferenceServerException, match=words) as caught:
        unequal(client, mels, lengths)
    assert caught.value.status() == "422"


def test_a_mel_that_overflows_is_refused_alone_and_a_fault_of_the_service_refuses_all() -> None:
    """The seed is the batch's, so that all fail at once: there is nobody left to answer."""
    with live(TestEngine()) as service:
        path = "/v2/models/hifigan-22k/infer"
        counts = {"name": "lengths", "shape": [2], "datatype": "INT32", "data": [1, 2]}
        mels = tensor(shape=[2, 80, 2], data=[-5.0] * 320)
        body = {"inputs": [mels, counts]}
        service.engine.faults[0] = NonFiniteOutput("nan")
        assert service.client.post(path, json=body).status_code == 422

        def once() -> None:
            service.engine.faults[0] = 0.0
            raise NonFiniteOutput("nan")

        service.engine.room = 1
        service.engine.faults[0] = once
        answer = service.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        _, samples, errors = answer.json()["outputs"]
        assert sorted(map(bool, samples["data"])) == [False, True]
        assert [bool(text) for text in errors["data"]] == [not n for n in samples["data"]]
        assert "overflowed" in "".join(errors["data"])
        service.engine.faults[0] = RuntimeError("inside")
        assert service.client.post(path, json=body).status_code == 500
        service.engine.faults.clear()
        service.assert_in_order()


def tensor(**changes: Any) -> dict[str, Any]:
    plain = {"name": "mel", "datatype": "FP32", "shape": [80, 1], "data": [-5.0] * 80}
    return {k: v for k, v in {**plain, **changes}.items() if v is not None}


def test_nested_lists_are_read_too(url: str) -> None:
    path, parameters = f"{url}/v2/models/hifigan-22k/infer", {"n_iter": 1}
    flat = httpx.post(path, json={"inputs": [tensor()], "parameters": parameters})
    nested = tensor(data=[[-5.0]] * 80)
    again = httpx.post(path, json={"inputs": [nested], "parameters": parameters})
    assert flat.status_code == 200, flat.text
    assert flat.json() == again.json()
    assert flat.json()["outputs"][0]["shape"] == [256]


@pytest.mark.parametrize(
    "more",
    [
        {"id": None, "parameters": None, "outputs": None},
        {"parameters": {"content_type": "np", "headers": {"Ce-Id": "1"}}},
        {"parameters": {"content_type": None, "headers": None, "seed": None, "timeout": None}},
        {"parameters": {"sequence_id": "a", "priority": 0, "timeout": 0, "triton_x": True}},
        {"model_name": "hifigan-22k", "outputs": []},
        {"outputs": [{"name": "audio", "parameters": None}]},
        {
            "outputs": [
                {
                    "name": "audio",
                    "parameters": {"content_type": "np", "headers": None, "binary_data": None},
                }
            ]
        },
        {"outputs": [{"name": "audio", "parameters": {"classification": 0}}]},
    ],
)
@pytest.mark.parametrize("own", [None, {"content_type": "np", "headers": None}])
def test_what_mlservers_and_kserves_clients_send_is_taken(
    url: str, more: dict[str, Any], own: dict[str, Any] | None
) -> None:
    """Their models write null for what is not given (mlserver/types/dataplane.py)."""
    inputs = [{**tensor(datatype="FP64"), "parameters": own}]
    path = f"{url}/v2/models/hifigan-22k/infer"
    answer = httpx.post(path, json={"inputs": inputs, **more})
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["shape"] == [256]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "JSON that does not parse"),
        (b"[]", "a JSON object"),
        ({}, "inputs"),
        ({"inputs": []}, "one input, 'mel'"),
        ({"inputs": [3]}, "an object"),
        ({"inputs": [tensor(), tensor()]}, "one input, 'mel'"),
        ({"inputs": [tensor(name="text")]}, "'mel'"),
        ({"inputs": [tensor(name="predict")]}, "an input 'predict'; expected 'mel'"),
        ({"inputs": [tensor(datatype="INT8")]}, "FP32, FP16, FP64, BF16"),
        ({"inputs": [tensor(datatype="BYTES")]}, "FP32, FP16, FP64, BF16"),
        (
            {"inputs": [tensor(data=None, parameters={"shared_memory_region": "r"})]},
            "no shared memory",
        ),
        ({"inputs": [tensor(shape=[80])]}, "n_mels, frames"),
        ({"inputs": [tensor(shape=[80, -1])]}, "n_mels, frames"),
        ({"inputs": [tensor(shape=[80, 2])]}, "160 numbers"),
        ({"inputs": [tensor(shape=[0, 2**31 - 1, 2**31 - 1], data=[])]}, "an impossible shape"),
        ({"inputs": [tensor(data=None)]}, "a list"),
        ({"inputs": [tensor(data=["a"] * 80)]}, "not all numbers"),
        ({"inputs": [tensor(data=[1e39] * 80)]}, "finite"),
        ({"inputs": [tensor(parameters={"binary_data_size": 320})]}, "size 320 and 0 bytes"),
        ({"inputs": [tensor(parameters={"binary_data_size": "320"})]}, "size '320' and 0"),
        ({"inputs": [tensor(parameters=3)]}, "mel.parameters"),
        ({"inputs": [tensor()], "parameters": []}, "parameters"),
        ({"inputs": [tensor()], "parameters": {"timeout": -1}}, "timeout"),
        ({"inputs": [tensor()], "parameters": {"binary_data_output": 2}}, "true or false"),
        ({"inputs": [tensor()], "outputs": [{"name": "mel"}]}, "'audio'"),
        (
            {"inputs": [tensor()], "parameters": {"nonsense": 1}},
            "one of quality, method",
        ),
        (
            {"inputs": [tensor()], "parameters": {"nonsense": 1}},
            "binary_data_output, timeout; content_type, headers, priority",
        ),
        ({"inputs": [tensor()], "id": 7}, "id"),
    ],
)
def test_requests_that_are_none_are_answered_by_an_error(url: str, body: Any, words: str) -> None:
    path = f"{url}/v2/models/hifigan-22k/infer"
    answer = httpx.post(path, content=body if isinstance(body, bytes) else json.dumps(body))
    assert answer.status_code in (400, 422), answer.text
    assert set(answer.json()) == {"error"}
    assert words in answer.json()["error"]


@pytest.mark.parametrize("length", ["x", "-1", "9" * 30, "0" * 5000, "1000000"])
def test_a_header_length_beyond_the_body_is_refused(url: str, length: str) -> None:
    answer = httpx.post(
        f"{url}/v2/models/hifigan-22k/infer",
        content=json.dumps({"inputs": [tensor()]}),
        headers={"Inference-Header-Content-Length": length},
    )
    assert answer.status_code == 400
    assert "Inference-Header-Content-Length" in answer.json()["error"]


def test_faults_around_the_route_have_the_protocols_form_too() -> None:
    """A batch that fails fails whole, a timeout is a deadline, and keys and probes are as ever."""
    key = "k" * 16
    with live(TestEngine(), api_keys=key) as service:
        path = "/v2/models/hifigan-22k/infer"
        body = {"inputs": [tensor(shape=[2, 80, 1], data=[-5.0] * 160)]}
        refused = service.client.post(path, json=body)
        assert refused.status_code == 401
        assert refused.json() == {"error": "An API key is required."}
        assert service.client.get("/v2/health/ready").json() == {"ready": True}
        headers = {"Authorization": f"Bearer {key}"}
        served = service.client.post(path, json=body, headers=headers)
        assert served.json()["outputs"][0]["shape"] == [2, 256]
        service.engine.faults[0] = RuntimeError("inside")
        failed = service.client.post(path, json=body, headers=headers)
        assert failed.status_code == 500
        assert "inside" not in failed.text
        del service.engine.faults[0]
        service.engine.gate.clear()
        late = service.client.post(
            path, json={**body, "parameters": {"timeout": 200_000}}, headers=headers
        )
        assert late.status_code in (503, 504)
        assert set(late.json()) == {"error"}
        service.engine.gate.set()
        service.until(lambda: service.lanes.outstanding == 0)
