"""How a loop is compiled, and what it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def loop(signature: str | None = None) -> Callable[[F], F]:
    """Compile for these types now; without any, when a caller is compiled."""
    options: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",  # a division by zero is infinite, not an exception
        "cache": bool(numba.config.CACHE_DIR),  # type: ignore[attr-defined] # set at import
    }

    def compiled(function: F) -> F:
        settings: Any = numba.config
        before, settings.SLP_VECTORIZE = settings.SLP_VECTORIZE, 1  # eight sums are one vector's
        try:
            return cast(F, numba.njit(signature, **options)(function))
        finally:
            settings.SLP_VECTORIZE = before

    return compiled
