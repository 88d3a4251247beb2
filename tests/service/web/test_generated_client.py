"""A client that openapi-python-client generates from the document, as the API's page has it."""

from __future__ import annotations

import importlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.root import ROOT
from tests.service.engines import CONFIG, TestEngine
from tests.service.live import Live, live, npy
from tests.signals import voice
from unmel.models.mel.presets import PRESETS

pytest.importorskip("openapi_python_client", reason="it is in the extra `test`")

pytestmark = [pytest.mark.loops, pytest.mark.process]

KEY, FRAMES = "0123456789abcdef", 10
MEL = [[-5.0] * FRAMES] * CONFIG.n_mels


@pytest.fixture(scope="module")
def service() -> Iterator[Live]:
    with live(TestEngine(), api_keys=f"team-a:{KEY}") as service:
        service.client.headers["Authorization"] = f"Bearer {KEY}"
        yield service


@pytest.fixture(scope="module")
def made(service: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The generated package: its client with the key, its models and its operations by id."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_bytes(service.client.get("/openapi.json").content)
    page = (ROOT / "docs" / "api.md").read_text().split("## A generated client")[1]
    [settings] = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (folder / "generator.yaml").write_text(settings)
    generate(folder)
    sys.path.insert(0, str(folder))
    try:
        operations = {}
        for file in (folder / "unmel_client" / "api").glob("*/[!_]*.py"):
            module = importlib.import_module(f"unmel_client.api.{file.parent.name}.{file.stem}")
            operations[file.stem] = module
        package = importlib.import_module("unmel_client")
        with package.AuthenticatedClient(service.url, KEY, timeout=60) as client:
            yield SimpleNamespace(
                client=client,
                package=package,
                models=importlib.import_module("unmel_client.models"),
                types=importlib.import_module("unmel_client.types"),
                **operations,
            )
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "unmel_client"]:
            del sys.modules[name]


def generate(folder: Path) -> None:
    """Every part of the document must be one that the generator knows: a warning fails."""
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning"]
    options = ["--path", "openapi.json", "--config", "generator.yaml", "--meta", "none"]
    beside = str(Path(sys.executable).parent)  # ruff, which tidies what it generates
    ran = subprocess.run(
        [*command, *options, "--output-path", "unmel_client"],
        cwd=folder,
        env={**os.environ, "PATH": beside + os.pathsep + os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def heard(answer: Any) -> np.ndarray:
    """The samples of an answer, of which the engine made for tests makes the seed."""
    assert answer.status_code == 200, answer.content
    wave, rate = soundfile.read(answer.parsed.payload, dtype="float32")
    assert rate == CONFIG.sample_rate
    assert len(wave) == CONFIG.samples(FRAMES)
    return np.asarray(wave)


def test_a_mel_in_json_comes_back_as_audio(made: SimpleNamespace) -> None:
    models = made.models
    body = models.ReconstructJson(MEL, config=models.PresetName.HIFIGAN_22K, seed=1)
    body.format_ = models.ReconstructJsonFormatType0.WAV_F32
    answer = made.reconstruct.sync_detailed(client=made.client, body=body, x_deadline_ms=30_000)
    assert set(heard(answer)) == {1}
    assert answer.headers["x-sample-rate"] == "22050"


def test_what_the_client_sends_by_itself_goes_together_with_every_method(
    made: SimpleNamespace,
) -> None:
    """It puts the document's defaults into each body."""
    models = made.models
    for phase in (None, models.ReconstructJsonPhaseType0.GRIFFIN_LIM):
        body = models.ReconstructJson(MEL, config=models.PresetName.HIFIGAN_22K, phase=phase)
        heard(made.reconstruct.sync_detailed(client=made.client, body=body))


def test_a_config_of_ones_own_is_an_object_of_its_model(made: SimpleNamespace) -> None:
    config = made.models.MelConfig.from_dict(CONFIG.model_dump(mode="json", exclude_none=True))
    body = made.models.ReconstructJson(MEL, config=config)
    heard(made.reconstruct.sync_detailed(client=made.client, body=body))


def test_a_file_in_a_form_or_alone_comes_back_as_audio(made: SimpleNamespace) -> None:
    def file() -> Any:
        return made.types.File(io.BytesIO(npy(FRAMES)), "mel.npy", "application/x-npy")

    form = made.models.ReconstructForm(file(), config=made.models.PresetName.HIFIGAN_22K, seed=0)
    assert set(heard(made.reconstruct.sync_detailed(client=made.client, body=form))) == {0}
    alone = made.reconstruct.sync_detailed(
        client=made.client,
        body=file(),
        config=made.models.PresetName.HIFIGAN_22K,
        seed=1,
        format_=made.models.ReconstructFormatType0.WAV_F32,
    )
    assert set(heard(alone)) == {1}


def test_audio_is_analyzed(made: SimpleNamespace) -> None:
    sound = io.BytesIO()
    soundfile.write(sound, voice(0.2), CONFIG.sample_rate, format="WAV")
    sound.seek(0)
    form = made.models.AnalyzeForm(made.types.File(sound, "a.wav", "audio/wav"))
    form.config = "hifigan-22k"
    answer = made.analyze.sync_detailed(client=made.client, body=form)
    mel = np.load(answer.parsed.payload)
    assert mel.shape[0] == CONFIG.n_mels
    sound.seek(0)
    alone = made.analyze.sync_detailed(
        client=made.client,
        body=made.types.File(sound),
        config=made.models.PresetName.HIFIGAN_22K,
    )
    np.testing.assert_array_equal(np.load(alone.parsed.payload), mel)


def test_a_refusal_is_a_problem_with_its_field(made: SimpleNamespace) -> None:
    body = made.models.ReconstructJson(MEL, config=made.models.PresetName.WHISPER_128)
    answer = made.reconstruct.sync_detailed(client=made.client, body=body)
    assert answer.status_code == 422
    assert isinstance(answer.parsed, made.models.Problem)
    assert answer.parsed.field == "mel"
    assert answer.parsed.expected.startswith("[128, frames]")
    assert set(answer.parsed.fits) <= set(PRESETS)
    assert answer.parsed.request_id == answer.headers["x-request-id"]
    missing = made.preset.sync("nope", client=made.client)
    assert (missing.status, missing.field) == (404, "name")


def test_a_client_without_a_key_is_told_so(made: SimpleNamespace, service: Live) -> None:
    with made.package.AuthenticatedClient(service.url, "another-key-altogether") as stranger:
        assert made.presets.sync(client=stranger).status == 401


def test_what_the_service_tells_of_itself_is_of_the_documents_models(
    made: SimpleNamespace, service: Live
) -> None:
    models, client = made.models, made.client
    with made.package.Client(service.url) as anybody:
        assert made.livez.sync(client=anybody).status == "alive"
        assert made.readyz.sync(client=anybody).status == "ready"
    rows = made.presets.sync(client=client)
    assert [row.name for row in rows] == list(PRESETS)
    assert isinstance(rows[0].config, models.MelConfig)
    one = made.preset.sync("hifigan-22k", client=client)
    assert (one.config.n_mels, type(one.config.scale).__name__) == (80, "LogScale")
    assert any(row.default for row in made.methods.sync(client=client).methods)
    assert made.progress.sync("nobody", client=client).stage == "unknown"
    assert "unmel_requests_total" in made.metrics.sync(client=client)


def test_the_inference_protocol_is_spoken_too(made: SimpleNamespace) -> None:
    mel = {"name": "mel", "datatype": "FP32", "shape": [CONFIG.n_mels, FRAMES]}
    body = made.models.InferenceRequest.from_dict(
        {"inputs": [{**mel, "data": [-5.0] * CONFIG.n_mels * FRAMES}]}
    )
    answer = made.v2_infer.sync("hifigan-22k", client=made.client, body=body)
    assert answer.outputs[0].shape == [CONFIG.samples(FRAMES)]
    assert "nope" in made.v2_model.sync("nope", client=made.client).error
