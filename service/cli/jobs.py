"""Files through an engine, as packs on all cores; one that fails does not stop the others."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import click
from pydantic import ValidationError
from pydantic_settings import SettingsError

from unmel.models.engine import Analysis, Engine, Item, Result
from unmel.models.errors import Invalid
from unmel.service.__main__ import format_fault
from unmel.service.cli.paths import (
    AUDIO,
    MELS,
    SUFFIXES,
    Source,
    find_sources,
    find_targets,
    is_folder,
    write,
)
from unmel.service.cli.report import Report, usage_error
from unmel.service.ops.settings import Settings
from unmel.service.web.components import build_engine
from unmel.service.web.responses import encode_result
from unmel.service.wire.arrays import WITH_MEL, options_beside, parse_arrays
from unmel.service.wire.formats import Encoded, encode_npy
from unmel.service.wire.media import OCTET_STREAM
from unmel.service.wire.problems import faults_of
from unmel.service.wire.requests import (
    AnalyzeRequest,
    ReconstructRequest,
    make_analyze_request,
    make_reconstruct_request,
    output_format,
    read_analyze_options,
    read_options,
)

# A file on the caller's own machine may be as large as a setting can say.
_LIMITS: dict[str, Any] = {
    "max_frames": 10_000_000,
    "max_points": 2**34,
    "max_iterations": 100_000,
    "max_body_mb": 4096,
    "max_held_mb": 2**20,
}


class _Wanted(Protocol):
    """A checked file."""

    @property
    def item(self) -> Item | Analysis: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...


W = TypeVar("W", bound=_Wanted)


@dataclass(frozen=True)
class _Job(Generic[W]):
    """What is done with a file's bytes before the engine, and with its result."""

    read: Callable[[bytes], W]
    encode: Callable[[W, Result], Encoded]


def run_invert(
    arguments: Sequence[str],
    output: str | None,
    fields: Mapping[str, Any],
    given: Mapping[str, Any],
) -> int:
    """Turn mel files into audio files.

    Parameters
    ----------
    arguments
        Files, folders, patterns, or `-`.
    output
        File, folder or `-`; None for a file beside each input.
    fields
        Options of the reconstruction, as text.
    given
        Settings of the engine, as text.

    Returns
    -------
    Exit status: 0, or 1 where a file failed.

    Raises
    ------
    click.UsageError
        Arguments or options cannot be used.

    """
    fields = _with_config(fields)
    sources, single = find_sources(arguments, MELS)
    if output is not None and single and not is_folder(output) and "format" not in fields:
        fields.update(_format_of(Path(output).suffix.lower()))
    try:
        form = output_format(read_options(fields), None)
    except (Invalid, ValidationError) as error:
        raise usage_error(error) from None
    targets = find_targets(sources, output, SUFFIXES[form], single=single)
    settings, engine = _engine(given)

    def read(data: bytes) -> ReconstructRequest:
        limit = settings.max_body_bytes
        arrays = parse_arrays("mel", data, OCTET_STREAM, limit, WITH_MEL)
        own = read_options({**fields, **options_beside(arrays)})
        return make_reconstruct_request(arrays["mel"], arrays.get("phases"), own, form, settings)

    return _run(_Job(read, encode_result), targets, settings, engine)


def run_analyze(
    arguments: Sequence[str],
    output: str | None,
    fields: Mapping[str, Any],
    given: Mapping[str, Any],
) -> int:
    """Make the mels of audio files; parameters, result and errors as of `run_invert`."""
    sources, single = find_sources(arguments, AUDIO)
    try:
        options = read_analyze_options(_with_config(fields))
    except (Invalid, ValidationError) as error:
        raise usage_error(error) from None
    targets = find_targets(sources, output, SUFFIXES["npy"], single=single)
    settings, engine = _engine(given)

    def read(data: bytes) -> AnalyzeRequest:
        return make_analyze_request(data, options, settings)

    def encode(_: AnalyzeRequest, result: Result) -> Encoded:
        return encode_npy(result.values)

    return _run(_Job(read, encode), targets, settings, engine)


def _format_of(suffix: str) -> dict[str, str]:
    """The option that a file's name gives; an end that no format has is refused as one."""
    first = next((name for name, end in SUFFIXES.items() if end == suffix), suffix[1:])
    return {"format": first} if suffix else {}


def _with_config(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the text of a config's file, where one is named."""
    config = fields["config"]
    if not config.startswith("@"):
        return dict(fields)
    try:
        return {**fields, "config": Path(config[1:]).read_text(encoding="utf-8-sig").strip()}
    except (OSError, UnicodeError) as error:
        raise click.UsageError(f"config: {config[1:]}: {error}") from None


def _engine(given: Mapping[str, Any]) -> tuple[Settings, Engine]:
    """Settings of the environment and the options, and the engine."""
    quiet = {} if "UNMEL_LOG_LEVEL" in os.environ else {"log_level": "warning"}
    plain = {} if "UNMEL_LOG_FORMAT" in os.environ else {"log_format": "text"}
    try:
        settings = Settings(**{**_LIMITS, **quiet, **plain, **given})
        return settings, build_engine(settings)
    except ValidationError as error:
        texts = [format_fault(fault, given) for fault in faults_of(error)]
        raise click.UsageError("; ".join(texts)) from None
    except (Invalid, SettingsError) as error:
        raise click.UsageError(str(error)) from None


def _run(
    job: _Job[W], targets: Mapping[Source, Path | None], settings: Settings, engine: Engine
) -> int:
    """Exit status of a job for all its files."""
    lanes = settings.resolve_lanes(engine.device.type)
    lanes = max(1, min(lanes, len(targets)))
    waiting = iter(targets.items())
    with Report(len(targets)) as report:
        work = _Work(job, engine, report, waiting, math.ceil(len(targets) / lanes))
        with ThreadPoolExecutor(lanes, "unmel") as pool:
            try:
                for running in [pool.submit(work.run) for _ in range(lanes)]:
                    running.result()
            finally:  # at an interrupt no further pack is begun
                work.stop()
    return 1 if report.failures else 0


class _Work(Generic[W]):
    """Files that wait, taken by several threads."""

    def __init__(
        self,
        job: _Job[W],
        engine: Engine,
        report: Report,
        waiting: Iterator[tuple[Source, Path | None]],
        most: int,
    ) -> None:
        self._job, self._engine, self._report = job, engine, report
        self._waiting, self._most, self._lock = waiting, most, threading.Lock()

    def stop(self) -> None:
        """Let no file wait any more."""
        with self._lock:
            self._waiting = iter(())

    def run(self) -> None:
        """Take packs until no file waits."""
        while pack := self._take():
            for (source, target, wanted), result in zip(pack, self._compute(pack), strict=True):
                if isinstance(result, Exception):
                    self._report.failed(source, result)
                    continue
                try:
                    encoded = self._job.encode(wanted, result)
                    write(target, encoded.data)
                except Exception as error:  # of this file alone
                    self._report.failed(source, error)
                else:
                    noted = (*wanted.warnings, *result.warnings, *encoded.warnings)
                    self._report.done(source, target, noted)

    def _take(self) -> list[tuple[Source, Path | None, W]]:
        """Checked files for one pack; none where no file waits."""
        pack: list[tuple[Source, Path | None, W]] = []
        rows = nbytes = 0
        engine = self._engine
        while len(pack) < self._most and nbytes < engine.pack_bytes and rows < engine.pack_rows:
            with self._lock:
                one = next(self._waiting, None)
            if one is None:
                break
            try:
                wanted = self._job.read(one[0].read())
            except Exception as error:  # of this file alone
                self._report.failed(one[0], error)
                continue
            pack.append((*one, wanted))
            rows, nbytes = rows + wanted.item.rows, nbytes + wanted.item.nbytes
        return pack

    def _compute(self, pack: Sequence[tuple[Source, Path | None, W]]) -> list[Result | Exception]:
        """A result or a failure for each file of a pack."""
        try:
            return list(self._engine.run([wanted.item for *_, wanted in pack]))
        except Exception as error:
            if len(pack) == 1:
                return [error]
            return [result for one in pack for result in self._compute([one])]
