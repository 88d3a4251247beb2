"""How many cases the property tests and the fuzzing went through, counted to be printed."""

from __future__ import annotations

from collections import Counter

CASES: Counter[str] = Counter()
"""By what was tried."""
