"""Packed STFT: a consistent spectrum survives, clips never mix, edges are the extractor's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.peers import stft
from tests.signals import voice
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.signal.pack_tables import reflect
from unmel.models.signal.packed_stft import CPU_BLOCK, PackedStft, to_frame_start
from unmel.models.signal.plan import build_plan

CPU = torch.device("cpu")
_NONE: dict[str, Any] = {
    "sample_rate": 16000,
    "n_fft": 512,
    "hop_length": 160,
    "n_mels": 40,
    "scale": "ln",
    "padding": "none",
}
NAMES = ["hifigan-22k", "tacotron2-22k", "whisper-80", "pwg-24k", "nemo-22k", "torchaudio"]
SHAPES = {name: PRESETS[name].config for name in NAMES} | {
    "no padding": MelConfig(**_NONE),
    "a short window": MelConfig(**_NONE, win_length=399, window="hamming"),
    "a window at the start": MelConfig(**_NONE, win_length=400, window_place="start"),
    "no window": MelConfig(**_NONE, win_length=400, window_place="start", window="rectangular"),
}


def packed(name: str, lengths: list[int]) -> tuple[PackedStft, list[torch.Tensor]]:
    config = SHAPES[name]
    plan = build_plan(config, CPU, torch.float64)
    waves = [
        torch.from_numpy(voice(2.0, config.sample_rate, seed)[:n]).double()
        for seed, n in enumerate(lengths)
    ]
    pack = PackedStft(plan, [(config.frames(n), n) for n in lengths])
    pack.load(waves)
    return pack, waves


def round_trip(pack: PackedStft) -> list[torch.Tensor]:
    # As the methods do: the rows between clips carry nothing.
    ones = [torch.ones(frames, 1, dtype=torch.float64) for frames, _ in pack.clips]
    carried = pack.spread_rows(ones)
    pack.begin()
    for block in pack.blocks():
        pack.add(block, pack.spectrum(block) * carried[block])
    pack.finish()
    return pack.audio()


@pytest.mark.parametrize("name", SHAPES)
def test_a_spectrum_of_a_signal_gives_that_signal_back(name: str) -> None:
    config = SHAPES[name]
    hop = config.hop_length
    pack, waves = packed(name, [40 * hop, 300 * 40, 3000, 40 * hop + 17])
    for wave, back in zip(waves, round_trip(pack), strict=True):
        # The tail of a centred clip may lie past its last window's middle, where little of it is
        # left: there the envelope is floored. Without padding it is at both ends.
        first = hop if config.padding == "none" else 0
        kept = slice(first, len(wave) - first - hop)
        assert torch.allclose(back[kept], wave[kept], atol=1e-9)
        if config.padding == "none":
            assert not back[: config.unreached].any()
            assert (back.abs() <= wave.abs() + 1e-9).all()  # edges fade


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_the_spectrum_is_librosas_of_each_clip_alone(name: str) -> None:
    config = SHAPES[name]
    pack, waves = packed(name, [9000, 5001])
    rows = torch.cat([pack.spectrum(block).clone() for block in pack.blocks()])
    rows = to_frame_start(config, rows)
    for wave, start, (frames, _) in zip(waves, pack.starts, pack.clips, strict=True):
        theirs = stft(config, wave.numpy())[:, :frames]
        np.testing.assert_allclose(rows[start : start + frames].numpy().T, theirs, atol=1e-6)


def test_neighbours_do_not_reach_into_a_clip() -> None:
    pack, _ = packed("hifigan-22k", [4000, 4000, 4000])
    alone = round_trip(packed("hifigan-22k", [4000, 4000, 4000])[0])[1]
    loud = [torch.full((4000,), 1e6, dtype=torch.float64)] * 2
    pack.load([loud[0], packed("hifigan-22k", [4000, 4000])[1][1], loud[1]])
    assert torch.equal(round_trip(pack)[1], alone)


def test_rows_are_whole_blocks() -> None:
    pack, _ = packed("hifigan-22k", [4000] * 9)
    assert pack.rows % CPU_BLOCK == 0


def test_reflection_repeats_for_clips_shorter_than_it() -> None:
    assert reflect(np.arange(-5, 8), 3).tolist() == [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]
    assert reflect(np.array([-3, 9]), 1).tolist() == [0, 0]
    wave = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(
        wave[reflect(np.arange(-4, 7), 3)], np.pad(wave, 4, mode="reflect")
    )


def test_samples_that_no_window_reaches_take_no_rows() -> None:
    config = MelConfig(**{**_NONE, "n_fft": 16384, "hop_length": 100}, win_length=200)
    assert config.rows(1, config.samples(1)) == 2
    pack = PackedStft(build_plan(config, CPU), [(1, 16384), (2, 16484)])
    assert pack.used == 5
    assert [len(wave) for wave in pack.audio()] == [16384, 16484]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SHAPES)
def test_a_sample_is_divided_by_the_windows_over_it_rounded_once(
    name: str, dtype: torch.dtype
) -> None:
    """Clips shorter than a window's overlap among them, and nothing outside the clips."""
    config = SHAPES[name]
    plan = build_plan(config, CPU, dtype)
    squared = config.window_values() ** 2
    clips = [
        (frames, samples)
        for frames in (50, 1, 2, 3, 5, 50)
        for samples in config.sample_range(frames)
    ]
    pack, lower = PackedStft(plan, clips), plan.below
    expected = np.zeros(pack.signal.numel())
    for (frames, samples), start in zip(clips, pack.starts, strict=True):
        length = (frames + config.overlap - 1) * config.hop_length
        envelope = np.zeros(length)
        for frame in reversed(range(frames)):  # a sum's first term is the last frame's
            envelope[frame * config.hop_length :][: config.win_length] += squared
        inverse = 1.0 / np.maximum(envelope, config.envelope_floor())
        own = slice(config.first, config.lead + samples)
        expected[start * config.hop_length :][:length][own] = inverse[own]
    found = pack.inverse_envelope.numpy()
    np.testing.assert_array_equal(found, expected.astype(found.dtype))
    if lower is not None:
        step = config.hop_length // lower.config.hop_length
        halved = [(frames, -(-samples // step)) for frames, samples in clips]
        alike = PackedStft(lower, halved, like=pack)
        alone = PackedStft(lower, halved)
        assert torch.equal(alike.inverse_envelope, alone.inverse_envelope)
        assert alike.extents == alone.extents


@pytest.mark.parametrize("name", SHAPES)
def test_what_lies_beyond_the_edges_repeats_the_clip_as_its_extractor_pads(name: str) -> None:
    config = SHAPES[name]
    clips = [(f, samples) for f in (9, 2, 1, 30) for samples in config.sample_range(f)]
    pack = PackedStft(build_plan(config, CPU), clips)
    expected = []
    for (frames, samples), start in zip(clips, pack.starts, strict=True):
        support = (frames - 1) * config.hop_length + config.win_length
        for place in range(support if config.reflects else 0):
            position = place - config.lead
            if not 0 <= position < samples:
                position = position if samples > 1 else 0
                while not 0 <= position < samples:  # mirrored at one end, then at the other
                    position = -position if position < 0 else 2 * (samples - 1) - position
                origin = start * config.hop_length
                expected.append((origin + place, origin + config.lead + position))
    assert list(zip(*(places.tolist() for places in pack.edges), strict=True)) == expected
