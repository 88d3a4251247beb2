"""`unmel invert` and `unmel analyze`: what goes in, where it goes, and what a bad file does."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file

from tests.root import ROOT
from tests.service.asking import MEL, npy
from tests.service.cli.conftest import Run
from tests.signals import speech
from unmel.models.engine import Engine
from unmel.models.engine.analysis import analyze
from unmel.models.mel import PRESETS
from unmel.service.cli.paths import SUFFIXES
from unmel.service.ops.settings import Settings
from unmel.service.web.responses import encode_result
from unmel.service.wire.formats import FORMATS
from unmel.service.wire.requests import make_reconstruct_request, read_options

CLIP = str(ROOT / "examples" / "clip.wav")
QUICK = ("-c", "hifigan-22k", "-O", "n_iter=1")


def the_services(mel: np.ndarray, form: str = "wav", **fields: object) -> bytes:
    """The file that the service answers with."""
    options = read_options({"config": "hifigan-22k", "n_iter": 1, **fields})
    wanted = make_reconstruct_request(mel, None, options, form, Settings())
    (result,) = Engine().run([wanted.item])
    return encode_result(wanted, result).data


@pytest.mark.loops
def test_a_file_becomes_the_file_that_the_service_answers_with(run: Run, tmp_path: Path) -> None:
    Path("mel.npy").write_bytes(npy(MEL))
    done = run("invert", "mel.npy", *QUICK, "-o", "out.flac", "--seed", "3", "--gain=-6")
    assert (done.exit_code, done.stderr) == (0, "unmel: mel.npy -> out.flac\n")
    assert Path("out.flac").read_bytes() == the_services(MEL, "flac", seed=3, gain=-6)
    assert {one.name for one in tmp_path.iterdir()} == {"mel.npy", "out.flac"}


@pytest.mark.loops
def test_folders_patterns_and_formats_go_together_and_keep_their_names(run: Run) -> None:
    Path("in/deep").mkdir(parents=True)
    Path("in/a.npy").write_bytes(npy(MEL))
    np.savez("in/deep/b.npz", mel=MEL[:, :20], other=np.zeros(3))
    save_file({"mel": MEL[:, :9].copy()}, "in/c.safetensors")
    Path("in/note.txt").write_text("no mel")
    done = run("invert", "in", "in/a.npy", *QUICK, "-o", "out", "--format", "flac")
    assert done.exit_code == 0
    written = {str(one.relative_to("out")) for one in Path("out").rglob("*.*")}
    assert written == {"a.flac", "deep/b.flac", "c.flac"}
    assert Path("out/deep/b.flac").read_bytes() == the_services(MEL[:, :20], "flac")
    done = run("invert", "in/**/[ab].*", *QUICK, "-o", "some")
    assert {str(one.relative_to("some")) for one in Path("some").rglob("*.*")} == {
        "a.wav",
        "deep/b.wav",
    }
    run("invert", "in/c.safetensors", *QUICK)
    assert Path("in/c.wav").read_bytes() == the_services(MEL[:, :9])


@pytest.mark.loops
def test_standard_input_goes_to_standard_output_and_nothing_else_does(run: Run) -> None:
    done = run("invert", "-", *QUICK, "--format", "pcm", stdin=npy(MEL))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout_bytes == the_services(MEL, "pcm")
    run("invert", "-", *QUICK, "-o", "out.mp3", stdin=npy(MEL))
    assert soundfile.info("out.mp3").format == "MP3"
    Path("v1.2").mkdir()
    assert run("invert", "-", *QUICK, "-o", "v1.2", stdin=npy(MEL)).exit_code == 0
    assert Path("v1.2/stdin.wav").exists()
    done = run("invert", "-", *QUICK, "-O", "output=magnitude", stdin=npy(MEL))
    assert np.load(io.BytesIO(done.stdout_bytes)).shape == (513, MEL.shape[1])


@pytest.mark.loops
def test_one_bad_file_does_not_stop_the_others_and_the_status_says_so(run: Run) -> None:
    Path("in").mkdir()
    for name in "abc":
        Path(f"in/{name}.npy").write_bytes(npy(MEL))
    Path("in/b1.npy").write_bytes(b"junk")
    np.save("in/b2.npy", np.full((80, 9), np.nan))
    np.save("in/b3.npy", np.zeros((79, 9)))
    Path("out/c.wav").mkdir(parents=True)  # cannot be written
    done = run("invert", "in", "gone.npy", *QUICK, "-o", "out")
    assert done.exit_code == 1
    assert Path("out/a.wav").read_bytes() == Path("out/b.wav").read_bytes() == the_services(MEL)
    lines = done.stderr.splitlines()
    assert sum("->" in line for line in lines) == 2
    for start in (
        "unmel: in/b1.npy: mel: got text; expected the output of np.save",
        "unmel: in/b2.npy: mel: got nan in band 0, frame 0; expected finite numbers",
        "unmel: in/b3.npy: mel: got shape 79x9; expected [80, frames]",
        "unmel: in/c.npy: ",
        "unmel: gone.npy: No such file or directory",
    ):
        assert any(line.startswith(start) for line in lines), (start, lines)
    assert not list(Path("out").glob(".*"))


@pytest.mark.loops
def test_an_item_that_fails_in_a_pack_fails_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Engine.run

    def failing(engine: Engine, items: list) -> list:  # type: ignore[type-arg]
        if any(item.frames == 7 for item in items):
            raise RuntimeError("the seventh")
        return real(engine, items)

    monkeypatch.setattr(Engine, "run", failing)
    for name, frames in (("a", 20), ("b", 7), ("c", 9)):
        Path(f"{name}.npy").write_bytes(npy(MEL[:, :frames]))
    done = run("invert", "a.npy", "b.npy", "c.npy", *QUICK, "--lanes", "1")
    assert done.exit_code == 1
    assert "unmel: b.npy: RuntimeError: the seventh" in done.stderr
    assert Path("a.wav").exists()
    assert Path("c.wav").exists()


@pytest.mark.loops
def test_a_config_may_be_a_file_and_a_filterbank_may_lie_beside_the_mel(run: Run) -> None:
    members = {"sample_rate": 22050, "n_fft": 1024, "hop_length": 256, "n_mels": 2, "scale": "ln"}
    Path("config.json").write_text(json.dumps(members), encoding="utf-8-sig")
    bank = np.ones((2, 513), np.float32)
    np.savez("mel.npz", mel=np.full((2, 30), -5.0), filterbank=bank)
    done = run("invert", "mel.npz", "-c", "@config.json", "-O", "n_iter=1", "-O", "normalize=peak")
    assert done.exit_code == 0, done.stderr
    assert soundfile.info("mel.wav").frames == 29 * 256


@pytest.mark.loops
def test_warnings_are_told_and_strict_refuses(run: Run) -> None:
    other = Engine().plans.get(PRESETS["pwg-22k"].config)
    Path("mel.npy").write_bytes(npy(analyze(other, speech(1.0))))
    done = run("invert", "mel.npy", *QUICK)
    assert done.exit_code == 0
    assert "unmel: mel.npy: warning: values from" in done.stderr
    done = run("invert", "mel.npy", *QUICK, "--strict")
    assert done.exit_code == 1
    assert "because of strict" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mel.npy",), "Missing option '-c' / '--config'"),
        (("mel.npy", "-c", "hifigan"), "config: got 'hifigan'; expected"),
        (("mel.npy", "-c", '{"sample_rate": 1}'), "config.sample_rate: got 1; expected"),
        (("mel.npy", "-c", "@gone.json"), "config: gone.json"),
        (("mel.npy", *QUICK, "-q", "best"), "quality: got 'best'; expected 'draft'"),
        (("mel.npy", *QUICK, "-f", "aac"), "format: got 'aac'; expected"),
        (("mel.npy", *QUICK, "-o", "out.aac"), "format: got 'aac'; expected"),
        (("mel.npy", *QUICK, "-o", "out.npy"), "format: got 'npy'; expected an audio format"),
        (("mel.npy", *QUICK, "-O", "colour=3"), "colour: got a value; expected one of"),
        (("mel.npy", *QUICK, "-O", "colour"), "'colour' is not NAME=VALUE"),
        (("mel.npy", *QUICK, "--lanes", "many"), "--lanes: got 'many'; expected a whole number"),
        (("mel.npy", *QUICK, "--device", "tpu"), "--device: got 'tpu'; expected"),
        (("mel.npy", "-", *QUICK), "2 inputs"),
        (("empty", *QUICK), "empty: no file in it ends in one of .npy"),
        (("x*.npy", *QUICK), "x*.npy: no file matches"),
        (("mel.npy", *QUICK, "-O", "output=stft"), "mel.npy is an input itself"),
        (("mel.npy", "b/mel.npy", *QUICK, "-o", "out"), "of mel.npy and of b/mel.npy"),
    ],
)
def test_what_cannot_be_asked_for_is_said_before_anything_runs(
    run: Run, arguments: tuple[str, ...], said: str
) -> None:
    Path("empty").mkdir()
    Path("b").mkdir()
    for name in ("mel.npy", "b/mel.npy"):
        Path(name).write_bytes(npy(MEL))
    done = run("invert", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not list(Path().glob("*.wav"))


def test_a_wrong_setting_of_the_environment_is_named_as_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNMEL_LANES", "many")
    Path("mel.npy").write_bytes(npy(MEL))
    done = run("invert", "mel.npy", *QUICK)
    assert done.exit_code == 2
    assert "UNMEL_LANES: got 'many'; expected a whole number" in done.stderr


def test_every_format_has_an_end_for_its_names() -> None:
    assert set(SUFFIXES) == {*FORMATS, "npy"}


@pytest.mark.loops
def test_audio_files_become_mels_and_a_bad_one_does_not_stop_them(run: Run) -> None:
    Path("in").mkdir()
    Path("in/clip.wav").write_bytes(Path(CLIP).read_bytes())
    Path("in/bad.mp3").write_bytes(b"junk" * 99)
    done = run("analyze", "in", "-c", "hifigan-22k", "-o", "mels")
    assert done.exit_code == 1
    assert "unmel: in/bad.mp3: audio: got" in done.stderr
    mel = np.load("mels/clip.npy")
    assert mel.shape[0] == 80
    piped = run("analyze", "-", "-c", "hifigan-22k", stdin=Path(CLIP).read_bytes())
    assert np.array_equal(np.load(io.BytesIO(piped.stdout_bytes)), mel)
    resampled = run("analyze", CLIP, "-c", "whisper-80", "-o", "w.npy")
    assert "warning: resampled from" in resampled.stderr
    assert run("analyze", CLIP, "-c", "nope").exit_code == 2
