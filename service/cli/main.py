"""The command's options and help; each subcommand loads what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

import unmel

_CONFIG_HELP = "A preset's name (unmel presets), a config as JSON, or @FILE with one."
_OUTPUT_HELP = (
    "A file for one input, a folder for several, or - for standard output; by default beside each "
    "input."
)


@click.group(
    epilog="Example: unmel invert mel.npy --config hifigan-22k -o out.wav",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(unmel.__version__, message="%(prog)s %(version)s")
def command() -> None:
    """Turn mel spectrograms into audio, without trained weights."""


def main() -> None:
    """Run the command with the process's arguments."""
    command(prog_name="unmel")


# --- completion ---------------------------------------------------------------------------------


def _complete_config(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from unmel.models.mel import PRESETS  # noqa: PLC0415 - it loads torch

    return [
        CompletionItem(name, help=row.project)
        for name, row in PRESETS.items()
        if name.startswith(incomplete)
    ]


def _complete_format(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    from unmel.service.wire.formats import FORMATS  # noqa: PLC0415

    return [name for name in FORMATS if name.startswith(incomplete)]


def _complete_quality(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    from unmel.models.methods import QUALITIES  # noqa: PLC0415 - it loads torch

    return [name for name in QUALITIES[1] if name.startswith(incomplete)]


# --- commands -----------------------------------------------------------------------------------

_config = click.option(
    "-c", "--config", required=True, help=_CONFIG_HELP, shell_complete=_complete_config
)
_output = click.option("-o", "--output", help=_OUTPUT_HELP)
_device = click.option(
    "--device", help="auto, cpu or cuda; by default UNMEL_DEVICE, or auto: CUDA where there is one."
)
_lanes = click.option(
    "--lanes", help="Packs computed at once; by default UNMEL_LANES, or one for each core."
)


@command.command(epilog="Example: unmel serve --host 0.0.0.0 --port 9000")
@click.option("--host", help="Address to listen on; by default UNMEL_HOST, or 127.0.0.1.")
@click.option("--port", help="Port, 0 for any free one; by default UNMEL_PORT, or 8000.")
@click.option(
    "--grpc-port",
    help="Port of gRPC, which needs the extra grpc; by default UNMEL_GRPC_PORT, or none.",
)
@_device
@_lanes
def serve(**given: str | None) -> None:
    """Serve over HTTP, and gRPC if it has a port, until a signal.

    Other settings come from the environment: UNMEL_... in the README.
    """
    from unmel.service.__main__ import main as run_service  # noqa: PLC0415

    sys.exit(run_service(given=_without_none(given)))


@command.command(epilog="Example: unmel invert mels/ -o audio/ --config vocos-24k --format flac")
@click.argument("mel", nargs=-1, required=True)
@_output
@_config
@click.option(
    "-q",
    "--quality",
    help="draft, standard or high; times are 1 : 5 : 20.",
    shell_complete=_complete_quality,
)
@click.option(
    "-f",
    "--format",
    help="wav, wav_f32, flac, ogg, opus, mp3, pcm or pcm_f32; by default what the output's "
    "name says, or wav.",
    shell_complete=_complete_format,
)
@click.option("--seed", help="Seed of the first phases.")
@click.option("--sample-rate", help="Sample rate of the result, Hz.")
@click.option("--normalize", help="none, peak or loudness.")
@click.option("--gain", help="Gain, dB.")
@click.option("--strict", is_flag=True, default=None, help="Refuse what would be warned about.")
@click.option(
    "-O",
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other option of POST /reconstruct, such as n_iter=200 or fit=relaxed.",
)
@_device
@_lanes
def invert(
    mel: tuple[str, ...],
    output: str | None,
    config: str,
    options: tuple[str, ...],
    device: str | None,
    lanes: str | None,
    **given: Any,
) -> None:
    """Turn mels into audio files.

    MEL is an npy, npz or safetensors file, a folder of such files, a quoted pattern, or - for
    standard input. Files are computed together, on all cores. One that cannot be used is named
    and does not stop the others; the exit status is 1 then.
    """
    from unmel.service.cli.jobs import run_invert  # noqa: PLC0415 - it loads torch

    fields = {"config": config, **_without_none(given), **_pairs(options)}
    sys.exit(run_invert(mel, output, fields, _without_none({"device": device, "lanes": lanes})))


@command.command(epilog="Example: unmel analyze clip.wav --config hifigan-22k -o mel.npy")
@click.argument("audio", nargs=-1, required=True)
@_output
@_config
@_device
@_lanes
def analyze(
    audio: tuple[str, ...],
    output: str | None,
    config: str,
    device: str | None,
    lanes: str | None,
) -> None:
    """Make the mels of audio files, as npy [n_mels, frames].

    AUDIO is a file, a folder, a quoted pattern, or - for standard input.
    """
    from unmel.service.cli.jobs import run_analyze  # noqa: PLC0415 - it loads torch

    settings = _without_none({"device": device, "lanes": lanes})
    sys.exit(run_analyze(audio, output, {"config": config}, settings))


@command.command(epilog="Example: unmel presets whisper-80")
@click.argument("name", required=False, shell_complete=_complete_config)
@click.option("--json", "as_json", is_flag=True, help="As GET /presets answers.")
def presets(name: str | None, *, as_json: bool) -> None:
    """List the presets, or show one of them."""
    from unmel.service.cli.tables import show_presets  # noqa: PLC0415 - it loads torch

    sys.exit(show_presets(name, as_json=as_json))


@command.command(epilog="Example: unmel methods")
@click.option("--json", "as_json", is_flag=True, help="As GET /methods answers.")
def methods(*, as_json: bool) -> None:
    """List the methods; a star marks the default of its kind."""
    from unmel.service.cli.tables import show_methods  # noqa: PLC0415 - it loads torch

    sys.exit(show_methods(as_json=as_json))


@command.command(epilog="Example: unmel fit mel.npy")
@click.argument("mel", nargs=-1, required=True)
@click.option("--layout", default="auto", help="auto, bands_first or frames_first.")
def fit(mel: tuple[str, ...], layout: str) -> None:
    """Tell which presets a mel's values would fit, the likeliest first.

    The exit status is 1 where there is none.
    """
    from unmel.service.cli.tables import show_fits  # noqa: PLC0415 - it loads torch

    sys.exit(show_fits(mel, layout))


def _without_none(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _pairs(options: Sequence[str]) -> dict[str, str]:
    """Options written as NAME=VALUE."""
    found: dict[str, str] = {}
    for text in options:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--option")
        found[name.replace("-", "_")] = value
    return found
