"""A blind test for ears: pairs of original and result, and a page that plays them and counts.

    python -m benchmarks.listen [--data [NAME=]DIR ...] [--preset NAME,...] [--quality NAME,...]
        [--out DIR] [--clips N] [--seconds N] [--seed N] [--low-pass]

Open `index.html` in the folder: it holds all that it needs. Both of a pair have one rate, length
and loudness. The seed draws the order of the pairs and which of each is A; the page's key is
encoded, so that nobody reads it by accident. A folder of fewer clips gives them again, with
another seed of the reconstruction.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.fft import next_fast_len

from benchmarks.bench import QUALITIES, at_rate, named_folder, read_clips
from benchmarks.peers import Wave, extract
from benchmarks.pitch import band_gain
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import resolve
from unmel.models.methods.schedule import Quality
from unmel.service.wire.levels import LOUDNESS_LEVEL, loudness

ROOT = Path(__file__).parent.parent
SIDES = ("a", "b")
# Largest sample of 16 bits, full scale at 1.
_FULL = 1.0 - 2.0**-15

Clips = Sequence[tuple[Wave, int]]


@dataclass(frozen=True, eq=False)
class Pair:
    """An original and what was made of its mel."""

    voice: str
    clip: int
    """Index of the clip in its folder."""
    preset: str
    quality: Quality
    seed: int
    """Seed of the reconstruction."""
    rate: int
    original: Wave
    """Samples `[L]`."""
    result: Wave
    """Samples `[L]`, as loud as the original."""

    def facts(self) -> dict[str, str | int]:
        """What the page counts by and writes into its CSV file."""
        names = ("voice", "clip", "preset", "quality", "seed")
        return {name: getattr(self, name) for name in names}


def low_passed(wave: Wave, rate: int, highest: float) -> Wave:
    """Samples `[L]` without what lies above a frequency, Hz; unchanged where nothing can."""
    if highest >= rate / 2:
        return wave
    # Zeros behind keep the filter from wrapping around into the start.
    size = next_fast_len(len(wave) + rate // 10, real=True)
    frequencies = np.asarray(np.fft.rfftfreq(size, 1.0 / rate), np.float64)
    gain = band_gain(frequencies, -np.inf, highest)
    return np.fft.irfft(gain * np.fft.rfft(wave, size), size)[: len(wave)].astype(np.float32)


def same_level(original: Wave, result: Wave, rate: int) -> tuple[Wave, Wave]:
    """Both at one loudness; where one of them would clip, both that much lower."""
    both = []
    for wave in (original, result):
        level = loudness(wave, rate)
        gain = 10.0 ** ((LOUDNESS_LEVEL - level) / 20.0) if np.isfinite(level) else 1.0
        both.append(wave * np.float32(gain))
    highest = max(float(np.abs(wave).max(initial=0.0)) for wave in both)
    scale = np.float32(min(1.0, _FULL / highest) if highest else 1.0)
    return both[0] * scale, both[1] * scale


def make_pairs(
    engine: Engine,
    clips: Clips,
    names: tuple[str, str, Quality],
    *,
    count: int,
    seconds: float,
    seed: int = 0,
    low_pass: bool = False,
) -> list[Pair]:
    """Pairs of one voice, preset and quality.

    Parameters
    ----------
    engine
        What reconstructs.
    clips
        The voice's clips.
    names
        Voice, preset and quality.
    count
        Number of pairs; with fewer clips they come again, with the next seed.
    seconds
        Clips are cut to this length.
    seed
        Seed of the first reconstruction of each clip.
    low_pass
        Whether originals lose what lies above the band of the mel.
    """
    voice, name, quality = names
    config = PRESETS[name].config
    recipe = resolve(config.power, octaves=config.octaves, quality=quality)
    rate = config.sample_rate
    waves = [at_rate(clip, rate)[: round(seconds * rate)] for clip in clips[:count]]
    for k, wave in enumerate(waves):
        if len(wave) < config.frame_length:
            raise SystemExit(f"clip {k} of {voice} is shorter than a frame of {name}")
    mels = [np.ascontiguousarray(extract(config, wave).values.T) for wave in waves]
    jobs = [(k % len(waves), seed + k // len(waves)) for k in range(count)]
    items = [Item(mels[k], config, recipe, _length(config, waves[k]), s) for k, s in jobs]
    pairs = []
    for (k, s), result in zip(jobs, engine.run(items), strict=True):
        audio = np.asarray(result.values, np.float32)
        original = low_passed(waves[k], rate, config.fmax) if low_pass else waves[k]
        levelled = same_level(original[: len(audio)], audio, rate)
        pairs.append(Pair(voice, k, name, quality, s, rate, *levelled))
    return pairs


def _length(config: MelConfig, wave: Wave) -> int:
    """Samples to reconstruct: as many as the original has, or as the mel's frames cover."""
    frames = config.frames(len(wave))
    return min(len(wave), config.sample_range(frames)[1])


def write_test(pairs: Sequence[Pair], out: Path, seed: int) -> list[str]:
    """Write the pairs' files and the page.

    Parameters
    ----------
    pairs
        All pairs.
    out
        Folder to write to; pairs of a former test there are deleted.
    seed
        Draws the order and the sides.

    Returns
    -------
    list of str
        The key: which file of each pair, in the test's order, is the original, `a` or `b`.
    """
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(pairs))
    key = [SIDES[side] for side in draw.integers(2, size=len(pairs))]
    out.mkdir(parents=True, exist_ok=True)
    for former in out.glob("pair-*.wav"):
        former.unlink()
    rows = []
    for number, (index, original) in enumerate(zip(order, key, strict=True), 1):
        pair = pairs[index]
        row: dict[str, str | int] = pair.facts()
        for side in SIDES:
            audio = _wav(pair.original if side == original else pair.result, pair.rate)
            (out / f"pair-{number:03}-{side}.wav").write_bytes(audio)
            row[side] = base64.b64encode(audio).decode()
        rows.append(row)
    (out / "index.html").write_text(page(rows, key), encoding="utf-8")
    return key


def _wav(wave: Wave, rate: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def page(rows: Sequence[Mapping[str, str | int]], key: Sequence[str]) -> str:
    """The page of a test, one file with audio, style and scripts.

    Parameters
    ----------
    rows
        Facts of each pair, and its files by side in base64.
    key
        Which side is the original.
    """
    encoded = base64.b64encode(json.dumps(list(key)).encode()).decode()
    pairs = json.dumps(rows)
    name = hashlib.sha256((pairs + encoded).encode()).hexdigest()[:16]
    data = json.dumps({"id": name, "key": encoded}).removesuffix("}") + f', "pairs": {pairs}}}'
    folder = Path(__file__).parent / "listening"
    static = ROOT / "service" / "routes" / "static"
    # One script of the page is a module of the service's page.
    statistics = (static / "statistics.js").read_text().replace("export function", "function")
    parts = {
        "style": (static / "page.css").read_text() + (folder / "page.css").read_text(),
        # A voice named </script> must not end it.
        "data": data.replace("<", "\\u003c"),
        "script": statistics + (folder / "page.js").read_text(),
    }
    text = (folder / "page.html").read_text()
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], text)


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=named_folder,
        action="append",
        help="folder of wav, flac or ogg files, or NAME=FOLDER; once for each voice (examples)",
    )
    parser.add_argument("--preset", default="hifigan-22k", help="names with commas")
    parser.add_argument("--quality", default="standard", help="names with commas")
    parser.add_argument("--out", type=Path, default=Path("listen"), help="folder to write to")
    parser.add_argument(
        "--clips", type=int, default=16, help="pairs of each voice, preset and quality"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="clips are cut to this length")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--low-pass",
        action="store_true",
        help="take from originals what lies above the mel's band",
    )
    options = parser.parse_args()
    if options.clips < 1:
        parser.error(f"--clips {options.clips}: at least 1")
    chosen = [q for q in QUALITIES if q in options.quality.split(",")]
    if len(chosen) < len(options.quality.split(",")):
        parser.error(f"--quality {options.quality}: of {', '.join(QUALITIES)}, each once")
    presets = options.preset.split(",")
    unknown = [name for name in presets if name not in PRESETS]
    if unknown:
        parser.error(f"--preset {', '.join(unknown)}: of {', '.join(PRESETS)}")
    engine, pairs = Engine(), list[Pair]()
    for voice, folder in dict(options.data or [named_folder(str(ROOT / "examples"))]).items():
        clips = read_clips(folder, options.clips)
        for name in presets:
            for quality in chosen:
                pairs += make_pairs(
                    engine,
                    clips,
                    (voice, name, quality),
                    count=options.clips,
                    seconds=options.seconds,
                    seed=options.seed,
                    low_pass=options.low_pass,
                )
    write_test(pairs, options.out, options.seed)
    print(f"{len(pairs)} pairs; open {options.out / 'index.html'} in a browser")


if __name__ == "__main__":
    main()
