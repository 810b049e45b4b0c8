"""Pages in protobuf, written by an encoder of this test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbudget.inventory.protobuf import measure


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def chunk(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    """`Unknown`, as the API server sends a list and stores an object."""
    type_meta = chunk(1, api_version.encode()) + chunk(2, kind.encode())
    return b"k8s\x00" + chunk(1, type_meta) + chunk(2, raw) + chunk(3, b"") + chunk(4, b"")


def a_list(items: list[bytes], *, token: str = "", remaining: int | None = None) -> bytes:
    metadata = chunk(1, b"") + chunk(2, b"12345") + chunk(3, token.encode())
    if remaining is not None:
        metadata += number(4, remaining)
    return envelope("v1", "NamespaceList", chunk(1, metadata) + b"".join(chunk(2, item) for item in items))


def stored(item: bytes) -> int:
    return len(envelope("v1", "Namespace", item))


@given(st.lists(st.binary(min_size=130, max_size=400)), st.none() | st.integers(0, 2**40))
def test_counts_and_measures_what_etcd_stores(items: list[bytes], remaining: int | None):
    page = measure(a_list(items, token="next" if remaining else "", remaining=remaining))
    assert page.items == len(items)
    assert page.stored_bytes == sum(map(stored, items))
    assert page.remaining == remaining
    assert page.last is not bool(remaining)


def test_a_page_may_be_followed_by_an_unknown_number():
    page = measure(a_list([b"x"], token="next"))
    assert page.remaining is None
    assert page.last is False


def test_unknown_fields_of_other_types_are_skipped():
    extra = varint(9 << 3 | 1) + b"12345678" + varint(10 << 3 | 5) + b"1234" + number(11, 7)
    page = measure(envelope("v1", "NamespaceList", extra + chunk(2, b"item") + extra))
    assert page.items == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "first four bytes"),
        (b'{"items": []}', "first four bytes"),
        (b"k8s\x00", "no type and object"),
        (b"k8s\x00" + number(1, 5) + number(2, 5), "no type and object"),
        (a_list([b"x" * 200])[:-100], "cut off"),
        (b"k8s\x00\x0b", "wire type 3"),
        (b"k8s\x00\x0a", "cut off"),
        (b"k8s\x00" + b"\xff" * 20, "more than ten bytes"),
    ],
)
def test_what_is_no_list_is_refused(body: bytes, said: str):
    with pytest.raises(ValueError, match=said):
        measure(body)


@given(st.binary(max_size=300))
def test_no_answer_does_worse_than_be_refused(noise: bytes):
    try:
        page = measure(b"k8s\x00" + noise)
    except ValueError:
        return
    assert page.items >= 0
