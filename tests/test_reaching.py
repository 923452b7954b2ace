"""Who reaches the port: the key that tools show, and the Unix socket that file permissions guard."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, DummyCookieJar, UnixConnector

from proxy.config import ServerConfig
from proxy.errors import ConfigError
from proxy.local_key import read_local_key
from proxy.sandbox import Sandbox
from proxy.unix_listener import UnixListener

from .fakes.byte_server import Peer, byte_server
from .running import proxy_before, proxy_of

KEY = "a_key-that-nobody-guesses"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no Unix sockets for Python")


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(patients=5) as running:
        yield running


# The key ------------------------------------------------------------------------------------------------------------


REFUSED = [
    ("", {}),
    ("", {"X-Proxy-Key": ""}),
    ("", {"X-Proxy-Key": KEY[:-1]}),
    ("", {"X-Proxy-Key": KEY + "x"}),
    ("/k", {}),
    ("/k/", {}),
    (f"/k/{KEY[:-1]}", {}),
    (f"/k/{KEY}x", {}),
    (f"/K/{KEY}", {}),
    (f"/x/k/{KEY}", {}),
    (f"/Patient?/k/{KEY}", {}),
]


@pytest.mark.parametrize(("before", "fields"), REFUSED)
async def test_without_the_key_nothing_is_sent_and_the_key_is_not_told(
    tool: ClientSession, before: str, fields: dict[str, str]
) -> None:
    async def script(peer: Peer) -> None:
        raise AssertionError(await peer.head())

    async with (
        byte_server(script) as fake,
        proxy_before(f"http://127.0.0.1:{fake.port}", key=KEY) as proxy,
        tool.get(f"{proxy.url}{before}/Patient", headers=fields) as response,
    ):
        text = await response.text()

    assert (response.status, KEY in text, KEY in proxy.url) == (403, False, False)


async def test_host_is_judged_before_the_key(tool: ClientSession) -> None:
    async with proxy_before("http://127.0.0.1:9", key=KEY) as proxy:
        async with tool.get(proxy.url, headers={"Host": "evil.example", "X-Proxy-Key": KEY}) as response:
            assert response.status == 421


async def test_key_is_shown_to_the_proxy_alone(tool: ClientSession, caplog: pytest.LogCaptureFixture) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            head = await peer.head()
            if b"content-length: 2\r\n" in head.lower():
                head += await peer.exactly(2)
            heads.append(head)
            await peer.send(OK)

    caplog.set_level("DEBUG", "proxy")
    async with (
        byte_server(script) as fake,
        proxy_before(f"http://127.0.0.1:{fake.port}/fhir", key=KEY) as proxy,
    ):
        root = proxy.url.removesuffix("/fhir")
        requests = [
            (f"{root}/Patient", {"X-Proxy-Key": KEY}),
            (f"{root}/k/{KEY}/Patient", {}),
            (f"{root}/k/{KEY}/fhir/Patient", {}),
            (f"{root}/k/{KEY}", {}),
            (f"{root}/k/{KEY}?_getpages=1", {}),
            (f"{root}/k/{KEY}/Patient?subject={root}/k/{KEY}/Patient/1", {}),
            (f"{root}/k/{KEY}/Patient?subject={root}/k/{KEY}/fhir/Patient/1", {}),
        ]
        for url, fields in requests:
            async with tool.get(url, headers=fields) as response:
                assert response.status == 200

        upstream = f"http://127.0.0.1:{fake.port}/fhir"

    assert [head.split(b" ")[1].decode() for head in heads] == [
        "/fhir/Patient",
        "/fhir/Patient",
        "/fhir/Patient",
        "/fhir",
        "/fhir?_getpages=1",
        f"/fhir/Patient?subject={upstream}/Patient/1",
        f"/fhir/Patient?subject={upstream}/Patient/1",
    ]
    assert KEY.encode() not in b"".join(heads)
    assert KEY not in caplog.text


async def test_links_carry_the_key_to_the_last_page_and_it_never_enters_the_record(
    tool: ClientSession, sandbox: Sandbox
) -> None:
    async with proxy_of(sandbox, key=KEY) as proxy:
        origin = proxy.url[: proxy.url.index("/", 8)] if proxy.url.count("/") > 2 else proxy.url
        url: str | None = f"{origin}/k/{KEY}/Patient?_count=2"
        names = []
        while url:
            assert url.startswith(f"{origin}/k/{KEY}/")
            async with tool.get(url) as response:
                assert response.status == 200
                page = await response.json(content_type=None)
            names += [entry["fullUrl"] for entry in page["entry"]]
            url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
        observation = {"resourceType": "Observation", "subject": {"reference": names[0]}}
        async with tool.post(f"{origin}/k/{KEY}/Observation", json=observation) as response:
            assert response.status == 201
            location = response.headers["Location"]
        async with tool.get(location) as response:
            assert (await response.json(content_type=None))["subject"]["reference"] == names[0]

    assert len(set(names)) == 5
    assert all(name.startswith(f"{origin}/k/{KEY}/") for name in names)
    assert location.startswith(f"{origin}/k/{KEY}/")


async def test_body_that_would_have_the_server_call_us_is_refused_without_telling_the_key(
    tool: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxy_before("http://127.0.0.1:9", key=KEY) as proxy:
        body = {"resourceType": "Subscription", "channel": {"endpoint": f"{proxy.url}/k/{KEY}/hook"}}
        headers = {"X-Proxy-Key": KEY, "Content-Type": "application/fhir+json"}
        async with tool.post(f"{proxy.url}/Subscription", json=body, headers=headers) as response:
            assert response.status == 403
            assert KEY not in await response.text()

    assert "own address" in caplog.text
    assert KEY not in caplog.text


def config(**settings: object) -> ServerConfig:
    return ServerConfig.of({"base_url": "https://fhir.example", **settings})


def test_key_comes_from_the_setting_or_its_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"\ufeff{KEY}\n", encoding="utf-8")

    found = [
        read_local_key(config(key=KEY)),
        read_local_key(config(key_file=str(file))),
        read_local_key(config()),
    ]
    assert found == [KEY.encode(), KEY.encode(), b""]


@pytest.mark.parametrize(
    "text", ["", "short", "with a space and more", "with/slash/and/more", "x" * 129, "k\u00e9y" * 9]
)
def test_key_that_cannot_stand_in_a_url_is_refused_unquoted(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match="16 to 128") as told:
        read_local_key(config(key_file=str(file)))
    assert not text or text not in told.value.message


def test_key_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_local_key(config(key_file=str(tmp_path / "none")))


# The Unix socket ----------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # pytest's own folders are deep, and a socket's path is short (108 bytes on Linux, 104 on macOS).
    folder = Path(os.path.relpath(tmp_path)) if len(str(tmp_path)) > 60 else tmp_path
    return folder / "own" / "x.sock"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def address(path: Path) -> str:
    return f"unix:{path.absolute()}"


def is_there(path: Path) -> bool:
    return path.exists()


@posix
async def test_tools_call_a_unix_socket_as_localhost(sandbox: Sandbox, path: Path) -> None:
    async with proxy_of(sandbox, listen=address(path)) as proxy:
        assert mode(path) == 0o600
        assert mode(path.parent) == 0o700
        assert proxy.url.startswith("http+unix://%2F")
        async with ClientSession(connector=UnixConnector(str(path))) as tool:
            async with tool.get("http://localhost/Patient?_count=2") as response:
                page = await response.json(content_type=None)
            following = next(link["url"] for link in page["link"] if link["relation"] == "next")
            assert following.startswith("http://localhost/")
            async with tool.get(following) as response:
                assert response.status == 200
            async with tool.get("http://evil.example/Patient") as response:
                assert response.status == 421

    assert not is_there(path)


@posix
def test_socket_of_a_program_that_is_gone_is_replaced(path: Path) -> None:
    gone = UnixListener(str(path))
    gone.socket.close()
    listener = UnixListener(str(path))
    gone.remove()
    try:
        assert path.exists()
    finally:
        listener.socket.close()
        listener.remove()
    assert not path.exists()


@posix
def test_socket_on_which_somebody_listens_is_left_alone(path: Path) -> None:
    listener = UnixListener(str(path))
    listener.socket.listen()
    try:
        with pytest.raises(ConfigError, match="another program listens there"):
            UnixListener(str(path))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(path))
    finally:
        listener.socket.close()
        listener.remove()


@posix
def test_file_in_the_way_is_left_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_text("a file")

    with pytest.raises(ConfigError, match="something else is there"):
        UnixListener(str(path))
    assert path.read_text() == "a file"


@posix
def test_symlink_in_the_way_is_left_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.symlink_to("elsewhere")

    with pytest.raises(ConfigError, match="something else is there"):
        UnixListener(str(path))
    assert path.is_symlink()


@posix
@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o777])
def test_folder_that_is_open_to_others_is_refused(path: Path, mode: int) -> None:
    path.parent.mkdir()
    path.parent.chmod(mode)

    with pytest.raises(ConfigError, match="closed to others"):
        UnixListener(str(path))
    assert list(path.parent.iterdir()) == []


@posix
def test_folder_that_is_a_symlink_is_refused(path: Path) -> None:
    target = path.parent.parent / "target"
    target.mkdir(mode=0o700)
    path.parent.symlink_to(target.absolute())

    with pytest.raises(ConfigError, match="closed to others"):
        UnixListener(str(path))


@posix
@pytest.mark.parametrize("name", ["missing/own/x.sock", "own/" + "x" * 200])
def test_path_that_cannot_be_had_is_told(path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="no socket can be made there"):
        UnixListener(str(path.parent.parent / name))


# Other machines -----------------------------------------------------------------------------------------------------


async def test_listener_for_other_machines_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    async with proxy_before(
        "http://127.0.0.1:9", listen="0.0.0.0:0", allow_remote=True, allowed_hosts=["fhir-proxy"]
    ):
        pass
    async with proxy_before("http://127.0.0.1:9"):
        pass

    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "Other machines reach this proxy at 0.0.0.0:0" in warnings[0]
