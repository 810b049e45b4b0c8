"""The end of an answer is found wherever it is cut."""

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st

from watchbudget.localcluster.play.wire import Reply, Wire


class _Transport(asyncio.Transport):
    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.sent = data

    def is_closing(self) -> bool:
        return False


def _feed(wire: Wire, data: bytes) -> None:
    wire.get_buffer(-1)[: len(data)] = data
    wire.buffer_updated(len(data))


async def _ask(pieces: list[bytes], *, until: bytes | None = None) -> tuple[Reply | None, bool]:
    wire = Wire()
    wire.connection_made(_Transport())
    asked = asyncio.create_task(wire.ask("/", {}, until=until))
    await asyncio.sleep(0)
    early = False
    for number, piece in enumerate(pieces):
        _feed(wire, piece)
        await asyncio.sleep(0)
        early = early or (asked.done() and number < len(pieces) - 1)
    return (asked.result() if asked.done() else None), early


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\nmarked\r\n0\r\n\r\n"
SIZED = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy"


@given(st.sampled_from([CHUNKED, SIZED]), st.lists(st.integers(1, 90), max_size=8))
def test_an_answer_ends_with_its_last_byte_wherever_it_is_cut(answer: bytes, cuts: list[int]):
    edges = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    pieces = [answer[begin:end] for begin, end in itertools.pairwise(edges)]
    reply, early = asyncio.run(_ask(pieces))
    assert reply is not None
    assert not early
    assert reply.size == len(answer.partition(b"\r\n\r\n")[2])
    assert reply.status == (200 if answer is CHUNKED else 429)
    assert reply.headers.get("retry-after") == (None if answer is CHUNKED else "3")


@given(st.integers(60, 80))
def test_a_stream_is_listed_when_its_mark_went_by_even_in_two_parts(cut: int):
    stream = CHUNKED.removesuffix(b"0\r\n\r\n")
    reply, _ = asyncio.run(_ask([stream[:cut], stream[cut:]], until=b"marked"))
    assert reply is not None
    assert asyncio.run(_ask([stream], until=b"never"))[0] is None


@given(st.integers(1, 5), st.integers(60, 95))
def test_a_mark_is_seen_with_the_edge_of_a_chunk_inside(edge: int, cut: int):
    """As a server ends its chunks where its buffer is full, in the middle of an event."""
    mark = b"marked"
    first, second = b"hello" + mark[:edge], mark[edge:] + b"more"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (first, second))
    stream = CHUNKED.partition(b"5\r\n")[0] + chunks
    assert mark not in stream
    for pieces in ([stream], [stream[:cut], stream[cut:]], [bytes([each]) for each in stream]):
        assert asyncio.run(_ask(pieces, until=mark))[0] is not None
        assert asyncio.run(_ask(pieces, until=b"merked"))[0] is None
