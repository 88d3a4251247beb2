"""Keys: split from a text, compared in constant time, told apart by their labels, never stored."""

from __future__ import annotations

import pytest

from unmel.service.errors import Unauthorized
from unmel.service.ops.keys import Key, Keys, split_keys

KEY, OTHER = "0123456789abcdef-one", "0123456789abcdef-two"


def test_keys_are_compared_as_wholes_and_kept_as_digests() -> None:
    keys = Keys([Key("team-a", KEY)])
    assert keys.check(f"Bearer {KEY}".encode()) == "team-a"
    for wrong in (
        b"",
        None,
        b"Bearer",
        f"Bearer {OTHER}".encode(),
        f"Bearer team-a:{KEY}".encode(),
    ):
        with pytest.raises(Unauthorized):
            keys.check(wrong)
    assert KEY not in repr(vars(keys)) + repr(Key("team-a", KEY))
    assert not Keys([])


def labelled(text: str) -> list[tuple[str, str]]:
    return [(key.label, key.secret) for key in split_keys({"api_keys": text})]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (f"{KEY}, {OTHER},", [("unlabelled", KEY), ("unlabelled", OTHER)]),
        (f"team-a:{KEY}\n{OTHER}", [("team-a", KEY), ("unlabelled", OTHER)]),
        (f"a:{KEY},a:{OTHER}", [("a", KEY), ("a", OTHER)]),  # one team, while its key is changed
        (f"a:{KEY}:x::y", [("a", f"{KEY}:x::y")]),
        (f"{'a' * 32}:{KEY}", [("a" * 32, KEY)]),
        ("", []),
    ],
)
def test_an_entry_is_a_key_or_a_label_and_a_key(text: str, keys: list[tuple[str, str]]) -> None:
    assert labelled(text) == keys


@pytest.mark.parametrize(
    "text", ["short", KEY + ",short", f"{KEY} {KEY}", "ü" * 20, "a:", "a:short"]
)
def test_a_key_that_is_easily_guessed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="plain characters"):
        labelled(text)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (f":{KEY}", "no label"),
        (f"Team:{KEY}", "no label"),
        (f"team a:{KEY}", "no label"),
        (f'team"a:{KEY}', "no label"),
        (f"{'a' * 33}:{KEY}", "no label"),
        (f"{KEY}:{KEY}", "a key that has a colon itself needs a label"),
        (f"none:{KEY}", "the service's own"),
        (f"unlabelled:{KEY}", "the service's own"),
        (OTHER, "the same key as api_keys: entry 1 of 2"),
        (f"b:{OTHER}", "the same key as api_keys: entry 1 of 2"),
    ],
)
def test_a_faulty_entry_is_named_by_its_number_and_not_quoted(entry: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"api_keys: entry 2 of 2.*{reason}") as caught:
        labelled(f"{OTHER},{entry}")
    assert "0123456789" not in str(caught.value)


def test_a_key_may_not_be_in_both_sources() -> None:
    with pytest.raises(
        ValueError, match="api_keys_file: entry 1 of 1 has the same key as api_keys"
    ):
        split_keys({"api_keys": f"a:{KEY}", "api_keys_file": KEY})
