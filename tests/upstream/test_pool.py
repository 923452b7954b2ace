from __future__ import annotations

import asyncio

import pytest

from proxy.errors import ProxyUnavailable, UpstreamUnreachable
from proxy.upstream import Timeouts, Upstream
from proxy.upstream.connection import Connection
from tests.fakes.byte_server import Peer, answering, byte_server

from .conftest import OK, Connect, pieces, request, sized, whole


async def body_of(upstream: Upstream, method: str = "GET") -> bytes:
    return await whole(await upstream.send(request(method)))


async def test_connection_is_used_again(connect: Connect) -> None:
    async with byte_server(answering(*[sized(b"%d" % n) for n in range(5)])) as server:
        upstream = connect(server.port)
        bodies = [await body_of(upstream, method) for method in ("GET", "POST", "PUT", "DELETE", "PATCH")]

    assert (bodies, server.accepted) == ([b"0", b"1", b"2", b"3", b"4"], 1)


async def test_connection_used_last_is_used_first(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.send(sized(b"%d" % peer.number))

    async with byte_server(script) as server:
        upstream = connect(server.port)
        together = await asyncio.gather(*[body_of(upstream) for _ in range(3)])
        last = upstream._pool.idle._kept[-1]
        await body_of(upstream)

        assert sorted(together) == [b"1", b"2", b"3"]
        assert upstream._pool.idle._kept[-1] is last


NOT_KEPT = {
    "Connection: close": OK + b"Connection: close\r\nContent-Length: 1\r\n\r\na",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
    "kept for no time": OK + b"Keep-Alive: timeout=1\r\nContent-Length: 1\r\n\r\na",
    "surplus with the end": sized(b"a") + sized(b"another patient"),
    "surplus line end": sized(b"a") + b"\r\n",
    "surplus after chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" + sized(b"other"),
}


@pytest.mark.parametrize("case", NOT_KEPT)
async def test_connection_that_is_not_fit_is_closed(connect: Connect, case: str) -> None:
    async with byte_server(answering(NOT_KEPT[case])) as server:
        upstream = connect(server.port)
        bodies = [await body_of(upstream), await body_of(upstream)]
        await server.until_closed()

    assert (bodies, server.accepted) == ([b"a", b"a"], 2)


async def test_surplus_answer_on_an_idle_connection_reaches_nobody(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(sized(b"patient %d" % peer.number))
        await idle.wait()
        await peer.send(sized(b"of somebody else"))

    idle = asyncio.Event()
    async with byte_server(script) as server:
        upstream = connect(server.port)
        first = await body_of(upstream)
        idle.set()
        await server.until_closed()
        second = await body_of(upstream)

    assert (first, second, server.accepted) == (b"patient 1", b"patient 2", 2)


async def test_surplus_answer_that_the_event_loop_has_not_seen_yet_reaches_nobody(connect: Connect) -> None:
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await peer.head()
        await peer.send(sized(b"patient %d" % peer.number))

    async with byte_server(script) as server:
        upstream = connect(server.port)
        first = await body_of(upstream)
        # Straight to the system, and on to the next request without giving the loop a turn.
        peers[0].writer.write(sized(b"of somebody else"))
        second = await body_of(upstream)

    assert (first, second, server.accepted) == (b"patient 1", b"patient 2", 2)


async def test_server_that_speaks_first_is_not_heard(connect: Connect) -> None:
    listening = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.send(sized(b"unasked"))
        listening.set()

    async with byte_server(script) as server:
        upstream = connect(server.port)
        connection = await upstream._dial()
        await listening.wait()
        await server.until_closed()

        assert connection.closed


async def test_connection_that_the_server_closed_is_not_used(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(sized(b"%d" % peer.number))
        peer.close()

    async with byte_server(script) as server:
        upstream = connect(server.port)
        bodies = []
        for _ in range(3):
            bodies.append(await body_of(upstream, "POST"))
            await server.until_closed()

    assert bodies == [b"1", b"2", b"3"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_idempotent_request_is_sent_again_when_a_used_connection_died(
    connect: Connect, method: str
) -> None:
    async with byte_server(dying_at_the_second_request) as server:
        upstream = connect(server.port)
        await body_of(upstream)
        answer = await upstream.send(request(method))

    assert (answer.head.status, server.accepted) == (200, 2)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_other_request_is_never_sent_again(connect: Connect, method: str) -> None:
    async with byte_server(dying_at_the_second_request) as server:
        upstream = connect(server.port)
        await body_of(upstream)
        with pytest.raises(UpstreamUnreachable, match="closed the connection without an answer"):
            await upstream.send(request(method))

    assert server.accepted == 1


async def test_request_whose_body_was_touched_is_never_sent_again(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(sized(b"a"))
        await peer.reader.readuntil(b"0\r\n\r\n")
        peer.close()

    async with byte_server(script) as server:
        upstream = connect(server.port)
        await body_of(upstream)
        with pytest.raises(UpstreamUnreachable, match="without an answer"):
            await upstream.send(request("PUT"), pieces(b"abc"))

    assert server.accepted == 1


async def test_request_that_was_half_answered_is_never_sent_again(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(sized(b"a"))
        await peer.head()
        await peer.send(b"HTTP/1.1 2")
        peer.close()

    async with byte_server(script) as server:
        upstream = connect(server.port)
        await body_of(upstream)
        with pytest.raises(UpstreamUnreachable, match="broke off"):
            await upstream.send(request())

    assert server.accepted == 1


async def test_fresh_connection_that_dies_is_not_retried(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.close()

    async with byte_server(script) as server:
        with pytest.raises(UpstreamUnreachable, match="without an answer"):
            await connect(server.port).send(request())

    assert server.accepted == 1


async def dying_at_the_second_request(peer: Peer) -> None:
    await peer.head()
    await peer.send(sized(b"a"))
    if peer.number == 1:
        await peer.head()
        peer.close()


@pytest.mark.parametrize(("method", "accepted"), [("GET", 1), ("PUT", 1), ("POST", 2), ("PATCH", 2)])
async def test_connection_idle_for_a_while_is_not_trusted_with_what_cannot_be_sent_again(
    connect: Connect, method: str, accepted: int
) -> None:
    async with byte_server(answering(sized(b"a"), sized(b"b"))) as server:
        upstream = connect(server.port)
        await body_of(upstream)
        upstream._pool.idle._kept[0].idle_since -= 3
        await body_of(upstream, method)

    assert server.accepted == accepted


async def test_connection_past_its_idle_limit_is_not_used(connect: Connect) -> None:
    async with byte_server(answering(sized(b"a"), sized(b"b"))) as server:
        upstream = connect(server.port)
        await body_of(upstream)
        upstream._pool.idle._kept[0].idle_since -= 51
        await body_of(upstream)

    assert server.accepted == 2


async def test_servers_own_idle_limit_is_kept_less_a_second(connect: Connect) -> None:
    response = OK + b"Keep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n"
    async with byte_server(answering(response)) as server:
        upstream = connect(server.port)
        await body_of(upstream)

        assert upstream._pool.idle._kept[0].idle_limit == 4


async def test_idle_connections_are_closed_in_time(connect: Connect) -> None:
    async with byte_server(answering(sized(b"a"))) as server:
        upstream = connect(server.port, timeouts=Timeouts(idle=0.02))
        await asyncio.gather(body_of(upstream), body_of(upstream))
        await server.until_closed()

        assert server.accepted == 2
        assert upstream._pool.idle._kept == []


async def test_who_finds_all_busy_waits_in_line(connect: Connect) -> None:
    order: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            order.append((await peer.head()).split()[1])
            await peer.send(sized(b"a"))

    async with byte_server(script) as server:
        upstream = connect(server.port, max_connections=1)
        targets = [b"/%d" % n for n in range(20)]
        answers = [asyncio.create_task(upstream.send(request("GET", target))) for target in targets]
        await asyncio.gather(*answers)

    assert (order, server.accepted) == (targets, 1)


async def test_who_waits_dials_when_a_connection_is_gone(connect: Connect) -> None:
    response = OK + b"Connection: close\r\nContent-Length: 1\r\n\r\na"
    async with byte_server(answering(response)) as server:
        upstream = connect(server.port, max_connections=2)
        bodies = await asyncio.gather(*[body_of(upstream) for _ in range(7)])

    assert (bodies, server.accepted) == ([b"a"] * 7, 7)


async def test_idle_connection_that_is_not_fresh_makes_room(connect: Connect) -> None:
    async with byte_server(answering(sized(b"a"))) as server:
        upstream = connect(server.port, max_connections=1, timeouts=Timeouts(fresh=0))
        bodies = [await body_of(upstream), await body_of(upstream, "POST")]

    assert (bodies, server.accepted) == ([b"a", b"a"], 2)


async def test_who_waits_too_long_is_told(connect: Connect) -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()

    async with byte_server(script) as server:
        upstream = connect(server.port, max_connections=1, timeouts=Timeouts(connect=0.05))
        busy = asyncio.create_task(upstream.send(request()))
        await asked.wait()
        with pytest.raises(ProxyUnavailable, match="All 1 connections") as caught:
            await upstream.send(request())
        busy.cancel()
        await asyncio.wait({busy})

    assert caught.value.retry_after == 1


@pytest.mark.parametrize("cancelled", [0, 1, 2])
@pytest.mark.parametrize(
    "response", [sized(b"a"), OK + b"Connection: close\r\nContent-Length: 1\r\n\r\na"], ids=["kept", "closed"]
)
async def test_waiter_that_is_cancelled_at_its_turn_leaves_it_to_others(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, response: bytes, cancelled: int
) -> None:
    async with byte_server(answering(*[response] * 4)) as server:
        upstream = connect(server.port, max_connections=1)
        pool = upstream._pool
        tasks = [asyncio.create_task(upstream.send(request())) for _ in range(4)]

        class Cancelling:
            """Stands between a connection and the pool."""

            def keep(self, connection: Connection) -> None:
                pool.idle.keep(connection)
                tasks[1 + cancelled].cancel()

            def forget(self, connection: Connection) -> None:
                pool.forget(connection)
                tasks[1 + cancelled].cancel()

        dial, between = pool._dial, Cancelling()

        async def dial_between() -> Connection:
            connection = await dial()
            connection._keeper, connection._forget = between, between.forget
            return connection

        monkeypatch.setattr(pool, "_dial", dial_between)
        results = await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = [isinstance(result, BaseException) for result in results]
    assert outcomes == [False, *[n == cancelled for n in range(3)]]


async def test_failed_dial_leaves_its_place_to_others(connect: Connect) -> None:
    async with byte_server(answering()) as server:
        pass
    upstream = connect(server.port, max_connections=1)
    results = await asyncio.gather(*[upstream.send(request()) for _ in range(3)], return_exceptions=True)

    assert [type(result) for result in results] == [UpstreamUnreachable] * 3
    assert (upstream._pool._dialing, upstream._pool._open) == (0, set())


async def test_close_ends_what_runs_and_what_waits(connect: Connect) -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()

    async with byte_server(script) as server:
        upstream = connect(server.port, max_connections=1)
        tasks = [asyncio.create_task(upstream.send(request())) for _ in range(2)]
        await asked.wait()
        await upstream.close()
        await server.until_closed()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(ProxyUnavailable, match="stopping"):
            await upstream.send(request())

    assert [type(result) for result in results] == [UpstreamUnreachable, ProxyUnavailable]
