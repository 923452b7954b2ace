"""A disk that fills up or turns read-only under kept sign-ins: requests go on, what is kept stays whole."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
from aiohttp import ClientSession, DummyCookieJar

from proxy.sandbox.tenant import DESKTOP, Resource, Tenant

from ..fakes.browser import ScriptedBrowser
from ..fakes.byte_server import Peer, byte_server
from .person_proxy import PersonProxy, person_proxy

if sys.platform != "linux":
    pytest.skip("limits and rights of another process are Linux's", allow_module_level=True)

import resource

OBEYS = ("-dac_override", "-dac_read_search")
"""The rights of root without which file modes hold for it as well."""

Start = Callable[[], AbstractAsyncContextManager[PersonProxy]]


class Full:
    """No byte more in any file of the process."""

    before: Sequence[str] = ()
    WORDS = "File too large"

    def __init__(self, folder: Path) -> None:
        _, self._hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def begin(self, proxy: PersonProxy) -> None:
        self._limit(proxy, 0)

    def end(self, proxy: PersonProxy) -> None:
        self._limit(proxy, self._hard)

    def _limit(self, proxy: PersonProxy, size: int) -> None:
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (size, self._hard))


class ReadOnly:
    """Nothing in the folder can be written, neither files nor names."""

    WORDS = "Permission denied"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.before: Sequence[str] = ()
        if os.geteuid() == 0:
            if shutil.which("setpriv") is None:
                pytest.skip("root may write everywhere, and there is no setpriv to take that away")
            self.before = ("setpriv", "--inh-caps", ",".join(OBEYS), "--bounding-set", ",".join(OBEYS))

    def begin(self, proxy: PersonProxy) -> None:
        self._set(0o400, 0o500)

    def end(self, proxy: PersonProxy) -> None:
        self._set(0o600, 0o700)

    def _set(self, of_files: int, of_folder: int) -> None:
        for path in self._folder.iterdir():
            path.chmod(of_files)
        self._folder.chmod(of_folder)


Fault = Full | ReadOnly


def content(folder: Path) -> dict[str, bytes]:
    """What is kept: the files by their names, but for locks; a draft left behind is one more."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where sign-ins are kept."""
    return tmp_path / "fhir-auth-proxy"


@pytest.fixture(params=[Full, ReadOnly])
def fault(request: pytest.FixtureRequest, folder: Path) -> Fault:
    made: Fault = request.param(folder)
    return made


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def start(fault: Fault, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a proxy before a tenant that takes each refresh token once, and a server that takes all."""

    async def server(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with Tenant() as tenant, byte_server(server) as fake:
        base_url = f"http://127.0.0.1:{fake.port}"
        tenant.register(Resource(base_url, preauthorized=frozenset({DESKTOP.client_id})))
        (tmp_path / "ca.pem").write_bytes(tenant.ca_pem)
        browser = ScriptedBrowser(tenant.ca_pem)
        try:
            yield partial(
                person_proxy,
                fault.before,
                tmp_path,
                browser,
                base_url=base_url,
                auth="interactive",
                token_cache="file",
                authority=tenant.authority,
                client_id=DESKTOP.client_id,
                ca_bundle=str(tmp_path / "ca.pem"),
            )
        finally:
            await browser.close()


def warnings(proxy: PersonProxy, fault: Fault) -> int:
    """How often the person was told that nothing is kept, and why."""
    told = [text for text in proxy.told if "could not be kept" in text]
    assert all(f": {fault.WORDS}. It lasts until the proxy stops." in text for text in told), told
    return len(told)


SERVED = (200, "ok")


async def test_disk_that_fails_under_a_sign_in_and_is_mended(
    start: Start, fault: Fault, folder: Path, tool: ClientSession
) -> None:
    async with start() as proxy:
        assert await proxy.status(tool) == SERVED
        kept = content(folder)
        fault.begin(proxy)
        for _ in range(3):
            assert await proxy.status(tool) == SERVED
            assert content(folder) == kept
        assert warnings(proxy, fault) == 1
        fault.end(proxy)
        assert await proxy.status(tool) == SERVED
        assert content(folder).keys() == kept.keys()
        assert content(folder) != kept
        assert (proxy.opened, warnings(proxy, fault)) == (1, 1)

    async with start() as proxy:
        assert await proxy.status(tool) == SERVED
        assert (proxy.opened, warnings(proxy, fault)) == (0, 0)


async def test_start_with_a_kept_sign_in_on_a_disk_that_fails(
    start: Start, fault: Fault, folder: Path, tool: ClientSession
) -> None:
    async with start() as proxy:
        assert await proxy.status(tool) == SERVED
    kept = content(folder)
    assert len(kept) == 1

    async with start() as proxy:
        fault.begin(proxy)
        assert [await proxy.status(tool) for _ in range(2)] == [SERVED] * 2
        assert content(folder) == kept
        assert (proxy.opened, warnings(proxy, fault)) == (0, 1)
        fault.end(proxy)


@pytest.mark.parametrize("fault", [Full], indirect=True)
async def test_first_sign_in_on_a_full_disk(
    start: Start, fault: Fault, folder: Path, tool: ClientSession
) -> None:
    async with start() as proxy:
        fault.begin(proxy)
        assert [await proxy.status(tool) for _ in range(2)] == [SERVED] * 2
        assert content(folder) == {}
        assert (proxy.opened, warnings(proxy, fault)) == (1, 1)


@pytest.mark.parametrize("fault", [ReadOnly], indirect=True)
async def test_place_that_was_never_usable_is_told_before_anybody_signs_in(
    start: Start, fault: Fault, folder: Path, tool: ClientSession
) -> None:
    os.mkdir(folder, 0o700)
    async with start() as proxy:
        fault.begin(proxy)
        status, told = await proxy.status(tool)
        assert (status, "cannot be used: Permission denied" in told) == (500, True), told
        fault.end(proxy)
        assert await proxy.status(tool) == SERVED
        assert (proxy.opened, warnings(proxy, fault)) == (1, 0)
