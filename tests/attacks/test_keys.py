"""Threat model E1 to E3: other machines, containers and users reach the port, and get nothing without its key."""

from __future__ import annotations

import os
import socket
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from proxy.errors import ConfigError

from ..running import proxy_before
from .ground import BASE, OK, assert_is_ours, get, ground, head

KEY = "correct-horse-battery-staple"
FIELD = b"X-Proxy-Key: " + KEY.encode()

WRONG = [
    get(),
    get(BASE + b"/Patient", b"X-Proxy-Key: "),
    get(BASE + b"/Patient", b"X-Proxy-Key: " + KEY[:-1].encode()),
    get(BASE + b"/Patient", b"X-Proxy-Key: " + KEY.encode() + b"x"),
    get(BASE + b"/Patient", b"X-Proxy-Key: " + KEY.upper().encode()),
    get(BASE + b"/Patient", b"X-Proxy-Key: %63orrect-horse-battery-staple"),
    get(BASE + b"/Patient", b"X-Proxy-Key: wrong-wrong-wrong-wrong", FIELD),
    get(BASE + b"/Patient", FIELD, b"X-Proxy-Key: wrong-wrong-wrong-wrong"),
    get(BASE + b"/Patient", b"Authorization: Bearer " + KEY.encode()),
    get(BASE + b"/Patient", b"Cookie: X-Proxy-Key=" + KEY.encode()),
    get(BASE + b"/Patient", b"X_Proxy_Key: " + KEY.encode()),
    get(BASE + b"/Patient?X-Proxy-Key=" + KEY.encode()),
    get(b"/k/" + KEY[:-1].encode() + BASE + b"/Patient"),
    get(b"/k/" + KEY.encode() + b"x" + BASE + b"/Patient"),
    get(b"/K/" + KEY.encode() + BASE + b"/Patient"),
    get(b"/k//" + KEY.encode() + BASE + b"/Patient"),
    get(b"/k/%63orrect-horse-battery-staple" + BASE + b"/Patient"),
    get(b"/fhir/k/" + KEY.encode() + b"/Patient"),
    get(b"/Patient/../k/" + KEY.encode() + b"/Patient"),
    get(b"/k/x/../" + KEY.encode() + b"/Patient"),
    get(b"/k/"),
    get(b"/k"),
    head(b"HEAD", BASE + b"/Patient"),
    head(b"OPTIONS", BASE + b"/Patient", b"Origin: http://%h", b"Access-Control-Request-Method: GET"),
]


@pytest.mark.parametrize("request_bytes", WRONG)
async def test_without_the_key_nothing_reaches_the_server(request_bytes: bytes) -> None:
    async with ground(key=KEY) as here:
        answers = await here.ask(request_bytes)

        assert [] == here.upstream.requests
        assert 1 == len(answers)
        assert 400 <= answers[0].status < 500
        assert_is_ours(answers[0], has_body=not request_bytes.startswith(b"HEAD"))
        assert KEY.encode() not in answers[0].body


@pytest.mark.parametrize(
    "request_bytes", [get(BASE + b"/Patient/1", FIELD), get(b"/k/" + KEY.encode() + b"/Patient/1")], ids=["field", "path"]
)  # fmt: skip
async def test_with_the_key_the_server_is_reached_and_never_told_it(request_bytes: bytes) -> None:
    async with ground(key=KEY) as here:
        [answer] = await here.ask(request_bytes)
        [request] = here.upstream.requests

        assert 200 == answer.status
        assert BASE + b"/Patient/1" == request.target
        assert KEY.encode() not in repr(request).encode()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get(BASE + b"/Patient", FIELD, host=b"Host: evil.example:%p"), 421),
        (get(BASE + b"/Patient", FIELD, b"Origin: https://evil.example"), 403),
        (get(b"/k/" + KEY.encode() + b"/Patient", b"Sec-Fetch-Site: cross-site"), 403),
    ],
    ids=["rebinding", "another origin", "a load"],
)
async def test_key_does_not_open_the_port_to_web_pages(request_bytes: bytes, status: int) -> None:
    """B1, B4 and B5 hold with the key as well: a page that learned it is still a page."""
    async with ground(key=KEY) as here:
        [answer] = await here.ask(request_bytes)

        assert status == answer.status
        assert [] == here.upstream.requests
        assert_is_ours(answer)


async def test_all_addresses_without_a_key_answer_to_listed_names_alone() -> None:
    """E2: a container's published port; the names are the guard there."""
    remote = {"listen": "0.0.0.0:0", "allow_remote": True, "allowed_hosts": ["fhir-proxy:8080"]}
    async with ground(**remote) as here:
        served = await here.ask(get(BASE + b"/Patient/1", host=b"Host: fhir-proxy:8080"))
        refused = [
            await here.ask(get(BASE + b"/Patient/1", host=b"Host: " + name))
            for name in (
                b"fhir-proxy",
                b"fhir-proxy:80",
                b"0.0.0.0:%p",
                b"172.17.0.2:8080",
                b"host.docker.internal:8080",
            )
        ]

        assert [200] == [answer.status for answer in served]
        assert [421] * 5 == [answer.status for answers in refused for answer in answers]
        assert 1 == len(here.upstream.requests)


needs_unix = pytest.mark.skipif(sys.platform == "win32", reason="sockets with file permissions are for Unix")


@needs_unix
async def test_socket_is_the_users_alone() -> None:
    """E3: 0600 within 0700, whatever the umask says."""
    before = os.umask(0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "own" / "proxy.sock"
            async with proxy_before("http://127.0.0.1:9", listen=f"unix:{path}"):
                modes = [stat.S_IMODE(one.stat().st_mode) for one in (path.parent, path)]
    finally:
        os.umask(before)

    assert [0o700, 0o600] == modes


@needs_unix
async def test_socket_in_anothers_folder_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        with pytest.raises(ConfigError, match="others"):
            async with proxy_before("http://127.0.0.1:9", listen=f"unix:{folder}/proxy.sock"):
                raise AssertionError("a socket that others may replace was opened")


@needs_unix
async def test_file_in_the_place_of_the_socket_is_kept() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proxy.sock"
        path.write_text("precious", "utf-8")
        with pytest.raises(ConfigError, match=r"proxy\.sock"):
            async with proxy_before("http://127.0.0.1:9", listen=f"unix:{path}"):
                raise AssertionError("somebody's file was replaced")

        assert "precious" == path.read_text("utf-8")


@needs_unix
async def test_socket_of_a_proxy_that_runs_is_never_taken() -> None:
    with tempfile.TemporaryDirectory() as folder:
        listen = f"unix:{folder}/own/proxy.sock"
        async with proxy_before("http://127.0.0.1:9", listen=listen):
            with pytest.raises(ConfigError):
                async with proxy_before("http://127.0.0.1:9", listen=listen):
                    raise AssertionError("two proxies on one socket")
            probe = socket.socket(socket.AF_UNIX)
            probe.connect(f"{folder}/own/proxy.sock")
            probe.close()


async def test_guarded_listener_serves_its_own_names() -> None:
    """The control."""
    async with ground(OK, key=KEY) as here:
        assert [200] == [answer.status for answer in await here.ask(get(BASE + b"/Patient/1", FIELD))]
