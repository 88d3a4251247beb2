"""Unmel over HTTP: codecs, the batching queue and the routes around the engine."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("unmel")
except PackageNotFoundError:  # run from a checkout without an installation
    __version__ = "0+unknown"
