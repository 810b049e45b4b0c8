"""The size of objects as etcd stores them, from one page of a list in Kubernetes' protobuf. Pure.

Built-in objects are stored as protobuf, half the size of their JSON, so a page in JSON would say
too much. No schema is needed: of a page only the number and length of its items count.

The wire format: https://protobuf.dev/programming-guides/encoding/; the messages `Unknown` and
`ListMeta`: generated.proto of k8s.io/apimachinery pkg/runtime and pkg/apis/meta/v1. Every list type
has its metadata in field 1 and its items in field 2.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

__all__ = ["Page", "measure"]

_MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_OVERHEAD = 4
"""Bytes of an `Unknown` that neither its type nor its object accounts for: two empty strings."""


class Page(Struct, frozen=True):
    """One page of a list.

    Attributes:
        items: objects on the page.
        stored_bytes: what etcd stores for them, bytes: value only, without keys.
        remaining: objects after this page; None where the server does not say.
        last: whether no page follows.
    """

    items: int
    stored_bytes: int
    remaining: int | None
    last: bool


def measure(body: bytes) -> Page:
    """Count and measure the items of a page.

    Raises:
        ValueError: this is no list in Kubernetes' protobuf.
    """
    if not body.startswith(_MAGIC):
        raise ValueError("not Kubernetes protobuf: the first four bytes are not 'k8s\\0'")
    unknown = dict(_fields(body[len(_MAGIC) :]))
    type_meta, raw = unknown.get(1), unknown.get(2)
    if not isinstance(type_meta, bytes) or not isinstance(raw, bytes):
        raise ValueError("not Kubernetes protobuf: no type and object inside")  # noqa: TRY004 - bytes of a server
    remaining: int | None = None
    last = True
    items = stored = 0
    for number, value in _fields(raw):
        if number == 1 and isinstance(value, bytes):
            metadata = dict(_fields(value))
            last = not metadata.get(3)
            left = metadata.get(4)
            remaining = left if isinstance(left, int) else None
        elif number == 2 and isinstance(value, bytes):
            items += 1
            stored += len(value)
    envelope = len(_MAGIC) + 2 + len(type_meta) - len(b"List") + 3 + _OVERHEAD
    return Page(items, stored + items * envelope, remaining, last)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == _BYTES:
            length, position = _varint(message, position)
        elif wire in {_FIXED64, _FIXED32}:
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {position}")
        if position + length > len(message):
            raise ValueError("the message is cut off")
        yield number, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("the message is cut off")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number of more than ten bytes")
