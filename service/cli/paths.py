"""Arguments to input files, and where the result of each goes."""

from __future__ import annotations

import glob
import itertools
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

STANDARD = "-"
MELS = (".npy", ".npz", ".safetensors")
AUDIO = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"),
    *(".au", ".caf", ".w64", ".rf64"),
)
SUFFIXES = {
    "wav": ".wav",
    "wav_f32": ".wav",
    "flac": ".flac",
    "ogg": ".ogg",
    "opus": ".opus",
    "mp3": ".mp3",
    "pcm": ".pcm",
    "pcm_f32": ".pcm",
    "npy": ".npy",
}
"""The end of a file's name for each format."""


@dataclass(frozen=True)
class Source:
    """One input."""

    path: Path | None
    """None for standard input."""
    below: Path
    """Its name below an output folder."""

    def __str__(self) -> str:
        return STANDARD if self.path is None else str(self.path)

    def read(self) -> bytes:
        """All of its bytes; OSError where it cannot be read."""
        if self.path is None:
            return sys.stdin.buffer.read()
        return self.path.read_bytes()


def find_sources(arguments: Sequence[str], suffixes: Collection[str]) -> tuple[list[Source], bool]:
    """The inputs of arguments, each once.

    Parameters
    ----------
    arguments
        Files, folders, patterns, or `-`.
    suffixes
        Ends of the names that are taken from a folder.

    Returns
    -------
    The inputs, and whether the one argument named a single one, not a folder or a pattern.

    Raises
    ------
    click.UsageError
        A folder or a pattern has none.

    """
    found: dict[str, Source] = {}
    several = len(arguments) > 1
    for text in arguments:
        inside = _expand(text, suffixes)
        several = several or inside is not None
        for source in inside or [_one(text)]:
            key = STANDARD if source.path is None else str(source.path.resolve())
            found.setdefault(key, source)
    return list(found.values()), not several


def _one(text: str) -> Source:
    if text == STANDARD:
        return Source(None, Path("stdin"))
    return Source(Path(text), Path(Path(text).name))


def _expand(text: str, suffixes: Collection[str]) -> list[Source] | None:
    """The files of a folder or a pattern; None for anything else."""
    path = Path(text)
    if path.is_dir():
        files = (one for one in path.rglob("*") if one.suffix.lower() in suffixes)
        inside = sorted(one for one in files if one.is_file())
        if not inside:
            raise click.UsageError(f"{text}: no file in it ends in one of {' '.join(suffixes)}")
        return [Source(one, one.relative_to(path)) for one in inside]
    if path.exists() or not glob.has_magic(text):
        return None
    plain = list(itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
    base = Path(*plain)
    pattern = str(Path(*path.parts[len(plain) :]))
    matches = sorted(one for one in base.glob(pattern) if one.is_file())
    if not matches:
        raise click.UsageError(f"{text}: no file matches")
    return [Source(one, one.relative_to(base)) for one in matches]


def is_folder(output: str) -> bool:
    """Whether an output is a folder, there or to be made."""
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def find_targets(
    sources: Sequence[Source], output: str | None, suffix: str, *, single: bool
) -> Mapping[Source, Path | None]:
    """Where the result of each input goes; None is standard output.

    Parameters
    ----------
    sources
        The inputs.
    output
        The option; None for a file beside each input.
    suffix
        End of the results' names.
    single
        Whether the output is a file, if it is no folder.

    Raises
    ------
    click.UsageError
        Two results, or a result and an input, would be one file.

    """
    targets: dict[Source, Path | None]
    if output == STANDARD or (output is None and any(one.path is None for one in sources)):
        if len(sources) > 1:
            raise click.UsageError(
                f"{len(sources)} inputs; standard output takes the result of one"
            )
        return dict.fromkeys(sources)
    if output is None:
        targets = {one: one.path.with_suffix(suffix) for one in sources if one.path is not None}
    elif single and not is_folder(output):
        targets = {sources[0]: Path(output)}
    else:
        targets = {one: Path(output) / one.below.with_suffix(suffix) for one in sources}
    taken: dict[Path, Source] = {one.path.resolve(): one for one in sources if one.path}
    for source, target in targets.items():
        if target is None:
            continue
        other = taken.setdefault(target.resolve(), source)
        if other != source or target == source.path:
            both = "an input itself" if target == other.path else f"of {other} and of {source}"
            raise click.UsageError(f"{target} is {both}: another -o is needed")
    return targets


def write(target: Path | None, data: bytes) -> None:
    """Write a result, whole or not at all where it is a file; OSError where that fails."""
    if target is None:
        stream = sys.stdout.buffer
        stream.write(data)
        stream.flush()
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not target.is_file():  # a device or a pipe
        target.write_bytes(data)
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
