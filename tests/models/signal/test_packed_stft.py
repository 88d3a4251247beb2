"""Packed STFT: a consistent spectrum survives, clips never mix, edges are the extractor's."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from tests.signals import voice
from unmel.models.mel.presets import PRESETS
from unmel.models.signal.packed_stft import CPU_BLOCK, PackedStft, reflect, to_frame_start
from unmel.models.signal.plan import build_plan

CPU = torch.device("cpu")
SHAPES = ["hifigan-22k", "tacotron2-22k", "whisper-80", "pwg-24k", "nemo-22k", "torchaudio"]


def packed(name: str, lengths: list[int]) -> tuple[PackedStft, list[torch.Tensor]]:
    config = PRESETS[name].config
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
    hop = PRESETS[name].config.hop_length
    pack, waves = packed(name, [40 * hop, 300 * 40, 3000, 40 * hop + 17])
    for wave, back in zip(waves, round_trip(pack), strict=True):
        # The tail of a centred clip may lie past its last window's middle, where little of it is
        # left: there the envelope is floored.
        kept = len(wave) - hop
        assert torch.allclose(back[:kept], wave[:kept], atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_the_spectrum_is_librosas_of_each_clip_alone(name: str) -> None:
    config = PRESETS[name].config
    pack, waves = packed(name, [9000, 5001])
    rows = torch.cat([pack.spectrum(block).clone() for block in pack.blocks()])
    rows = to_frame_start(config.n_fft, config.win_length, rows)
    for wave, start, (frames, _) in zip(waves, pack.starts, pack.clips, strict=True):
        samples = wave.numpy()
        if config.padding == "hifigan":
            samples = np.pad(samples, config.pad, mode="reflect")
        theirs = librosa.stft(
            samples,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            win_length=config.win_length,
            window="hann" if config.window == "hann" else np.hanning(config.win_length),
            center=config.padding != "hifigan",
            pad_mode="constant" if config.padding == "center_constant" else "reflect",
        )[:, :frames]
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
