"""Padding at the ends of a mel: constant frames that are louder than the audio."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmel.models.mel.config import MelConfig
from unmel.models.mel.statistics import levels_of

# Fewest constant frames, and how much louder than the audio's median they are, dB.
_LEAST_FRAMES, _LOUDER = 3, 10.0


def padded_frames(config: MelConfig, values: NDArray[np.float32]) -> tuple[int, int]:
    """Numbers of padding frames at the beginning and the end; zeros where there are none.

    Frames count as padding where one value fills all of them and is clearly louder than most of
    the rest: the 0 of a padded batch is loud on a logarithmic scale.

    Parameters
    ----------
    config
        The config of the mel.
    values
        Stored values `[T, K]`.
    """
    head, tail = _run(values), _run(values[::-1])
    if head + tail >= len(values):
        return 0, 0
    inner = values[head : len(values) - tail]
    found = []
    for count, frame in ((head, values[:1]), (tail, values[-1:])):
        loud = count >= _LEAST_FRAMES and float(np.median(levels_of(config, frame))) > float(
            np.median(levels_of(config, inner)) + _LOUDER
        )
        found.append(count if loud else 0)
    return found[0], found[1]


def _run(values: NDArray[np.float32]) -> int:
    """Number of leading frames of `[T, K]` whose values are all the first one."""
    if not (values[0] == values[0, 0]).all():  # as in most clips, without a look at the others
        return 0
    same = (values == values[0, 0]).all(axis=1)
    return int(len(same) if same.all() else np.argmin(same))


def padding_warning(values: NDArray[np.float32], head: int, tail: int) -> str | None:
    """A warning for padding that would be heard; None where there is none.

    Parameters
    ----------
    values
        Stored values `[T, K]`.
    head, tail
        Numbers of padding frames, from `padded_frames`.
    """
    if not head and not tail:
        return None
    ends = [(head, "first", values[0, 0]), (tail, "last", values[-1, 0])]
    parts = [f"the {end} {n} frames are {value:g} in every band" for n, end, value in ends if n]
    return (
        " and ".join(parts) + ", which is louder than the audio: this looks like the padding of a "
        "batch; send each mel cut to its own frames"
    )
