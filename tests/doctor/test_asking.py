from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.doctor.asking import Reply, ask, request
from proxy.errors import UpstreamProtocolError
from proxy.model import BaseUrl, Fields, ResponseHead
from proxy.upstream import Upstream

from ..fakes.byte_server import Peer, byte_server
from ..fakes.clock import FakeClock

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC


def reply(date: str = "", body: bytes = b"") -> Reply:
    fields = Fields(((b"Date", date.encode("utf-8")),)) if date else Fields()
    return Reply(ResponseHead(200, b"OK", fields), body, NOW, NOW + 2)


SKEWS = [
    ("Fri, 15 Jan 2027 08:00:00 GMT", 0.0),
    ("Fri, 15 Jan 2027 08:00:02 GMT", 0.0),
    ("Fri, 15 Jan 2027 08:00:02 -0000", 0.0),
    ("Fri, 15 Jan 2027 07:59:59 GMT", 0.0),
    ("Fri, 15 Jan 2027 07:59:00 GMT", -59.0),
    ("Fri, 15 Jan 2027 08:01:02 GMT", 60.0),
    ("yesterday", None),
    ("", None),
]


@pytest.mark.parametrize(("date", "skew"), SKEWS)
def test_skew_is_what_the_exchange_itself_does_not_explain(date: str, skew: float | None) -> None:
    assert skew == reply(date).skew()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_date_can_be_read(date: str) -> None:
    skew = reply(date).skew()

    assert skew is None or isinstance(skew, float)


BODIES = [
    (b'{"issue":[{"diagnostics":"no"}]}', "no"),
    (b'{"issue":[{"diagnostics":"no\\nmore"}]}', "no"),
    (b'{"issue":[]}', ""),
    (b'{"issue":["text"]}', ""),
    (b'{"issue":[{"diagnostics":1}]}', ""),
    (b"[1]", ""),
    (b"<html>", ""),
    (b"", ""),
    (b"[" * 100_000, ""),
]


@pytest.mark.parametrize(("body", "said"), BODIES, ids=range(len(BODIES)))
def test_diagnostics_are_the_first_issues_own(body: bytes, said: str) -> None:
    assert said == reply(body=body).diagnostics()


async def test_endless_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.doctor.asking.LARGEST_ANSWER", 1000)
    body = json.dumps("x" * 2000).encode()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with byte_server(script) as server:
        base = BaseUrl("http", "127.0.0.1", server.port)
        upstream = Upstream(base, tls=None)
        with pytest.raises(UpstreamProtocolError, match="more than"):
            await ask(upstream, request(base, "metadata"), FakeClock())
        await upstream.close()
