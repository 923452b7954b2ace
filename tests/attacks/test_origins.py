"""Threat model B4 to B8 where some web pages may use the port: the setting allow_origins, on raw sockets."""

from __future__ import annotations

import pytest

from proxy.rules.origins import EXPOSED

from .ground import OK, SEARCH, assert_refused, get, ground, head, post
from .messages import Answer

APP = "http://localhost:3000"
CLINIC = "https://app.clinic.example"
SETTINGS: dict[str, object] = {"allow_origins": [APP, CLINIC]}
KEY = "0123456789abcdefKEY"

LOOK_ALIKES = [
    b"null",
    b"",
    b"*",
    # suffix and prefix
    b"https://app.clinic.example.evil.example",
    b"https://evil.example/https://app.clinic.example",
    b"https://evilapp.clinic.example",
    b"https://x.app.clinic.example",
    b"https://clinic.example",
    b"https://app.clinic.exampl",
    b"https://app.clinic.example/",
    b"https://app.clinic.example.",
    b"https://app.clinic.example@evil.example",
    b"https://evil.example#https://app.clinic.example",
    b"https://appxclinic.example",
    # case
    b"HTTPS://app.clinic.example",
    b"https://App.clinic.example",
    # scheme
    b"http://app.clinic.example",
    b"https://localhost:3000",
    b"app.clinic.example",
    # port
    b"https://app.clinic.example:443",
    b"https://app.clinic.example:8443",
    b"http://localhost",
    b"http://localhost:30000",
    b"http://localhost:03000",
    b"http://127.0.0.1:3000",
    b"http://[::1]:3000",
    # several
    b"http://localhost:3000 https://evil.example",
    b"http://localhost:3000, https://evil.example",
    b"http://localhost:3000,http://localhost:3000",
    b"http://localhost:3000\r\nOrigin: https://evil.example",
    b"null\r\nOrigin: http://localhost:3000",
]


@pytest.mark.parametrize("origin", LOOK_ALIKES, ids=repr)
async def test_page_whose_origin_is_only_like_one_reaches_no_one(origin: bytes) -> None:
    line = b"Origin: " + origin
    await assert_refused(get(b"/Patient?name=%x", line), 403, **SETTINGS)
    await assert_refused(post(b"Content-Type: text/plain", line), 403, **SETTINGS)
    asking = (line, b"Access-Control-Request-Method: GET")
    await assert_refused(head(b"OPTIONS", b"/Patient", *asking), 403, **SETTINGS)


STILL_REFUSED = [
    # A listed origin opens no other door.
    (get(b"/Patient?name=%x", b"Sec-Fetch-Site: cross-site"), 403),
    (get(b"/Patient?name=%x", b"Sec-Fetch-Site: same-site", b"Referer: http://localhost:3000/"), 403),
    (get(b"/Patient?name=%x", b"Origin: http://localhost:3000", host=b"Host: evil.example"), 421),
    (get(b"/../admin", b"Origin: http://localhost:3000"), 400),
    (head(b"TRACE", b"/Patient", b"Origin: http://localhost:3000"), 405),
    (head(b"OPTIONS", b"/Patient", b"Origin: http://localhost:3000"), 405),
    (head(b"OPTIONS", b"/Patient", b"Access-Control-Request-Method: GET"), 405),
]
ASKING = (b"Origin: http://localhost:3000", b"Access-Control-Request-Method: GET")
PREFLIGHTS_REFUSED = [
    (head(b"OPTIONS", b"/Patient", *ASKING, host=b"Host: evil.example"), 421),
    (head(b"OPTIONS", b"/a/../b", *ASKING), 400),
    (head(b"OPTIONS", b"*", *ASKING), 400),
    (head(b"OPTIONS", b"/Patient", *ASKING, b"Upgrade: websocket"), 400),
]


@pytest.mark.parametrize(("request_bytes", "status"), STILL_REFUSED + PREFLIGHTS_REFUSED, ids=repr)
async def test_what_is_refused_to_tools_is_refused_to_pages(request_bytes: bytes, status: int) -> None:
    async with ground(**SETTINGS) as here:
        (answer,) = await here.ask(request_bytes)

        assert (status, []) == (answer.status, here.upstream.requests)
        assert b"OperationOutcome" in answer.body
        assert await here.is_healthy()


def leave(answer: Answer) -> dict[bytes, bytes]:
    return {
        name.lower(): value
        for name, value in answer.fields.lines
        if name.lower().startswith(b"access-control-")
    }


@pytest.mark.parametrize("origin", [APP, CLINIC])
async def test_page_of_a_listed_origin_reads_answers(origin: str) -> None:
    server_says = OK.replace(b"\r\n\r\n", b"\r\nAccess-Control-Allow-Origin: *\r\nVary: Accept\r\n\r\n")
    server_says = server_says.replace(b"\r\n\r\n", b"\r\nAccess-Control-Allow-Credentials: true\r\n\r\n")
    async with ground(server_says, **SETTINGS) as here:
        line = b"Origin: " + origin.encode()
        (answer,) = await here.ask(get(b"/Patient?name=%x", line, b"Sec-Fetch-Site: cross-site"))
        (refused,) = await here.ask(get(b"/a/../b", line))

        expected = {
            b"access-control-allow-origin": origin.encode(),
            b"access-control-expose-headers": EXPOSED.encode(),
        }
        assert (200, [SEARCH]) == (answer.status, here.upstream.lines)
        assert [expected, expected] == [leave(answer), leave(refused)]
        assert {b"Accept", b"Origin"} == set(answer.fields.all(b"vary"))
        assert [b"Origin"] == refused.fields.all(b"vary")


async def test_tools_see_nothing_of_it() -> None:
    async with ground(**SETTINGS) as here:
        (answer,) = await here.ask(get())
        assert ({}, [b"Origin"]) == (leave(answer), answer.fields.all(b"vary"))
    async with ground() as here:
        (answer,) = await here.ask(get())
        assert ({}, []) == (leave(answer), answer.fields.all(b"vary"))


PREFLIGHT = {
    b"access-control-allow-methods": b"GET, HEAD, POST, PUT, PATCH, DELETE",
    b"access-control-max-age": b"7200",
    b"access-control-allow-origin": APP.encode(),
    b"access-control-expose-headers": EXPOSED.encode(),
}
PREFLIGHTS: list[tuple[tuple[bytes, ...], dict[bytes, bytes]]] = [
    ((), {}),
    (
        (b"Access-Control-Request-Headers: content-type, if-match,,x-ms-profile",),
        {b"access-control-allow-headers": b"content-type, if-match, x-ms-profile"},
    ),
    (
        (b"Access-Control-Request-Headers: prefer", b"Access-Control-Request-Headers: x-proxy-key"),
        {b"access-control-allow-headers": b"prefer, x-proxy-key"},
    ),
    ((b"Access-Control-Request-Headers: x_ms_profile, a b, *",), {}),
    ((b"Access-Control-Request-Private-Network: true",), {b"access-control-allow-private-network": b"true"}),
    ((b"Access-Control-Request-Private-Network: false",), {}),
]


@pytest.mark.parametrize(("lines", "more"), PREFLIGHTS, ids=repr)
@pytest.mark.parametrize("key", [{}, {"key": KEY}], ids=["", "key"])
async def test_preflight_is_answered_here(
    lines: tuple[bytes, ...], more: dict[bytes, bytes], key: dict[str, object]
) -> None:
    async with ground(**SETTINGS, **key) as here:
        (answer,) = await here.ask(head(b"OPTIONS", b"/Patient/1", *ASKING, *lines))

        assert (204, b"", []) == (answer.status, answer.body, here.upstream.requests)
        assert {**PREFLIGHT, **more} == leave(answer)
        assert [b"Origin"] == answer.fields.all(b"vary")


async def test_page_shows_the_key_as_any_tool() -> None:
    async with ground(**SETTINGS, key=KEY) as here:
        (without,) = await here.ask(get(b"/Patient", ASKING[0]))
        (shown,) = await here.ask(get(b"/Patient", ASKING[0], b"X-Proxy-Key: " + KEY.encode()))

    assert (403, 200) == (without.status, shown.status)
