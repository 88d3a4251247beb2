"""The HTTP contract: every way in, every option, every header, every refusal."""

from __future__ import annotations

import base64
import io
import json
import threading
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from models.analysis import analyze
from models.engine import Engine, Item
from models.inversion import INVERSIONS
from models.joint import JOINT
from models.phase import PHASES
from models.presets import PRESETS
from models.recipe import resolve
from models.start import STARTS
from service import problems
from service.app import create_app
from service.schemas import ReconstructOptions
from service.settings import Settings
from tests.service.conftest import wait_until_ready
from tests.signals import voice

NPY = {"Content-Type": "application/x-npy"}
HIFIGAN = PRESETS["hifigan-22k"].config
PLAN = Engine().plans.get(HIFIGAN)
MEL = analyze(PLAN, voice(0.5))
SAMPLES = MEL.shape[1] * 256


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def post(client: TestClient, body: bytes = npy(MEL), **options: Any) -> Any:
    options = {"config": "hifigan-22k", "n_iter": 4, **options}
    return client.post("/reconstruct", params=options, content=body, headers=NPY)


def read(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    wave, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    assert rate == int(answer.headers["X-Sample-Rate"])
    return np.asarray(wave)


def problem(answer: Any, status: int, field: str | None) -> dict[str, Any]:
    """Check a refusal's form; the problem itself comes back."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    if field is not None:
        assert body["field"] == field
        assert body["got"]
        assert body["expected"]
    return body


# --- ways in ----------------------------------------------------------------------------------


def test_npy_json_base64_and_multipart_give_the_same_bytes(client: TestClient) -> None:
    options = {"config": "hifigan-22k", "n_iter": 4, "seed": 3}
    raw = MEL.astype("<f4").tobytes()
    coded = {"data": base64.b64encode(raw).decode(), "dtype": "float32", "shape": list(MEL.shape)}
    answers = [
        post(client, seed=3),
        client.post("/reconstruct", json={"mel": MEL.tolist(), **options}),
        client.post("/reconstruct", json={"mel": coded, **options}),
        client.post("/reconstruct", files={"mel": ("mel.npy", npy(MEL))}, data=options),
        client.post("/reconstruct", params=options, files={"mel": ("mel.npy", npy(MEL))}),
        client.post("/reconstruct", params={"seed": 3}, json={
            "mel": MEL[None].tolist(), "config": HIFIGAN.model_dump(), "n_iter": 4,
        }),
        post(client, npy(MEL.T.copy()), seed=3),
        post(client, npy(MEL.astype(">f8")), seed=3),
        post(client, config=HIFIGAN.model_dump_json(), seed=3),
    ]  # fmt: skip # a row a way in
    assert len(read(answers[0])) == SAMPLES
    assert {answer.content for answer in answers} == {answers[0].content}


def test_the_audio_is_the_engines_own(client: TestClient) -> None:
    item = Item(np.ascontiguousarray(MEL.T), HIFIGAN, resolve(1, n_iter=4), SAMPLES, 5)
    [result] = Engine().run([item])
    np.testing.assert_array_equal(read(post(client, seed=5, format="wav_f32")), result.values)


# --- options and headers ----------------------------------------------------------------------


def test_the_answer_says_what_it_is(client: TestClient) -> None:
    answer = client.post(
        "/reconstruct",
        params={"config": "hifigan-22k", "n_iter": 4},
        content=npy(MEL),
        headers={**NPY, "X-Request-ID": "abc-123"},
    )
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["x-request-id"] == "abc-123"
    assert float(answer.headers["x-audio-seconds"]) == pytest.approx(SAMPLES / 22050, abs=1e-6)
    assert answer.headers["x-pack-items"] == "1"
    timing = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert list(timing) == ["decode", "queue", "compute", "encode"]
    assert all(float(value) >= 0 for value in timing.values())


@pytest.mark.parametrize("bad", ["a b", "x" * 200, "ü"])
def test_a_request_id_that_is_not_plain_is_replaced(client: TestClient, bad: str) -> None:
    answer = client.get("/livez", headers={"X-Request-ID": bad.encode()})
    assert answer.headers["x-request-id"] != bad
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("name", "media", "read_as"),
    [
        ("wav", "audio/wav", "PCM_16"),
        ("wav_f32", "audio/wav", "FLOAT"),
        ("flac", "audio/flac", "PCM_16"),
    ],
)
def test_formats(client: TestClient, name: str, media: str, read_as: str) -> None:
    answer = post(client, format=name)
    assert answer.headers["content-type"] == media
    with soundfile.SoundFile(io.BytesIO(answer.content)) as file:
        assert (file.subtype, file.frames, file.samplerate) == (read_as, SAMPLES, 22050)


def test_raw_pcm_and_accept(client: TestClient) -> None:
    answer = post(client, format="pcm")
    assert answer.headers["content-type"] == "audio/pcm; rate=22050; channels=1; encoding=s16le"
    assert len(answer.content) == 2 * SAMPLES
    accepted = client.post(
        "/reconstruct",
        params={"config": "hifigan-22k", "n_iter": 4},
        content=npy(MEL),
        headers={**NPY, "Accept": "audio/flac"},
    )
    assert accepted.headers["content-type"] == "audio/flac"


@pytest.mark.parametrize("options", [{}, {"inversion": "pinv"}, {"inversion": "transpose"}])
def test_magnitude_and_stft_come_as_npy(client: TestClient, options: dict[str, str]) -> None:
    magnitude = post(client, output="magnitude", **options)
    assert magnitude.headers["content-type"] == "application/x-npy"
    values = np.load(io.BytesIO(magnitude.content))
    assert (values.dtype, values.shape) == (np.float32, (513, MEL.shape[1]))
    assert (values >= 0).all()
    stft = np.load(io.BytesIO(post(client, output="stft", **options).content))
    assert (stft.dtype, stft.shape) == (np.complex64, (513, MEL.shape[1]))


def test_length_chooses_among_the_lengths_that_fit(client: TestClient) -> None:
    assert len(read(post(client, length=SAMPLES + 100))) == SAMPLES + 100
    problem(post(client, length=SAMPLES + 300), 422, "length")


def test_normalize_and_an_overflow_say_the_gain(client: TestClient) -> None:
    answer = post(client, normalize="peak")
    assert np.abs(read(answer)).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)
    assert float(answer.headers["x-gain"]) > 0
    loud = post(client, npy(MEL + np.log(20.0)))
    assert np.abs(read(loud)).max() == pytest.approx(1.0, abs=1e-4)
    assert float(loud.headers["x-gain"]) < 1
    assert "x-gain" not in post(client, npy(MEL + np.log(20.0)), format="wav_f32").headers


def test_quality_method_seed_and_momentum_change_the_audio(client: TestClient) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"n_iter": 5},
        {"seed": 1},
        {"momentum": 0.5},
        {"method": "consistent", "n_iter": 6},
        {"inversion": "pinv"},
        {"inversion": "transpose", "phase": "griffin_lim"},
        {"phase": "griffin_lim", "momentum": 0.0},
    ]
    assert len({post(client, **one).content for one in options}) == len(options)
    assert post(client, method="consistent").content == post(client).content


def test_warnings_reach_the_client(client: TestClient) -> None:
    wave = voice(0.4, 16000)
    config = PRESETS["torchaudio"].config
    mel = analyze(Engine().plans.get(config), wave)
    answer = post(client, npy(mel), config="torchaudio")
    assert "hold no bin" in answer.headers["x-warning"]
    positive = post(client, npy(np.abs(MEL) / 12))
    assert "none is negative" in positive.headers["x-warning"]


@pytest.mark.parametrize(
    "options",
    [
        *({"phase": name} for name in PHASES),
        *({"phase": "griffin_lim", "start": name} for name in STARTS),
        *({"method": name, "start": "spsi"} for name in JOINT),
    ],
)
def test_every_named_phase_start_and_joint_method_answers_with_audio(
    client: TestClient, options: dict[str, str]
) -> None:
    wave = read(post(client, **options))
    assert wave.shape == (SAMPLES,)
    assert wave.any()


def test_what_a_config_or_a_method_does_not_allow_is_refused_at_the_door(
    client: TestClient,
) -> None:
    body = problem(
        post(client, npy(np.zeros((80, 9))), config="whisper-80", start="pghi"), 422, "start"
    )
    assert "four hops" in body["detail"]
    unstable = {"phase": "accelerated", "params": '{"beta": 1.5, "gamma": 1.5}'}
    problem(post(client, **unstable), 422, "params.gamma")
    problem(post(client, method="admm_mel", momentum=0.5), 422, "params.momentum")


def test_first_phases_can_be_given_and_the_right_ones_give_the_signal_back(
    client: TestClient,
) -> None:
    spectrum = librosa.stft(
        np.pad(voice(0.5), 384, mode="reflect"), n_fft=1024, hop_length=256, center=False
    )
    phases = np.angle(spectrum).astype(np.float32)
    form = {"mel": npy(MEL), "phases": npy(phases)}
    options = {"config": "hifigan-22k", "n_iter": 2, "inversion": "pinv"}
    given = read(client.post("/reconstruct", files=form, data=options))
    both = {"mel": MEL.tolist(), "phases": phases.tolist(), "start": "given", **options}
    np.testing.assert_array_equal(read(client.post("/reconstruct", json=both)), given)
    wave = voice(0.5)[:SAMPLES]
    random = read(post(client, n_iter=2, inversion="pinv"))
    error, blind = (np.linalg.norm(x - wave) / np.linalg.norm(wave) for x in (given, random))
    assert error < 0.5
    assert blind > 0.9
    problem(client.post("/reconstruct", json={**both, "start": "zero"}), 422, "phases")
    problem(post(client, start="given"), 422, "phases")
    short = {"mel": npy(MEL), "phases": npy(phases[:-1])}
    problem(client.post("/reconstruct", files=short, data=options), 422, "phases")


def ends() -> list[tuple[str, dict[str, str], str, float]]:
    """Every parameter of every method at its lowest and highest; long work is cut short."""
    rows = []
    for kind, table in (("method", JOINT), ("phase", PHASES), ("inversion", INVERSIONS)):
        for name, method in table.items():
            for parameter in method.parameters:
                for value in (parameter.lowest, min(parameter.highest, 60)):
                    option = "inversion_params" if kind == "inversion" else "params"
                    rows.append((option, {kind: name}, parameter.name, value))
    return rows


@pytest.mark.parametrize(("option", "method", "name", "value"), ends())
def test_every_parameter_works_at_both_ends_of_its_bounds(
    client: TestClient, option: str, method: dict[str, str], name: str, value: float
) -> None:
    answer = post(client, npy(MEL[:, :12]), **method, **{option: json.dumps({name: value})})
    if answer.status_code != 200:  # values that do not go together are said to be so
        assert problem(answer, 422, None)["field"].startswith("params.")
        assert option == "params"


def test_an_inversions_steps_are_bounded_by_the_settings_too(client: TestClient) -> None:
    long = post(client, inversion="nnls", inversion_params='{"n_iter": 65}')
    problem(long, 422, "inversion_params.n_iter")


def test_parameters_reach_the_method_and_wrong_ones_are_refused(client: TestClient) -> None:
    base = post(client, phase="griffin_lim").content
    assert post(client, phase="griffin_lim", params='{"momentum": 0.3}').content != base
    assert post(client, phase="griffin_lim", params='{"momentum": 0.99}').content == base
    wrong = {"phase": "griffin_lim"}
    problem(post(client, params='{"momentum": 9}', **wrong), 422, "params.momentum")
    problem(post(client, params='{"colour": 9}', **wrong), 422, "params.colour")
    problem(post(client, params="{", **wrong), 422, "params")
    problem(post(client, inversion_params='{"x": 1}'), 422, "inversion_params")
    problem(post(client, params='{"momentum": 0.5}', momentum=0.5, **wrong), 422, "momentum")
    problem(post(client, start="sideways"), 422, "start")


@pytest.mark.parametrize("frames", [1, 2])
def test_one_and_two_frames_answer(client: TestClient, frames: int) -> None:
    assert len(read(post(client, npy(MEL[:, 10 : 10 + frames])))) == 256 * frames


def test_silence_in_gives_silence_out(client: TestClient) -> None:
    assert not read(post(client, npy(np.full((80, 30), np.log(1e-5), np.float32)))).any()


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, "mel"),
        (b"no npy", 400, "mel"),
        (npy(MEL)[:-4], 400, "mel"),
        (npy(np.zeros((79, 9), np.float32)), 422, "mel"),
        (npy(np.zeros((80, 0), np.float32)), 422, "mel"),
        (npy(np.zeros(80, np.float32)), 422, "mel"),
        (npy(np.full((80, 9), np.nan, np.float32)), 422, "mel"),
        (npy(np.full((80, 9), -np.inf, np.float32)), 422, "mel"),
        (npy(np.full((80, 9), 40.0, np.float32)), 422, "mel"),
        (npy(np.zeros((80, 2001), np.float32)), 413, "mel"),
        (npy(np.zeros((80, 9), complex)), 422, "mel"),
        (b"x" * (2 * 2**20 + 1), 413, "body"),
    ],
)
def test_wrong_mels_are_refused(client: TestClient, body: bytes, status: int, field: str) -> None:
    problem(post(client, body), status, field)


def test_an_object_array_is_refused_and_not_unpickled(client: TestClient) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    body = problem(post(client, stream.getvalue()), 422, "mel")
    assert "object" in body["got"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"config": "nope"}, "config"),
        ({"config": "{"}, "config"),
        ({"config": '{"n_fft": 512}'}, "config.sample_rate"),
        ({"config": "librosa"}, "mel"),
        ({"quality": "best"}, "quality"),
        ({"method": "magic"}, "method"),
        ({"inversion": "magic"}, "inversion"),
        ({"phase": "magic"}, "phase"),
        ({"method": "consistent", "phase": "griffin_lim"}, "method"),
        ({"n_iter": -1}, "n_iter"),
        ({"n_iter": 65}, "n_iter"),
        ({"n_iter": "many"}, "n_iter"),
        ({"momentum": 3}, "momentum"),
        ({"momentum": "nan"}, "momentum"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"length": 0}, "length"),
        ({"format": "mp5"}, "format"),
        ({"format": "npy"}, "format"),
        ({"format": "wav", "output": "stft"}, "format"),
        ({"output": "mel"}, "output"),
        ({"layout": "sideways"}, "layout"),
        ({"normalize": "loud"}, "normalize"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_wrong_options_are_refused_by_name(
    client: TestClient, options: dict[str, Any], field: str
) -> None:
    problem(post(client, **options), 422, field)


def test_every_wrong_field_is_named_at_once(client: TestClient) -> None:
    body = problem(post(client, seed=-1, quality="best"), 422, None)
    assert {fault["field"] for fault in body["errors"]} == {"seed", "quality"}


def test_a_missing_config_is_asked_for(client: TestClient) -> None:
    answer = client.post("/reconstruct", content=npy(MEL), headers=NPY)
    assert problem(answer, 422, "config")["got"] == "nothing"


def test_an_option_given_twice_is_refused(client: TestClient) -> None:
    twice = client.post("/reconstruct?seed=1&seed=2", content=npy(MEL), headers=NPY)
    problem(twice, 422, "seed")
    both = client.post("/reconstruct?seed=1", json={"mel": [[0]], "config": "librosa", "seed": 1})
    problem(both, 422, "seed")


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_an_unread_media_type_is_refused_with_those_that_are(
    client: TestClient, media: str
) -> None:
    headers = {"Content-Type": media}
    answer = client.post("/reconstruct?config=librosa", content=b"x", headers=headers)
    assert "application/x-npy" in problem(answer, 415, "Content-Type")["expected"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, "body"),
        (b"[]", 422, "body"),
        (b'{"config": "librosa"}', 422, "mel"),
        (b'{"mel": [[1, 2], [3]], "config": "librosa"}', 422, "mel"),
        (b'{"mel": [[NaN]], "config": "librosa"}', 422, "mel"),
        (b"[" * 5000, 400, "body"),
    ],
)
def test_wrong_json_is_refused(client: TestClient, body: bytes, status: int, field: str) -> None:
    headers = {"Content-Type": "application/json"}
    problem(client.post("/reconstruct", content=body, headers=headers), status, field)


def test_wrong_forms_are_refused(client: TestClient) -> None:
    broken = {"Content-Type": "multipart/form-data"}
    problem(client.post("/reconstruct", content=b"x", headers=broken), 400, "body")
    problem(client.post("/reconstruct", files={"file": npy(MEL)}), 422, "mel")
    problem(client.post("/reconstruct", files={"mel": b""}), 400, "mel")


def test_a_chunked_body_is_counted_while_it_is_read(client: TestClient) -> None:
    def chunks() -> Any:
        for _ in range(40):
            yield b"x" * 2**16

    answer = client.post(
        "/reconstruct", params={"config": "librosa"}, content=chunks(), headers=NPY
    )
    problem(answer, 413, "body")


def test_thousands_of_unknown_fields_get_a_short_answer(client: TestClient) -> None:
    body = {"mel": [[0]], "config": "librosa", **{f"x{n}": n for n in range(20_000)}}
    assert len(client.post("/reconstruct", json=body).content) < 2000
    body = {"mel": [[0]], "config": {f"x{n}": n for n in range(20_000)}}
    assert len(problem(client.post("/reconstruct", json=body), 422, "config")["detail"]) < 2000


def test_a_request_of_too_many_points_is_refused(client: TestClient) -> None:
    config = HIFIGAN.model_copy(update={"n_fft": 16384, "win_length": 1024, "n_mels": 2})
    wide = config.model_copy(update={"padding": "center_reflect"}).model_dump_json()
    settings_points = 2**26 // 16384
    mel = np.full((2, min(settings_points + 1, 2000)), -5.0, np.float32)
    problem(post(client, npy(np.tile(mel, (1, 3))), config=wide), 413, "mel")


def test_an_unforeseen_fault_is_a_500_problem_with_its_request_id(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.intake.check_mel", lambda *_: 1 / 0)
    body = problem(post(client), 500, None)
    assert "division" not in json.dumps(body)
    monkeypatch.undo()
    read(post(client))


def test_a_fault_of_the_service_says_nothing_of_the_inside() -> None:
    body = problems.problem_body(RuntimeError("secret path /srv/x"), 500)
    assert "secret" not in json.dumps(body)
    assert body["detail"] == "The service failed; the request was not at fault."


def test_ready_only_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, gate = Engine(), threading.Event()
    warm = engine.plans.warm
    monkeypatch.setattr(engine.plans, "warm", lambda configs: gate.wait(30) and warm(configs))
    with TestClient(create_app(Settings(lanes=1, warm_presets=("librosa",)), engine)) as client:
        assert client.get("/readyz").status_code == 503
        assert client.get("/livez").status_code == 200
        gate.set()
        wait_until_ready(client)
        assert engine.plans.stats.plans == 1


# --- analyze, and what the service says of itself -----------------------------------------------


def wav(wave: np.ndarray, rate: int = 22050) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def test_analyze_gives_the_mel_that_reconstruct_takes(client: TestClient) -> None:
    form = {"audio": ("a.wav", wav(voice(0.5)))}
    answer = client.post("/analyze", files=form, data={"config": "hifigan-22k"})
    assert answer.headers["content-type"] == "application/x-npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), MEL)
    raw = client.post(
        "/analyze?config=hifigan-22k",
        content=wav(voice(0.5)),
        headers={"Content-Type": "audio/wav"},
    )
    assert raw.content == answer.content
    assert len(read(post(client, answer.content))) == SAMPLES


def test_analyze_resamples_and_says_so(client: TestClient) -> None:
    form = {"audio": ("a.wav", wav(voice(0.5, 44100), 44100))}
    answer = client.post("/analyze", files=form, data={"config": "whisper-80"})
    assert np.load(io.BytesIO(answer.content)).shape == (80, 50)
    assert answer.headers["x-warning"] == "resampled from 44100 to 16000 Hz"
    empty = client.post("/analyze", files=form, data={"config": "torchaudio"})
    assert "hold no bin" in empty.headers.get_list("x-warning")[1]


def test_analyze_refuses_what_it_cannot_use(client: TestClient) -> None:
    config = {"config": "hifigan-22k"}
    problem(client.post("/analyze", files={"audio": b"junk"}, data=config), 400, "audio")
    problem(client.post("/analyze", files={"mel": b"junk"}, data=config), 422, "audio")
    problem(client.post("/analyze", files={"audio": wav(voice(0.5))}), 422, "config")
    problem(client.post("/analyze", content=b"x", headers=NPY), 415, "Content-Type")
    short = wav(np.zeros(100, np.float32))
    problem(client.post("/analyze", files={"audio": short}, data=config), 422, "audio")
    long = wav(np.zeros(2001 * 256, np.float32))[: 2 * 2**20 - 2000]
    problem(client.post("/analyze", files={"audio": long}, data=config), 413, "audio")


def test_presets_carry_their_sources(client: TestClient) -> None:
    rows = client.get("/presets").json()
    assert {row["name"] for row in rows} == set(PRESETS)
    assert all(row["source"] for row in rows)
    one = client.get("/presets/whisper-80").json()
    assert one["config"] == PRESETS["whisper-80"].config.model_dump(mode="json")
    assert "hifigan-22k" in problem(client.get("/presets/nope"), 404, "name")["expected"]


def test_methods_describes_each_with_its_default_and_every_name_works(client: TestClient) -> None:
    about = client.get("/methods").json()
    for method in about["methods"]:
        assert len(method["summary"]) > 20
        assert method["source"]
        assert method["cost"]
        for parameter in method["parameters"]:
            assert parameter["lowest"] <= parameter["default"] <= parameter["highest"]
    for kind in ("joint", "inversion", "phase", "start"):
        rows = [method for method in about["methods"] if method["kind"] == kind]
        assert sum(row["default"] for row in rows) == 1
        for row in rows:
            option = "method" if kind == "joint" else kind
            read(post(client, **{option: row["name"]}))
    assert {(q["name"], q["power"]) for q in about["qualities"]} == {
        (name, power) for name in ("draft", "standard", "high") for power in (1, 2)
    }


def test_unknown_paths_and_verbs_are_problems_too(client: TestClient) -> None:
    problem(client.get("/nope"), 404, None)
    problem(client.get("/reconstruct"), 405, None)


def test_the_openapi_document_names_every_option(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/reconstruct"]["post"]
    options = set(ReconstructOptions.model_fields)
    parameters = {(parameter["in"], parameter["name"]) for parameter in operation["parameters"]}
    assert parameters == {*(("query", name) for name in options), ("header", "X-Deadline-Ms")}
    bodies = operation["requestBody"]["content"]
    assert set(bodies) == {"application/x-npy", "application/json", "multipart/form-data"}
    for media in ("application/json", "multipart/form-data"):
        assert set(bodies[media]["schema"]["properties"]) == options | {"mel", "phases"}
    assert client.get("/docs").status_code == 200
