"""Streams: the promises of `Session`, and a step's bits, which depend on its own stream alone."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.banks import OUT_OF_ORDER, config_of
from tests.models.methods.test_pitch_comb import modulation, pulses
from tests.signals import tone, voice
from unmel.models.engine import streams
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.session import Session
from unmel.models.engine.streams import MAX_LOOKAHEAD, Options, Stream
from unmel.models.errors import Invalid, NonFiniteOutput
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.schedule import Quality

pytestmark = pytest.mark.loops

ENGINE, PLAIN = Engine(), Engine(backend="torch")
CONFIG = PRESETS["hifigan-22k"].config
# Every padding, both powers, a window shorter than n_fft, a hop that does not divide it.
KINDS = (
    *("hifigan-22k", "whisper-80", "torchaudio", "nemo-22k", "pwg-24k", "audioldm-16k"),
    "kaldi-80-16k",
)


def mel_of(wave: NDArray[np.float32], config: MelConfig = CONFIG) -> NDArray[np.float32]:
    """Frames first."""
    return np.ascontiguousarray(analyze(ENGINE.plans.get(config), wave).T)


def streamed(
    mel: NDArray[np.float32],
    cuts: Sequence[int] = (),
    config: MelConfig = CONFIG,
    engine: Engine = ENGINE,
    **options: object,
) -> NDArray[np.float32]:
    session = Session(config, Options(**options), engine)  # type: ignore[arg-type] # by name
    parts = [session.push(part) for part in np.split(mel, cuts)]
    return np.concatenate([*parts, session.finish()])


VOICE = mel_of(voice(0.6))


def test_the_presets_of_these_tests_are_of_every_kind() -> None:
    configs = [PRESETS[name].config for name in KINDS]
    assert {c.padding for c in configs} == {p.config.padding for p in PRESETS.values()}
    assert {c.power for c in configs} == {1, 2}
    assert any(c.drop_last for c in configs)
    assert any(c.win_length < c.n_fft for c in configs)


@pytest.mark.parametrize(
    ("quality", "lookahead", "first", "between", "last"),
    [
        ("draft", 8, 36, 4, 36),
        ("standard", 8, 54, 8, 72),
        ("high", 8, 54, 16, 144),
        ("standard", 32, 54, 8, 264),
        ("high", 1, 48, 24, 48),
    ],
)
def test_iterations_of_the_first_a_middle_and_the_last_step(
    quality: Quality, lookahead: int, first: int, between: int, last: int
) -> None:
    stream = ENGINE.stream(CONFIG, Options(quality, lookahead))
    stream.feed(VOICE[: lookahead + 3])
    stream.end()
    counts = []
    while (step := stream.step) is not None:
        counts.append(step.n_iter)
        ENGINE.run([step])
    assert counts == [first, between, last]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("frames", [1, 2, 5, 9, 10, 11, 12, 13, 14, 20])
def test_a_stream_has_as_many_samples_as_offline(name: str, frames: int) -> None:
    config = PRESETS[name].config
    mel = mel_of(voice(0.6, config.sample_rate), config)[:frames]
    wave = streamed(mel, config=config, quality="draft")
    assert wave.shape == (config.samples(frames),)
    assert np.isfinite(wave).all()


@pytest.mark.parametrize("lookahead", [1, 2, 3, 8, MAX_LOOKAHEAD])
def test_every_look_ahead_gives_every_sample(lookahead: int) -> None:
    for frames in (1, lookahead, lookahead + 1, lookahead + 2, lookahead + 7):
        mel = np.resize(VOICE, (frames, CONFIG.n_mels))
        wave = streamed(mel, quality="draft", lookahead=lookahead)
        assert len(wave) == CONFIG.samples(frames)


@pytest.mark.parametrize("cuts", [range(1, 52), (1, 2, 40), (9, 10, 11), (50,), (3, 3, 3)])
def test_the_samples_do_not_depend_on_how_the_frames_were_cut(cuts: Sequence[int]) -> None:
    assert streamed(VOICE, cuts).tobytes() == streamed(VOICE).tobytes()


def test_a_frame_settles_its_samples_as_soon_as_the_look_ahead_allows() -> None:
    session, first = Session(CONFIG, Options("draft", 8), ENGINE), CONFIG.lead // 256
    given = [len(session.push(frame[None])) for frame in VOICE]
    assert given[: first + 8] == [0] * (first + 8)
    assert given[first + 8] == (first + 1) * 256 - CONFIG.lead
    assert set(given[first + 9 :]) == {256}


@pytest.mark.parametrize("name", KINDS)
def test_compiled_loops_and_torchs_give_the_same_but_for_roundings(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a few steps of one iteration: each makes some ten times more of a rounding."""
    monkeypatch.setitem(streams.ITERATIONS, "draft", 1)
    config = PRESETS[name].config
    mel = mel_of(voice(0.3, config.sample_rate), config)[:8]
    compiled, plain = (
        streamed(mel, config=config, engine=engine, quality="draft", lookahead=2)
        for engine in (ENGINE, PLAIN)
    )
    early = slice(0, len(plain) // 2)  # of the later ones' past, which has to be the same too
    assert np.linalg.norm((compiled - plain)[early]) < 2.0**-16 * np.linalg.norm(plain[early])
    assert np.linalg.norm(compiled - plain) < 2.0**-8 * np.linalg.norm(plain)


@pytest.mark.parametrize("name", KINDS)
def test_torch_does_not_depend_on_the_messages_either(name: str) -> None:
    config = PRESETS[name].config
    mel = mel_of(voice(0.3, config.sample_rate), config)
    whole = streamed(mel, config=config, engine=PLAIN)
    assert streamed(mel, [2, 9], config=config, engine=PLAIN).tobytes() == whole.tobytes()


@pytest.mark.parametrize("engine", [ENGINE, PLAIN], ids=["numba", "torch"])
@pytest.mark.parametrize("name", ["gammatone", "sparse", "shuffled"])
def test_nor_do_bands_out_of_order(name: str, engine: Engine) -> None:
    config = config_of(OUT_OF_ORDER[name])
    mel = mel_of(voice(0.3), config)
    whole = streamed(mel, config=config, engine=engine)
    assert streamed(mel, [2, 9], config=config, engine=engine).tobytes() == whole.tobytes()


def drained(streams: Sequence[Stream]) -> list[bytes]:
    """The samples that each stream settles, with all their steps in one call of the engine."""
    out = [b""] * len(streams)
    while any(steps := [stream.step for stream in streams]):
        due = [k for k, step in enumerate(steps) if step]
        results = ENGINE.run([step for step in steps if step])
        for k, result in zip(due, results, strict=True):
            out[k] += result.values.tobytes()
    return out


def test_a_stream_has_the_same_bits_alone_and_among_others() -> None:
    """Some begin while others are in their middle or end, and some are shorter."""
    mels = [mel_of(voice(s, seed=k)) for k, s in enumerate((0.5, 0.2, 0.35, 0.1))]
    streams = [ENGINE.stream(CONFIG, Options("draft", seed=k)) for k in range(4)]
    out = [b""] * 4
    for t in range(0, 60, 3):
        for k, (mel, stream) in enumerate(zip(mels, streams, strict=True)):
            part = mel[max(t - 5 * k, 0) : max(t - 5 * k + 3, 0)]
            stream.feed(part) if not stream.ended else None
            if t - 5 * k + 3 >= len(mel):
                stream.end()
        for k, more in enumerate(drained(streams)):
            out[k] += more
    alone = [streamed(mel, quality="draft", seed=k).tobytes() for k, mel in enumerate(mels)]
    assert out == alone


def test_a_stream_that_rests_keeps_no_memory_of_those_that_it_shared_a_pack_with() -> None:
    streams = [ENGINE.stream(CONFIG, Options("draft", seed=k)) for k in range(3)]
    for stream in streams:
        stream.feed(VOICE[:12])
    ENGINE.run([step for stream in streams if (step := stream.step) is not None])
    for stream in streams:
        assert stream._state is not None
        for kept in (stream._state.samples, stream._state.momentum):
            assert kept.untyped_storage().nbytes() == kept.nbytes


def test_another_seed_gives_other_samples_and_the_same_seed_the_same() -> None:
    assert streamed(VOICE, seed=1).tobytes() == streamed(VOICE, seed=1).tobytes()
    assert streamed(VOICE, seed=1).tobytes() != streamed(VOICE, seed=2).tobytes()


@pytest.mark.parametrize("lookahead", [2, 8])
def test_a_streams_pulses_come_back_where_bands_are_wider_than_harmonics(lookahead: int) -> None:
    wave = pulses(22050)
    mel = mel_of(wave)
    without, with_comb = (
        modulation(streamed(mel, lookahead=lookahead, harmonics=harmonics), 22050)
        for harmonics in ("off", "auto")
    )
    assert with_comb > without + 0.2
    assert with_comb > 0.6 * modulation(wave, 22050)


def test_streams_with_and_without_the_comb_do_not_share_a_pack() -> None:
    one, other = (Stream(ENGINE.plans.get(CONFIG), Options(harmonics=h)) for h in ("auto", "off"))
    for stream in (one, other):
        stream.feed(VOICE[:12])
        ENGINE.run([stream.step])  # the first step has no comb
    assert one.step is not None
    assert other.step is not None
    assert one.step.key != other.step.key


def test_silence_stays_exact_silence() -> None:
    mel = mel_of(np.zeros(8000, np.float32))
    assert not streamed(mel).any()


def test_silence_after_speech_is_silent_and_speech_comes_again() -> None:
    speech = voice(0.3)
    wave = np.concatenate([speech, np.zeros(8000, np.float32), speech])
    out = streamed(mel_of(wave))
    quiet = out[len(speech) + 3000 : len(speech) + 5000]
    assert np.abs(quiet).max() < 1e-4
    assert np.abs(out[-3000:]).max() > 0.1


@pytest.mark.parametrize("c", [2.0**-30, 0.25, 2.0**20])
@pytest.mark.parametrize("power", [1, 2])
def test_a_linear_mel_times_c_gives_audio_times_its_root(c: float, power: int) -> None:
    plain = {"scale": "linear", "power": power, "magnitude_eps": 0.0}
    config = MelConfig.model_validate({**CONFIG.model_dump(), **plain})
    mel = mel_of(voice(0.3), config)
    wave = streamed(mel, config=config) * np.float32(c ** (1 / power))
    scaled = streamed(mel * np.float32(c), config=config)
    assert np.abs(scaled - wave).max() <= 1e-6 * np.abs(wave).max()


def test_a_tone_stays_a_tone() -> None:
    out = streamed(mel_of(tone(440.0)))
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out))))
    assert abs(np.argmax(spectrum) * 22050 / len(out) - 440.0) < 10.0


def test_streamed_audio_has_the_mel_that_was_sent() -> None:
    sent = VOICE[4:-4]
    back = mel_of(streamed(VOICE))[4:-4]
    heard = sent > sent.max() - 6.0
    assert np.abs(back - sent)[heard].mean() < 0.2


def test_chunks_join_without_a_click() -> None:
    """The jumps at the borders of chunks are as large as elsewhere."""
    out = streamed(mel_of(voice(1.5)))
    jumps = np.diff(out)
    border = (np.arange(len(jumps)) + 1 + CONFIG.lead) % CONFIG.hop_length == 0
    at, elsewhere = (float(np.sqrt((jumps[where] ** 2).mean())) for where in (border, ~border))
    assert 0.7 < at / elsewhere < 1.4


def test_a_long_stream_holds_no_more_than_a_short_one() -> None:
    session = Session(CONFIG, Options("draft", 2), ENGINE)
    for _ in range(20):
        session.push(VOICE[:10])
    tracemalloc.start()
    for _ in range(4):
        session.push(VOICE[:10])
    first = tracemalloc.get_traced_memory()[0]
    for _ in range(40):
        session.push(VOICE[:10])
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    assert grown < 100_000  # the frames alone would be 1.8 MB
    assert len(session._stream._frames) < 10


def test_a_refused_push_takes_nothing_and_the_session_goes_on() -> None:
    bad = VOICE[10:20].copy()
    bad[4, 7] = np.nan
    session = Session(CONFIG, Options("draft"), ENGINE)
    parts = [session.push(VOICE[:10])]
    with pytest.raises(Invalid, match="band 7, frame 4"):
        session.push(bad)
    parts += [session.push(VOICE[10:]), session.finish()]
    assert np.concatenate(parts).tobytes() == streamed(VOICE, quality="draft").tobytes()


@pytest.mark.parametrize(
    ("frames", "field"),
    [
        (np.zeros((3, 79), np.float32), "mel"),
        (np.zeros(80, np.float32), "mel"),
        (np.zeros((2, 80), np.complex64), "mel"),
        (np.full((2, 80), 1e9, np.float32), "mel"),
    ],
)
def test_frames_of_another_shape_or_level_are_refused(frames: NDArray, field: str) -> None:  # type: ignore[type-arg] # of several types
    with pytest.raises(Invalid) as refused:
        Session(CONFIG, engine=ENGINE).push(frames)
    assert refused.value.field == field


def test_nothing_comes_after_the_end() -> None:
    session = Session(CONFIG, engine=ENGINE)
    session.push(VOICE)
    session.finish()
    assert len(session.finish()) == 0
    with pytest.raises(Invalid, match="after the end"):
        session.push(VOICE)


def test_a_stream_without_frames_is_no_samples() -> None:
    assert len(Session(CONFIG, engine=ENGINE).finish()) == 0


@pytest.mark.parametrize("lookahead", [0, -1, MAX_LOOKAHEAD + 1])
def test_a_look_ahead_out_of_range_is_refused(lookahead: int) -> None:
    with pytest.raises(Invalid, match="lookahead"):
        Options(lookahead=lookahead)


def test_a_step_that_fails_leaves_every_stream_of_its_pack_as_it_was() -> None:
    """One stream is poisoned; the other's step, run again, gives what it would have given."""
    good, ill = (ENGINE.stream(CONFIG, Options("draft", seed=3)) for _ in range(2))
    for stream in (good, ill):
        stream.feed(VOICE[:30])
        first = stream.step
        assert first is not None
        ENGINE.run([first])
    assert ill._state is not None
    nan = torch.full_like(ill._state.samples, torch.nan)
    ill._state = dataclasses.replace(ill._state, samples=nan)
    steps = [good.step, ill.step]
    assert steps[0] is not None and steps[1] is not None  # noqa: PT018 # for the types
    with pytest.raises(NonFiniteOutput):
        ENGINE.run([steps[0], steps[1]])
    assert good.samples == ill.samples
    again = ENGINE.run([steps[0]])[0].values
    lone = ENGINE.stream(CONFIG, Options("draft", seed=3))
    lone.feed(VOICE[:30])
    for _ in range(2):
        step = lone.step
        assert step is not None
        expected = ENGINE.run([step])[0].values
    assert again.tobytes() == expected.tobytes()
