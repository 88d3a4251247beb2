"""What can be wrong with a request, said in the domain's words (no HTTP here)."""

from __future__ import annotations


class UnmelError(Exception):
    """Anything Unmel refuses or fails to do."""


class Invalid(UnmelError):
    """A value that cannot be used: which field it is, what came, and what would do."""

    fits: tuple[str, ...] = ()
    """Presets that the value would fit, where that was looked for."""

    def __init__(self, field: str, got: str, expected: str) -> None:
        self.field, self.got, self.expected = field, got, expected
        super().__init__(f"{field}: got {got}; expected {expected}")


class Unreadable(Invalid):
    """Bytes that are not what they claim to be."""


class TooLarge(Invalid):
    """More than a stated limit allows."""


class NonFiniteOutput(UnmelError):
    """The reconstruction came out with NaN or infinities; never handed on as audio."""


class OutOfMemory(UnmelError):
    """The device had no memory for a call; a smaller one may fit."""
