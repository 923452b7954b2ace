from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable
from importlib import import_module

import pytest

from proxy.errors import BadRequest, BodyTooLarge, UpstreamProtocolError
from proxy.rules import coding
from proxy.rules.coding import accept_encoding, acceptable, decoder


@pytest.fixture(params=["zlib", "zlib_ng.zlib_ng"], autouse=True)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test with each library that undoes gzip and deflate."""
    monkeypatch.setattr(coding, "_zlib", import_module(request.param))


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def br(data: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli", minversion="1.2").compress(data, quality=3))


def zstd(data: bytes) -> bytes:
    return bytes(pytest.importorskip("backports.zstd").compress(data))


CODED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZip ", gzip.compress),
    ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),
    ("gzip", lambda data: gzip.compress(data) + b"\0" * 9),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", br),
    ("zstd", zstd),
    ("zstd", lambda data: zstd(data[:7]) + zstd(data[7:])),
    ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
    ("gzip, identity,deflate", lambda data: raw_deflate(gzip.compress(data))),
    ("identity", lambda data: data),
    ("", lambda data: data),
]
BODY = b'{"resourceType":"Patient"}' * 20


def decoded(content_encoding: str, *chunks: bytes) -> bytes:
    undo = decoder(content_encoding, UpstreamProtocolError)
    assert undo is not None
    body = b"".join(piece for chunk in chunks for piece in undo.feed(chunk))
    undo.flush()
    return body


@pytest.mark.parametrize(("content_encoding", "encode"), CODED)
@pytest.mark.parametrize("body", [BODY, b"", b"x"])
def test_body_comes_out_wherever_it_is_cut(
    content_encoding: str, encode: Callable[[bytes], bytes], body: bytes
) -> None:
    coded = encode(body)
    cuts = [(coded,), tuple(coded[at : at + 1] for at in range(len(coded)))]
    cuts += [(coded[:at], coded[at:]) for at in range(len(coded))]

    assert {body} == {decoded(content_encoding, *chunks) for chunks in cuts}


@pytest.mark.parametrize("content_encoding", ["gzip", "deflate", "deflate, gzip"])
def test_body_that_is_empty_needs_no_coding(content_encoding: str) -> None:
    assert decoded(content_encoding) == decoded(content_encoding, b"", b"") == b""


@pytest.mark.parametrize(
    ("content_encoding", "encode"), [case for case in CODED if case[0] not in {"identity", ""}]
)
def test_body_that_ends_early_is_an_error(content_encoding: str, encode: Callable[[bytes], bytes]) -> None:
    coded = encode(BODY).rstrip(b"\0")

    with pytest.raises(UpstreamProtocolError, match="ends in the middle of its"):
        decoded(content_encoding, coded[:-4])


@pytest.mark.parametrize(
    ("content_encoding", "coded"),
    [
        ("gzip", b"not gzip at all"),
        ("gzip", gzip.compress(BODY) + b"garbage"),
        ("gzip", gzip.compress(BODY)[:-8] + b"\0" * 8),
        ("deflate", b"\x07\xff\xff"),
        ("deflate", zlib.compress(BODY) + b"x"),
        ("gzip, deflate", zlib.compress(BODY)),
    ],
)
def test_damaged_body_is_an_error(content_encoding: str, coded: bytes) -> None:
    with pytest.raises(UpstreamProtocolError, match=r"is not (gzip|deflate) data"):
        decoded(content_encoding, coded)


@pytest.mark.parametrize(("name", "encode"), [("br", br), ("zstd", zstd)])
def test_damaged_body_of_an_optional_coding_is_an_error(name: str, encode: Callable[[bytes], bytes]) -> None:
    coded = encode(BODY)

    for chunks in [(b"\xff" * 9,), (coded, b"garbage"), (coded + b"garbage",)]:
        with pytest.raises(UpstreamProtocolError, match=f"is not {name} data"):
            decoded(name, *chunks)


@pytest.mark.parametrize(
    ("content_encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", raw_deflate),
        ("br", br),
        ("zstd", zstd),
        ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    ],
)
def test_bomb_is_an_error_of_the_kind_asked_for(
    content_encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    bomb = encode(bytes(64 * 1024 * 1024))
    undo = decoder(content_encoding, BadRequest, BodyTooLarge)
    assert undo is not None

    with pytest.raises(BodyTooLarge, match="more than 500 times its size"):
        list(undo.feed(bomb))


@pytest.mark.parametrize(("name", "encode"), [("gzip", gzip.compress), ("br", br), ("zstd", zstd)])
def test_memory_stays_flat(name: str, encode: Callable[[bytes], bytes]) -> None:
    noise = random.Random(0)
    coded = encode(b"".join(noise.randbytes(1000) + bytes(100_000) for _ in range(300)))
    undo = decoder(name, UpstreamProtocolError)
    assert undo is not None
    tracemalloc.start()
    size = sum(len(piece) for piece in undo.feed(coded))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size == 101_000 * 300
    assert peak < 16 * coding.MOST_PIECE


@pytest.mark.parametrize(
    "content_encoding", ["compress", "gzip, aes128gcm", "gzip,gzip,gzip,gzip", "gzip;q=1"]
)
def test_coding_that_cannot_be_undone(content_encoding: str) -> None:
    assert decoder(content_encoding, UpstreamProtocolError) is None


def test_what_is_asked_for_can_be_undone() -> None:
    asked = accept_encoding().decode().split(", ")

    assert asked[:2] == ["gzip", "deflate"]
    assert all(decoder(name, UpstreamProtocolError) for name in asked)


@pytest.mark.parametrize(
    ("field", "name", "expected"),
    [
        (None, "gzip", True),
        (None, "identity", True),
        ("", "gzip", False),
        ("", "identity", True),
        ("gzip, deflate", "gzip", True),
        ("gzip, deflate", "br", False),
        ("gzip, deflate", "identity", True),
        ("GZIP;Q=0.5", "gzip", True),
        ("x-gzip", "gzip", True),
        ("gzip", "X-Gzip", True),
        ("gzip;q=0", "gzip", False),
        ("gzip ; q=0.000", "gzip", False),
        ("*", "br", True),
        ("*;q=0", "gzip", False),
        ("*;q=0", "identity", False),
        ("gzip, *;q=0", "gzip", True),
        ("gzip, *;q=0", "identity", False),
        ("identity;q=0", "identity", False),
        ("identity, *;q=0", "identity", True),
        ("gzip;q=x", "gzip", False),
        (" , gzip", "gzip", True),
    ],
)
def test_acceptable(field: str | None, name: str, expected: bool) -> None:
    assert expected == acceptable(field, name)
