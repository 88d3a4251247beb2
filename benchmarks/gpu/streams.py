"""Sessions in real time that one card holds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.check import CONFIG, Check, table
from unmel.models.engine.engine import Engine
from unmel.models.engine.streams import Options, Stream
from unmel.models.methods.schedule import Quality

_SESSIONS = 1, 64, 512
# Frames that a session brings at a time, some 46 ms.
_FRAMES, _ROUNDS = 4, 8
_QUALITIES: tuple[Quality, ...] = "draft", "standard"


def streams(check: Check) -> None:
    """Seconds of audio a second by sessions that are stepped together."""
    engine = Engine(check.device)
    item = check.items(1, 5.0)[0]
    mel = np.tile(item.mel, (-(-_FRAMES * _ROUNDS // len(item.mel)), 1))
    sessions = _SESSIONS[: 2 if check.small else None]

    def rows() -> Iterator[str]:
        for quality, count in product(_QUALITIES, sessions):
            opened = [engine.stream(CONFIG, Options(quality, 2, seed=k)) for k in range(count)]
            taken = []
            for number in range(2 if check.small else _ROUNDS):
                part = mel[number * _FRAMES :][:_FRAMES]
                began = time.perf_counter()
                _push(engine, opened, part)
                taken.append(time.perf_counter() - began)
            settled = float(np.median(taken[len(taken) // 2 :]))
            audio = _FRAMES * CONFIG.hop_length / CONFIG.sample_rate
            yield f"| {quality} | {count} | {1000 * settled:.1f} | {count * audio / settled:,.0f} |"

    table(f"| quality | sessions | ms for {_FRAMES} frames of each | in real time |", rows())


def _push(engine: Engine, sessions: Sequence[Stream], part: NDArray[np.float32]) -> None:
    for session in sessions:
        session.feed(part)
    while steps := [step for session in sessions if (step := session.step) is not None]:
        engine.run(steps)
