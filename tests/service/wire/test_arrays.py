"""Arrays by name: what numpy and safetensors write is read, and what lies is refused cheaply."""

from __future__ import annotations

import contextlib
import io
import json
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.asking import HIFIGAN, MEL, npy, post, read
from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.service.wire.arrays import (
    ARRAY_TYPES,
    NPZ,
    SAFETENSORS,
    parse_arrays,
)
from unmel.service.wire.named_arrays import parse_npz, parse_safetensors

ANY = "application/octet-stream"
SMALL = np.arange(12, dtype=np.float32).reshape(3, 4)
MB = 2**20


def npz(compressed: bool = False, **arrays: Any) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def tensors(**arrays: Any) -> bytes:
    return safetensors.torch.save({n: torch.as_tensor(a).clone() for n, a in arrays.items()})


def by_hand(header: Any, values: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + values


def entry(shape: Any, start: Any = 0, end: Any = 48, dtype: Any = "F32") -> dict[str, Any]:
    return {"mel": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2"])
def test_npz_is_read(compressed: bool, dtype: str) -> None:
    array = SMALL.astype(dtype)
    got = parse_npz("mel", npz(compressed, mel=array, other=SMALL), MB)
    np.testing.assert_array_equal(got["mel"], array)
    assert set(got) == {"mel"}


WIDTHS = [getattr(torch, f"float{bits}") for bits in (16, 32, 64)] + [torch.bfloat16]
WHOLE = [getattr(torch, kind) for kind in ("int8", "uint8", "int16", "int32", "int64", "uint16")]


@pytest.mark.parametrize("dtype", WIDTHS + WHOLE)
def test_safetensors_are_read_in_every_width(dtype: torch.dtype) -> None:
    array = torch.linspace(0.5, 12.0, 12).reshape(3, 4).to(dtype)
    got = parse_safetensors("mel", tensors(mel=array, other=array[:1]))
    np.testing.assert_array_equal(got["mel"], array.double().numpy())
    assert set(got) == {"mel"}


@pytest.mark.parametrize("data", [npz(x=SMALL), tensors(x=SMALL), npy(SMALL)])
def test_a_file_of_one_array_needs_no_name_and_its_bytes_tell_what_it_is(data: bytes) -> None:
    np.testing.assert_array_equal(parse_arrays("mel", data, ANY, MB)["mel"], SMALL)


@pytest.mark.parametrize("data", [npz(a=SMALL, b=SMALL), tensors(a=SMALL, b=SMALL), npz()])
def test_of_several_arrays_one_must_be_named_for_the_field(data: bytes) -> None:
    with pytest.raises(Invalid, match="an array named 'mel'"):
        parse_arrays("mel", data, ANY, MB)


def test_an_archive_that_unpacks_to_more_than_allowed_takes_no_memory() -> None:
    bomb = npz(compressed=True, mel=np.zeros(50 * MB, np.uint8))
    assert len(bomb) < MB
    tracemalloc.start()
    with pytest.raises(TooLarge):
        parse_npz("mel", bomb, MB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * MB


def test_an_archive_that_lies_about_its_size_is_refused() -> None:
    data = bytearray(npz(compressed=True, mel=np.zeros(50_000, np.uint8)))
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(signature)
        data[start + place : start + place + 4] = (200).to_bytes(4, "little")
    with pytest.raises(Unreadable):
        parse_npz("mel", bytes(data), 1000)


def test_a_member_that_is_no_array_is_unreadable() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("mel.npy", b"\x93NUMPY\x01\x00garbage")
    with pytest.raises(Unreadable):
        parse_npz("mel", stream.getvalue(), MB)


# --- neighbours ---------------------------------------------------------------------------------

NEIGHBOURS: dict[str, Any] = {
    "text": np.array("a name"),
    "flag": np.array([True, False]),
    "lengths": np.array([4], np.int64),
    "objects": np.array([{"a": 1}, None], dtype=object),
    "complex": np.zeros(3, complex),
    "record": np.zeros(2, [("a", "f4"), ("b", "U8")]),
    **{f"a{n}": SMALL for n in range(20)},
}


@pytest.mark.parametrize("compressed", [False, True])
def test_what_lies_beside_the_mel_in_an_npz_is_not_read(compressed: bool) -> None:
    data = npz(compressed, **NEIGHBOURS, mel=SMALL, phases=2 * SMALL)
    got = parse_arrays("mel", data, ANY, MB, ["phases"])
    np.testing.assert_array_equal(got["mel"], SMALL)
    np.testing.assert_array_equal(got["phases"], 2 * SMALL)
    assert set(got) == {"mel", "phases"}
    assert set(parse_arrays("phases", data, ANY, MB)) == {"phases"}


def test_a_bomb_beside_the_mel_is_not_unpacked() -> None:
    data = npz(compressed=True, mel=SMALL, bomb=np.zeros(50 * MB, np.uint8))
    tracemalloc.start()
    np.testing.assert_array_equal(parse_npz("mel", data, MB)["mel"], SMALL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MB


def test_broken_bytes_beside_the_mel_are_not_looked_at() -> None:
    stream = io.BytesIO(npz(mel=SMALL))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("other.npy", b"\x93NUMPY\x01\x00garbage")
        archive.writestr("notes.txt", "garbage")
        archive.writestr("folder/", "")
    np.testing.assert_array_equal(parse_npz("mel", stream.getvalue(), MB)["mel"], SMALL)


@pytest.mark.parametrize("name", ["mel", "mel.npy", "batch/mel.npy", "a/b/mel"])
def test_a_mel_may_lie_in_a_folder_and_lack_its_ending(name: str) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, npy(SMALL))
        archive.writestr("x.npy", npy(2 * SMALL))
        archive.writestr("y.npy", npy(2 * SMALL))
    np.testing.assert_array_equal(parse_npz("mel", stream.getvalue(), MB)["mel"], SMALL)
    data = tensors(**{name.removesuffix(".npy"): SMALL, "x": 2 * SMALL, "y": SMALL})
    np.testing.assert_array_equal(parse_safetensors("mel", data)["mel"], SMALL)


def test_what_lies_beside_the_mel_in_safetensors_is_not_read() -> None:
    """Also of kinds that the library itself may not know yet."""
    others = {
        kind: {"dtype": kind, "shape": shape, "data_offsets": [48 + n, 49 + n]}
        for n, (kind, shape) in enumerate([("BOOL", [1]), ("F8_E4M3", [1]), ("F99", "?"), (3, [])])
    }
    header = {"__metadata__": {"sample_rate": "22050"}, **entry([3, 4]), **others}
    data = by_hand(header, SMALL.tobytes() + bytes(4))
    got = parse_arrays("mel", data, ANY, MB, ["phases"])
    np.testing.assert_array_equal(got["mel"], SMALL)
    assert set(got) == {"mel"}


def test_safetensors_do_not_keep_or_copy_a_large_neighbour() -> None:
    header = {**entry([3, 4]), "big": {"dtype": "U8", "shape": [8 * MB]}}
    header["big"]["data_offsets"] = [48, 48 + 8 * MB]
    data = by_hand(header, SMALL.tobytes() + bytes(8 * MB))
    tracemalloc.start()
    got = parse_safetensors("mel", data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(got["mel"], SMALL)
    assert peak < MB


def test_one_array_beside_those_that_have_a_meaning_is_the_mel() -> None:
    data = npz(spectrum=SMALL, phases=2 * SMALL)
    got = parse_arrays("mel", data, ANY, MB, ["phases"])
    np.testing.assert_array_equal(got["mel"], SMALL)
    np.testing.assert_array_equal(got["phases"], 2 * SMALL)


@pytest.mark.parametrize("make", [npz, tensors])
def test_a_file_without_a_mel_is_told_the_names_that_it_has(make: Any) -> None:
    with pytest.raises(Invalid) as caught:
        parse_arrays("mel", make(**{f"array{n:02}": SMALL for n in range(30)}), ANY, MB)
    assert "'array00', 'array01'" in caught.value.got
    assert "and 22 more" in caught.value.got
    assert len(caught.value.got) < 200


def test_a_mel_of_objects_is_named_as_such_with_the_way_out() -> None:
    ragged = np.array([SMALL, SMALL[:2]], dtype=object)
    with pytest.raises(Invalid, match=r"dtype object.*mel\.astype"):
        parse_npz("mel", npz(mel=ragged, other=SMALL), MB)


def test_thousands_of_arrays_are_refused_before_they_are_listed() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for n in range(1001):
            archive.writestr(f"a{n}.npy", b"")
    with pytest.raises(TooLarge, match="1001 arrays"):
        parse_npz("mel", stream.getvalue(), MB)
    with pytest.raises(TooLarge, match="too many lists"):
        parse_safetensors("mel", by_hand({f"a{n}": entry([0], 0, 0)["mel"] for n in range(2000)}))


def test_a_packing_that_numpy_does_not_write_is_refused() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("mel.npy", npy(SMALL))
    with pytest.raises(Unreadable, match="method 14"):
        parse_npz("mel", stream.getvalue(), MB)


# --- safetensors that lie -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8 + b"{}",
        by_hand(b"{"),
        by_hand([1]),
        by_hand({"mel": 3}),
        by_hand({"mel": {}}),
        by_hand(entry([3, 4]), bytes(47)),
        by_hand(entry([3, 4], 0, 44), bytes(48)),
        by_hand(entry([3, 5]), bytes(48)),
        by_hand(entry([-3, -4]), bytes(48)),
        by_hand(entry([2**31, 2**31]), bytes(48)),
        by_hand(entry([True, 12]), bytes(48)),
        by_hand(entry([3, 4], 48, 0), bytes(48)),
        by_hand(entry("34"), bytes(48)),
        by_hand(entry([3, 4], None), bytes(48)),
        by_hand(entry({}, 0, 4), bytes(4)),
        by_hand(entry([1] * 65, 0, 4), bytes(4)),
        by_hand(entry([0, *[2**30] * 3], 0, 0)),
        by_hand(entry([0, 2**64 - 1], 0, 0)),
        by_hand(entry([12], 4, 52), bytes(52)),
        by_hand(entry([12]), bytes(52)),
        (2**40).to_bytes(8, "little") + b"{}",
    ],
)
def test_safetensors_that_lie_are_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        parse_safetensors("mel", data)


def test_safetensors_whose_arrays_share_their_values_take_no_memory() -> None:
    """Sixteen names for one array of bf16 would be widened to 32 times the file."""
    same = entry([MB // 2], 0, MB, "BF16")["mel"]
    data = by_hand({f"a{n}": same for n in range(16)}, bytes(MB))
    tracemalloc.start()
    with pytest.raises(Unreadable, match="one by one"):
        parse_safetensors("mel", data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MB


def test_a_long_header_of_safetensors_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(Unreadable, match="a safetensors header of over 1048576 bytes"):
        parse_safetensors("mel", by_hand({"__metadata__": {"x": "x" * MB}}))


@pytest.mark.parametrize(("dtype", "width"), [("C64", 8), ("F8_E4M3", 1), ("BOOL", 1)])
def test_a_sound_file_of_another_kind_is_told_from_one_that_lies(dtype: str, width: int) -> None:
    with pytest.raises(
        Invalid, match=f"safetensors of dtype '{dtype}'; expected one of F16"
    ) as refusal:
        parse_safetensors("mel", by_hand(entry([12], 0, 12 * width, dtype), bytes(12 * width)))
    assert not isinstance(refusal.value, Unreadable)


@pytest.mark.parametrize("dtype", ["F99", "F8_E4M3", 3, None])
def test_safetensors_of_another_kind_are_refused(dtype: object) -> None:
    with pytest.raises(Invalid, match="one of F16, BF16, F32, F64"):
        parse_safetensors("mel", by_hand(entry([3, 4], dtype=dtype), bytes(48)))


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), start=st.sampled_from([b"", npz(mel=SMALL), tensors(a=SMALL)]))
def test_random_bytes_never_raise_anything_but_a_refusal(data: bytes, start: bytes) -> None:
    for cut in (len(start), len(start) // 2):
        with contextlib.suppress(Invalid):
            parse_arrays("mel", start[:cut] + data + start[cut:], ANY, MB, ["phases"])


@pytest.mark.parametrize("media", sorted(ARRAY_TYPES))
def test_every_media_type_gives_the_same_bytes(client: TestClient, media: str) -> None:
    data = {NPZ: npz(mel=MEL), SAFETENSORS: tensors(mel=MEL)}.get(ARRAY_TYPES[media], npy(MEL))
    params = {"config": "hifigan-22k", "n_iter": 4}
    answer = client.post(
        "/reconstruct", params=params, content=data, headers={"Content-Type": media}
    )
    assert read(answer).shape == read(post(client)).shape
    assert answer.content == post(client).content


def test_phases_may_lie_beside_the_mel_in_the_file_or_in_a_file_of_their_own(
    client: TestClient,
) -> None:
    phases = np.zeros((HIFIGAN.n_bins, MEL.shape[1]), np.float32)
    options = {"config": "hifigan-22k", "n_iter": 4}
    files = [
        {"mel": npz(mel=MEL, phases=phases)},
        {"mel": npz(mel=MEL, phases=phases, **NEIGHBOURS)},
        {"mel": tensors(mel=MEL, phases=phases)},
        {"mel": npy(MEL), "phases": npz(phases=phases)},
        {"mel": tensors(x=MEL), "phases": npy(phases)},
    ]
    answers = [client.post("/reconstruct", data=options, files=each) for each in files]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].content != post(client).content
