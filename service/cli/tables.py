"""Presets, methods, and the presets that a mel would fit, as tables on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import click
from pydantic import TypeAdapter

from unmel.models.errors import Invalid
from unmel.models.mel import PRESETS, Layout, preset, presets_that_fit
from unmel.models.methods.recipe import check_choice
from unmel.service.cli.paths import MELS, find_sources
from unmel.service.cli.report import describe, usage_error
from unmel.service.routes.about import methods_info, preset_info
from unmel.service.wire.arrays import parse_arrays
from unmel.service.wire.media import OCTET_STREAM
from unmel.service.wire.schemas import PresetInfo

_MOST_BYTES = 2**32


def show_presets(name: str | None, *, as_json: bool) -> int:
    """List the presets, or show one as JSON; the exit status, or UsageError for no preset."""
    if name is not None:
        try:
            row = preset(name)
        except Invalid as error:
            raise usage_error(error) from None
        click.echo(preset_info(row).model_dump_json(indent=2))
    elif as_json:
        rows = [preset_info(row) for row in PRESETS.values()]
        click.echo(TypeAdapter(list[PresetInfo]).dump_json(rows, indent=2))
    else:
        head = ("NAME", "HZ", "N_FFT", "HOP", "BANDS", "PROJECT")
        _table(head, [_preset_row(name) for name in PRESETS])
    return 0


def show_methods(*, as_json: bool) -> int:
    """List the methods and the qualities; the exit status."""
    found = methods_info()
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return 0
    rows = [(one.kind, one.name + "*" * one.default, one.summary) for one in found.methods]
    _table(("KIND", "NAME", "WHAT IT IS"), rows)
    return 0


def show_fits(arguments: Sequence[str], layout: str) -> int:
    """List the presets that each mel fits; the exit status, 1 where one fits none."""
    try:
        check_choice("layout", layout, get_args(Layout))
    except Invalid as error:
        raise usage_error(error) from None
    sources, _ = find_sources(arguments, MELS)
    failures = 0
    for source in sources:
        try:
            arrays = parse_arrays("mel", source.read(), OCTET_STREAM, _MOST_BYTES)
            fits = presets_that_fit(None, arrays["mel"], layout)  # type: ignore[arg-type] # checked above
            if not fits:
                shape = "x".join(map(str, arrays["mel"].shape)) or "a single number"
                raise Invalid("mel", f"shape {shape}", "values that a preset has (unmel presets)")
        except (Invalid, OSError) as error:
            click.echo(f"unmel: {source}: {describe(error)}", err=True)
            failures += 1
            continue
        if len(sources) > 1:
            click.echo(f"{source}:")
        _table((), [_preset_row(name) for name in fits])
    return 1 if failures else 0


def _preset_row(name: str) -> tuple[str, ...]:
    row = PRESETS[name]
    config = row.config
    sizes = config.sample_rate, config.n_fft, config.hop_length, config.n_mels
    return name, *map(str, sizes), row.project


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns, each as wide as its longest value; the last one is not filled up."""
    lines = [head, *rows] if head else list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [text.ljust(width) for text, width in zip(line, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())
