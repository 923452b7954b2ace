from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.client_heads import LARGEST_HEAD, LONGEST_LINE, HeadLimit
from proxy.rules.guards import LARGEST_FIELDS, LONGEST_TARGET

from .attacks.ground import get, ground


class Tool(asyncio.Transport):
    """A tool's end of a connection, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.told = b""
        self.is_read = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.told += data

    def write_eof(self) -> None:
        self.told += b"<end>"

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def abort(self) -> None:
        self.told += b"<abort>"


@pytest.fixture
async def tool() -> Tool:
    return Tool()


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


LINE = b"GET /" + b"p" * (LONGEST_TARGET - 1) + b" HTTP/1.1\r\n"
LARGEST = LINE + b"X: " + b"v" * (LARGEST_FIELDS - 5) + b"\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000, 65536, 262144])
async def test_largest_head_that_guards_let_pass_is_parsed(tool: Tool, size: int) -> None:
    limit = HeadLimit(tool)
    for _ in range(3):
        assert all(limit.takes(piece) for piece in cut(LARGEST, size))
        limit.begin_exchange(lambda: True)
        limit.end_exchange()

    assert b"" == tool.told


TOO_LARGE = [
    (b"GET /" + b"p" * LONGEST_LINE, b"414 "),
    (b"p" * LONGEST_LINE + b"\r\n", b"414 "),
    (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * (LARGEST_HEAD // 6), b"431 "),
    (b"GET / HTTP/1.1\r\nX: " + b"v" * LARGEST_HEAD, b"431 "),
    (b"GET / HTTP/1.1\r\nX: " + b"v" * LARGEST_HEAD + b"\r\n\r\n", b"431 "),
    (b"GET / HTTP/1.1\nX: " + b"v\r" * LARGEST_HEAD + b"\n\n", b"431 "),
]


@pytest.mark.parametrize(("head", "status"), TOO_LARGE, ids=lambda value: repr(value)[:30])
@pytest.mark.parametrize("size", [1, 1000, 10**6])
async def test_larger_one_is_answered_and_read_no_further(
    tool: Tool, head: bytes, status: bytes, size: int
) -> None:
    limit = HeadLimit(tool)
    taken = [limit.takes(piece) for piece in cut(head, size)]

    assert tool.told.startswith(b"HTTP/1.1 " + status)
    assert tool.told.endswith(b"<end>")
    assert b"OperationOutcome" in tool.told
    assert not taken[-1]
    assert not limit.takes(b"\r\n\r\n")
    assert sum(taken) * size <= LARGEST_HEAD


async def test_body_is_no_head(tool: Tool) -> None:
    limit, whole = HeadLimit(tool), False
    assert limit.takes(b"POST / HTTP/1.1\r\n\r\n" + b"b" * LARGEST_HEAD)
    assert limit.takes(b"b" * LARGEST_HEAD)
    limit.begin_exchange(lambda: whole)
    assert limit.takes(b"b" * LARGEST_HEAD)
    assert tool.is_read
    limit.end_exchange()
    assert limit.takes(b"b" * (LARGEST_HEAD + 1))

    assert b"" == tool.told


async def test_what_is_sent_ahead_waits(tool: Tool) -> None:
    limit = HeadLimit(tool)
    limit.takes(b"GET / HTTP/1.1\r\n\r\n")
    limit.begin_exchange(lambda: True)
    assert limit.takes(b"x" * LARGEST_HEAD)
    assert tool.is_read
    assert limit.takes(b"x")
    assert not tool.is_read
    limit.end_exchange()
    assert tool.is_read


@given(
    heads=st.lists(
        st.lists(st.sampled_from([b"A: 1", b"\r", b"b" * 2000, b":"]), max_size=20), min_size=1, max_size=20
    ),
    size=st.integers(1, 5000),
)
def test_number_of_heads_on_a_connection_has_no_bound(heads: list[list[bytes]], size: int) -> None:
    tool = Tool()
    limit = HeadLimit(tool)
    for lines in heads:
        head = b"\r\n".join([b"GET / HTTP/1.1", *(b"x" + line for line in lines)]) + b"\r\n\r\n"
        assert all(limit.takes(piece) for piece in cut(head, size))
        limit.begin_exchange(lambda: True)
        limit.end_exchange()


async def test_connection_that_sends_head_after_head_takes_little_memory() -> None:
    async with ground() as here:
        pieces = [b"X: " + b"y" * 20_000 + b"\r\n"] * 300
        (answer,) = await here.ask(b"GET /Patient HTTP/1.1\r\nHost: %h\r\n", *pieces)
        assert 431 == answer.status
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        for _ in range(3):
            writer.write(here.filled(get(b"/Patient/1").replace(b"Connection: close\r\n", b"")))
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"GET /" + b"p" * 100_000)
        assert (await reader.read()).startswith(b"HTTP/1.1 414 ")
        writer.close()
        assert await here.is_healthy()
