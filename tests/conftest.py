"""Compiled loops are there before the first test, so that every run tests the same thing."""

from __future__ import annotations

from models.compiled import LOOPS

# At import: librosa, which other test modules import, brings numba too, and two threads must not
# be importing it at once.
assert LOOPS.wait() is not None
