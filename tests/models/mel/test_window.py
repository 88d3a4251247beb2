"""Windows: the values that their libraries define, and what methods know of their shapes."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import scipy.signal
import torch
from numpy.typing import NDArray
from transformers.audio_utils import window_function

from unmel.models.mel.window import SHAPES, Window, window_values

NAMES: tuple[Window, ...] = get_args(Window)
LENGTHS = [2, 3, 25, 400, 1024]


def defined(name: str, length: int) -> list[NDArray[np.float64]]:
    """The window by every library that has it."""
    exact = torch.float64
    libraries: dict[str, list[NDArray[np.float64]]] = {
        "hann": [
            torch.hann_window(length, dtype=exact).numpy(),
            scipy.signal.get_window("hann", length),
            window_function(length, "hann"),
        ],
        "hann_symmetric": [
            np.hanning(length),
            torch.hann_window(length, False, dtype=exact).numpy(),  # noqa: FBT003 # its order
            window_function(length, "hann", periodic=False),
        ],
        "hamming": [
            torch.hamming_window(length, dtype=exact).numpy(),
            scipy.signal.get_window("hamming", length),
            window_function(length, "hamming"),
        ],
        "hamming_symmetric": [
            np.hamming(length),
            torch.hamming_window(length, False, dtype=exact).numpy(),  # noqa: FBT003 # its order
            window_function(length, "hamming", periodic=False),
        ],
        "blackman": [
            torch.blackman_window(length, dtype=exact).numpy(),
            scipy.signal.get_window("blackman", length),
        ],
        "blackman_symmetric": [
            np.blackman(length),
            torch.blackman_window(length, False, dtype=exact).numpy(),  # noqa: FBT003 # its order
        ],
        "povey": [window_function(length, "povey", periodic=False)],
        "rectangular": [np.ones(length), window_function(length, "boxcar")],
    }
    return libraries[name]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", NAMES)
def test_a_window_is_its_libraries(name: Window, length: int) -> None:
    for theirs in defined(name, length):
        np.testing.assert_allclose(window_values(name, length), theirs, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_an_octaves_window_has_every_second_value(name: Window) -> None:
    for step in (2, 16):
        np.testing.assert_allclose(
            window_values(name, 25, step), window_values(name, 25 * step)[::step], atol=1e-12
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_window_is_never_negative_and_cannot_be_changed(name: Window) -> None:
    values = window_values(name, 400)
    assert values.min() >= 0.0
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1.0


@pytest.mark.parametrize("name", NAMES)
def test_its_transform_is_negative_where_its_shape_says(name: Window) -> None:
    """Midway between its zeros, but for Hamming's additional pair of them."""
    length, first = 4096, SHAPES[name].first_negative
    values = window_values(name, length)
    turns = (np.arange(length) - (length - 1) / 2) / length
    for width in range(8):
        value = (values * np.cos(2 * np.pi * (width + 0.5) * turns)).sum()
        if not (name.startswith("hamming") and width == 2):
            assert (value < 0) == (width >= first and width % 2 == first % 2), width


@pytest.mark.parametrize("name", NAMES)
def test_its_gaussian_is_the_nearest(name: Window) -> None:
    length = 4000
    values = np.pad(window_values(name, length), 3 * length)
    time = (np.arange(values.size) - (values.size - 1) / 2) / length

    def apart(gauss: float) -> float:
        return float(np.square(values - np.exp(-np.pi * time**2 / gauss)).sum())

    gauss = SHAPES[name].gauss
    assert apart(gauss) < min(apart(0.97 * gauss), apart(1.03 * gauss))
