from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientResponse, ClientSession

from proxy.auth.receiver import MAX_ANSWER, Receiver
from proxy.errors import ConfigError

SIGN_IN = "https://login.example/authorize?state=right"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.close()


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def posted(session: ClientSession, receiver: Receiver, **form: str) -> ClientResponse:
    return await session.post(receiver.redirect_uri, data=form)


async def test_answer_comes_as_a_form(receiver: Receiver, session: ClientSession) -> None:
    answer = receiver.answer(SIGN_IN, "right")
    visit = asyncio.create_task(posted(session, receiver, code="c", state="right"))

    assert await answer == {"code": "c", "state": "right"}
    receiver.conclude("Signed in", "Ada")
    response = await visit
    assert response.status == 200
    assert "Ada" in await response.text()


async def test_answer_comes_as_a_query(receiver: Receiver, session: ClientSession) -> None:
    answer = receiver.answer(SIGN_IN, "right")
    visit = asyncio.create_task(session.get(f"{receiver.redirect_uri}/?error=access_denied&state=right"))

    assert await answer == {"error": "access_denied", "state": "right"}
    receiver.conclude("Sign-in failed", "no")
    assert "no" in await (await visit).text()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_receiver_answers_on_every_loopback_address(
    receiver: Receiver, session: ClientSession, host: str
) -> None:
    if host == "[::1]" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    receiver.answer(SIGN_IN, "right")
    port = receiver.redirect_uri.rpartition(":")[2]
    async with session.get(f"http://{host}:{port}/", allow_redirects=False) as response:
        assert response.status == 302


async def test_short_address_leads_to_the_sign_in_page(receiver: Receiver, session: ClientSession) -> None:
    receiver.answer(SIGN_IN, "right")
    async with session.get(receiver.redirect_uri, allow_redirects=False) as response:
        assert response.headers["Location"] == SIGN_IN
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "form",
    [
        {"code": "c", "state": "wrong"},
        {"code": "c"},
        {"code": "c", "state": ""},
        {"error": "access_denied"},
        {"error": "access_denied", "state": "ríght"},
        {"state": "right"},
        {},
    ],
)
async def test_what_is_not_the_answer_is_refused_and_the_waiting_goes_on(
    receiver: Receiver, session: ClientSession, form: dict[str, str]
) -> None:
    answer = receiver.answer(SIGN_IN, "right")
    response = await posted(session, receiver, **form)

    assert response.status == 400
    assert not answer.done()


async def test_second_answer_is_refused(receiver: Receiver, session: ClientSession) -> None:
    answer = receiver.answer(SIGN_IN, "right")
    first = asyncio.create_task(posted(session, receiver, code="c", state="right"))
    await answer
    second = await posted(session, receiver, code="d", state="right")
    receiver.conclude("Signed in", "Ada")
    await first

    assert second.status == 400
    assert answer.result()["code"] == "c"


@pytest.mark.parametrize("host", ["evil.example", "localhost", "localhost:1", "127.0.0.1.nip.io:80"])
async def test_foreign_host_is_refused(receiver: Receiver, session: ClientSession, host: str) -> None:
    answer = receiver.answer(SIGN_IN, "right")
    url = f"{receiver.redirect_uri}/?code=c&state=right"
    async with session.get(url, headers={"Host": host}, allow_redirects=False) as response:
        assert response.status == 421
    assert not answer.done()


async def test_browser_that_comes_too_early_is_told_to_wait(
    receiver: Receiver, session: ClientSession
) -> None:
    async with session.get(receiver.redirect_uri) as response:
        assert response.status == 503


@pytest.mark.parametrize(("method", "path"), [("GET", "/favicon.ico"), ("PUT", "/"), ("POST", "/admin")])
async def test_nothing_else_is_there(
    receiver: Receiver, session: ClientSession, method: str, path: str
) -> None:
    receiver.answer(SIGN_IN, "right")
    async with session.request(method, receiver.redirect_uri + path) as response:
        assert response.status in {404, 405}


async def test_large_form_is_refused(receiver: Receiver, session: ClientSession) -> None:
    answer = receiver.answer(SIGN_IN, "right")
    response = await posted(session, receiver, code="c" * (MAX_ANSWER + 1), state="right")

    assert response.status == 413
    assert not answer.done()


async def test_page_shows_text_as_text_and_can_do_nothing(receiver: Receiver, session: ClientSession) -> None:
    answer = receiver.answer(SIGN_IN, "right")
    visit = asyncio.create_task(posted(session, receiver, error="x", state="right"))
    await answer
    receiver.conclude("<b>", "<script>alert(1)</script>")
    response = await visit
    text = await response.text()

    assert "<script>" not in text
    assert "<b>" not in text
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"


async def test_close_ends_the_page_of_a_sign_in_without_outcome(
    receiver: Receiver, session: ClientSession
) -> None:
    answer = receiver.answer(SIGN_IN, "right")
    visit = asyncio.create_task(posted(session, receiver, code="c", state="right"))
    await answer
    await receiver.close()

    assert "over" in await (await visit).text()


async def test_fixed_port_is_taken_as_named() -> None:
    port = free_port()
    receiver = Receiver(port=port)
    await receiver.start()
    try:
        assert receiver.redirect_uri == f"http://localhost:{port}"
    finally:
        await receiver.close()


async def test_fixed_port_of_another_program_is_named(receiver: Receiver) -> None:
    port = int(receiver.redirect_uri.rpartition(":")[2])

    with pytest.raises(ConfigError, match=f"redirect_port = {port} is taken"):
        await Receiver(port=port).start()


async def test_port_that_another_program_has_on_ipv6_is_not_half_taken() -> None:
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        port = other.getsockname()[1]

        with pytest.raises(ConfigError, match="is taken"):
            await Receiver(port=port).start()


async def test_address_of_no_interface_is_explained() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        await Receiver(("192.0.2.1",)).start()


async def test_closed_receiver_frees_its_port() -> None:
    first = Receiver()
    await first.start()
    port = int(first.redirect_uri.rpartition(":")[2])
    await first.close()
    second = Receiver(port=port)
    await second.start()
    await second.close()

    assert second.redirect_uri == first.redirect_uri


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


async def test_nobody_else_on_the_network_reaches_the_receiver(receiver: Receiver) -> None:
    assert receiver._runner is not None
    assert {address[0] for address in receiver._runner.addresses} <= {"127.0.0.1", "::1"}
