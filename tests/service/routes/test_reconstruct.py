"""POST /reconstruct: every way in, every option, every header."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from tests.service.asking import HIFIGAN, MEL, NPY, SAMPLES, npy, post, problem, read
from tests.signals import speech, voice
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.recipe import resolve
from unmel.models.methods.start.starts import STARTS

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


def test_a_peak_above_full_scale_is_limited_and_its_height_said(client: TestClient) -> None:
    mel = npy(MEL + np.log(4.0))
    limited, kept = post(client, mel), read(post(client, mel, format="wav_f32"))
    assert "x-gain" not in limited.headers
    peak = np.abs(kept).max()
    assert limited.headers["x-warning"].startswith(f"peak {peak:.4g} (+")
    assert limited.headers["x-warning"].endswith("above full scale: limited")
    quiet = np.abs(kept) < 0.01
    assert np.median(read(limited)[quiet] / kept[quiet]) == pytest.approx(1.0, abs=0.05)
    scaled = post(client, mel, peak="scale")
    assert float(scaled.headers["x-gain"]) == pytest.approx(1 / peak, rel=1e-4)
    assert np.abs(read(post(client, mel, peak="clip")) - np.clip(kept, -1, 1)).max() < 1e-4
    problem(post(client, mel, peak="squash"), 422, "peak")


def test_quality_method_seed_and_momentum_change_the_audio(client: TestClient) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"n_iter": 5},
        {"seed": 1},
        {"momentum": 0.5},
        {"fit": "relaxed"},
        {"method": "consistent", "n_iter": 6},
        {"inversion": "pinv"},
        {"inversion": "transpose", "phase": "griffin_lim"},
        {"phase": "griffin_lim", "momentum": 0.0},
    ]
    assert len({post(client, **one).content for one in options}) == len(options)
    assert post(client, method="consistent").content == post(client).content


def test_a_voice_sounds_otherwise_without_its_comb(client: TestClient) -> None:
    with_comb, without = (post(client, n_iter=40, harmonics=name) for name in ("auto", "off"))
    assert with_comb.content == post(client, n_iter=40).content
    assert with_comb.content != without.content
    problem(post(client, harmonics="on"), 422, "harmonics")


def test_warnings_reach_the_client(client: TestClient) -> None:
    wave = voice(0.4, 16000)
    config = PRESETS["torchaudio"].config
    mel = analyze(Engine().plans.get(config), wave)
    answer = post(client, npy(mel), config="torchaudio")
    assert "hold no bin" in answer.headers["x-warning"]
    linear = post(client, npy(np.exp(MEL) - np.exp(MEL).min()))
    assert "none is negative" in linear.headers["x-warning"]


def test_a_mel_of_another_scale_is_warned_about_and_refused_where_it_asks_for_that(
    client: TestClient,
) -> None:
    config = PRESETS["matcha-22k"].config
    mel = npy(analyze(Engine().plans.get(config), speech(1.0)))
    answer = post(client, mel, quality="draft")
    assert answer.status_code == 200
    assert "they look like config=matcha-22k" in answer.headers["x-warning"]
    refused = post(client, mel, strict="true")
    assert "config=matcha-22k" in problem(refused, 422, "mel")["got"]
    right = post(client, mel, config="matcha-22k", strict="true", gain=-9)
    assert "x-warning" not in right.headers


def test_a_mel_that_is_blurred_over_time_is_told_so_and_never_refused(client: TestClient) -> None:
    mel = analyze(Engine().plans.get(HIFIGAN), speech(1.0))
    blurred = npy((mel[:, :-2] + 2.0 * mel[:, 1:-1] + mel[:, 2:]) / 4.0)
    answer = post(client, blurred, quality="draft", strict="true")
    assert answer.status_code == 200
    assert answer.headers["x-warning"].startswith("blurred over time")


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
