"""Stream a mel to Unmel in real time, as a TTS model would, and receive audio meanwhile.

    pip install numpy websockets
    python examples/stream.py mel.npy [--config hifigan-22k] [--url ws://127.0.0.1:8000/stream]
        [--quality standard] [--lookahead 8] [--speed 1.0] [--out out.pcm]

`mel.npy` `[n_mels, frames]` takes the place of an acoustic model: its frames are sent in real time
(`--speed 2` twice as fast, `--speed 0` all at once). The audio is not played; the program prints
the time to the first samples and the underruns that a player would have had.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from websockets.asyncio.client import ClientConnection, connect


@dataclass
class Listener:
    """A simulated player: it plays samples as they arrive, from the first one on."""

    rate: int
    buffer: float
    """Seconds of delay before the first samples, against jitter."""
    samples: int = 0
    first: float | None = None
    underruns: list[float] = field(default_factory=list)
    """Seconds of silence at each underrun."""

    def hear(self, count: int, now: float) -> None:
        """Account for `count` samples that arrived."""
        if self.first is None:
            self.first = now + self.buffer
        dry = now - self.first - self.samples / self.rate - sum(self.underruns)
        if dry > 0 and self.samples:
            self.underruns.append(dry)
        self.samples += count


async def speak(connection: ClientConnection, mel: np.ndarray, period: float, sent: list) -> None:
    """Send the frames of `mel` `[T, n_mels]`, one every `period` seconds, then the end."""
    began = time.monotonic()
    for t, frame in enumerate(mel.astype("<f4")):
        await asyncio.sleep(began + t * period - time.monotonic())
        await connection.send(frame.tobytes())
        sent.append(time.monotonic())
    await connection.send(json.dumps({"end": True}))


async def main(options: argparse.Namespace) -> None:
    """Stream one mel; print the latency and the underruns."""
    mel = np.load(options.mel).T
    period = options.hop / options.rate / options.speed if options.speed else 0.0
    hello = {
        "config": options.config,
        "quality": options.quality,
        "lookahead": options.lookahead,
        "format": "s16le",
    }
    listener, sent, parts = Listener(options.rate, options.buffer / 1000), [], []
    async with connect(options.url) as connection:
        await connection.send(json.dumps(hello))
        speaking = asyncio.create_task(speak(connection, mel, period, sent))
        async for message in connection:
            if isinstance(message, str):
                numbers = json.loads(message)
                if numbers.get("done"):
                    break
                print(*numbers["warnings"], sep="\n")
                continue
            if listener.first is None:
                waited = time.monotonic() - sent[-1]
                print(f"first audio {1000 * waited:.1f} ms after frame {len(sent)}, which it took")
            listener.hear(len(message) // 2, time.monotonic())
            parts.append(message)
        await speaking
    print(f"{listener.samples} samples, {listener.samples / listener.rate:.2f} s")
    print(f"{len(listener.underruns)} underruns, {1000 * sum(listener.underruns):.0f} ms in all")
    print(json.dumps(numbers))
    if options.out:
        options.out.write_bytes(b"".join(parts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("mel", type=Path)
    parser.add_argument("--config", default="hifigan-22k")
    parser.add_argument("--url", default="ws://127.0.0.1:8000/stream")
    parser.add_argument("--quality", default="standard")
    parser.add_argument("--lookahead", type=int, default=8)
    parser.add_argument("--rate", type=int, default=22050, help="sample rate of the config, Hz")
    parser.add_argument("--hop", type=int, default=256, help="hop length of the config, samples")
    parser.add_argument("--buffer", type=float, default=40.0, help="of the player, ms")
    parser.add_argument("--speed", type=float, default=1.0, help="of sending; 0: all at once")
    parser.add_argument("--out", type=Path, help="file for bare samples, s16le")
    asyncio.run(main(parser.parse_args()))
