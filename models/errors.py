"""Errors of the models, in the domain's words (no HTTP here)."""

from __future__ import annotations


class UnmelError(Exception):
    """Base of every error that Unmel raises itself."""


class Invalid(UnmelError):
    """A value that cannot be used.

    Parameters
    ----------
    field
        Name of the option or array.
    got
        The value, in words.
    expected
        The values that are accepted, in words.
    """

    fits: tuple[str, ...] = ()
    """Presets that the value would fit; empty where none was searched for."""

    def __init__(self, field: str, got: str, expected: str) -> None:
        self.field, self.got, self.expected = field, got, expected
        super().__init__(f"{field}: got {got}; expected {expected}")

    def __str__(self) -> str:
        fits = "; these values would fit " + " or ".join(self.fits) if self.fits else ""
        return super().__str__() + fits


class Unreadable(Invalid):
    """Bytes that are not of their declared format."""


class TooLarge(Invalid):
    """A value above a stated limit."""


class NonFiniteOutput(UnmelError):
    """A reconstruction with NaN or infinities, which is never returned as audio."""


class OutOfMemory(UnmelError):
    """Too little memory on the device for a call; a smaller call may fit."""
