"""Keys: split from a text, compared in constant time, never stored."""

from __future__ import annotations

import pytest

from unmel.service.errors import Unauthorized
from unmel.service.ops.keys import Keys, split_keys

KEY, OTHER = "0123456789abcdef-one", "0123456789abcdef-two"


def test_keys_are_compared_as_wholes_and_kept_as_digests() -> None:
    keys = Keys([KEY])
    keys.check(f"Bearer {KEY}".encode())
    for wrong in (b"", None, b"Bearer", f"Bearer {OTHER}".encode()):
        with pytest.raises(Unauthorized):
            keys.check(wrong)
    assert KEY not in repr(vars(keys))
    assert not Keys([])


@pytest.mark.parametrize("text", ["short", KEY + ",short", f"{KEY} {KEY}", "ü" * 20])
def test_a_key_that_is_easily_guessed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="plain characters"):
        split_keys(text)
