"""Mel spectrograms back into audio, without trained weights: a service, a command, functions.

What is named here is loaded at its first use: `import unmel` alone costs nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unmel.models.errors import Invalid
    from unmel.models.functions import InverseMel, invert, mel_to_audio
    from unmel.models.mel import MelConfig

    __version__: str

__all__ = ["Invalid", "InverseMel", "MelConfig", "__version__", "invert", "mel_to_audio"]

_ROOMS = {
    "InverseMel": "unmel.models.functions",
    "Invalid": "unmel.models.errors",
    "MelConfig": "unmel.models.mel",
    "invert": "unmel.models.functions",
    "mel_to_audio": "unmel.models.functions",
}

if not TYPE_CHECKING:  # a checker would take every name for one that is there

    def __getattr__(name):
        from importlib import import_module, metadata  # noqa: PLC0415

        if name == "__version__":
            try:
                found = metadata.version("unmel")
            except metadata.PackageNotFoundError:  # run from a checkout without an installation
                found = "0+unknown"
        elif name in _ROOMS:
            found = getattr(import_module(_ROOMS[name]), name)
        else:
            raise AttributeError(f"module 'unmel' has no attribute {name!r}")
        globals()[name] = found
        return found

    def __dir__():
        return sorted({*globals(), *__all__})
