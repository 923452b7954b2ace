"""Two servers that keep every byte they get, one of them a storage account: whose token goes where."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxy.auth.seams import Authenticator, Explain
from proxy.config import ServerConfig
from proxy.model import Credentials, Rejection
from proxy.sandbox.certificates import CertificateAuthority
from proxy.server import Proxy

from ..fakes.byte_server import Peer, byte_server
from ..running import unattended
from . import messages
from .ground import assert_is_closed_to_browsers, assert_is_ours

FHIR_TOKEN, STORAGE_TOKEN = b"fhir.4f1d9c7a.token", b"storage.b0e35d.token"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CERTIFICATES = CertificateAuthority.create()


class FixedIdentity:
    """An identity with a token for each place."""

    def __init__(self, token: bytes = FHIR_TOKEN) -> None:
        self.token = token

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        return Credentials(b"Bearer " + self.token)

    def beside(self, audience: str, explain: Explain) -> Authenticator:
        assert audience == "https://storage.azure.com"
        return FixedIdentity(STORAGE_TOKEN)

    async def close(self) -> None:
        """Nothing is under way."""


@dataclass
class Recorder:
    """A server's script that answers everything alike and keeps what came."""

    reply: bytes = OK
    received: list[bytes] = field(default_factory=list)

    async def __call__(self, peer: Peer) -> None:
        while True:
            try:
                self.received.append(await peer.head())
            except asyncio.IncompleteReadError as error:
                self.received += [error.partial] if error.partial else []
                return
            await peer.send(self.reply)

    @property
    def targets(self) -> list[bytes]:
        return [head.split(b" ")[1] for head in self.received]


@dataclass
class Ground:
    proxy: Proxy
    fhir: Recorder
    storage: Recorder
    account: str

    async def ask(self, request: bytes) -> list[messages.Answer]:
        """The answers to one request, in which %a stands for the account and %h for the proxy."""
        port = self.proxy.url.rpartition(":")[2].encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(request.replace(b"%a", self.account.encode()).replace(b"%h", b"127.0.0.1:" + port))
        received = await reader.read(-1)
        writer.close()
        assert FHIR_TOKEN not in received
        assert STORAGE_TOKEN not in received
        return messages.answers(received, request.partition(b" ")[0])


@asynccontextmanager
async def ground(folder: Path, storage: bytes = OK, fhir: bytes = OK) -> AsyncIterator[Ground]:
    at_fhir, at_storage = Recorder(fhir), Recorder(storage)
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(CERTIFICATES.ca_pem)
    async with (
        byte_server(at_fhir) as fhir_server,
        byte_server(at_storage, CERTIFICATES.server_context()) as storage_server,
    ):
        account = f"localhost:{storage_server.port}"
        config = ServerConfig.of(
            {
                "base_url": f"http://127.0.0.1:{fhir_server.port}",
                "listen": "127.0.0.1:0",
                "ca_bundle": str(ca_file),
                "export_storage": [account],
            }
        )
        proxy = Proxy(config, unattended(), own=FixedIdentity())
        await proxy.start()
        try:
            yield Ground(proxy, at_fhir, at_storage, account)
        finally:
            await proxy.stop(0)
        await storage_server.until_closed()
    for heads, token in ((at_fhir.received, STORAGE_TOKEN), (at_storage.received, FHIR_TOKEN)):
        assert not any(token in head for head in heads), "a token went to the other server"


def request(target: bytes, *lines: bytes, method: bytes = b"GET", host: bytes = b"%h") -> bytes:
    every = [method + b" " + target + b" HTTP/1.1", b"Host: " + host, b"Connection: close", *lines]
    return b"\r\n".join(every) + b"\r\n\r\n"


MOUNT = b"/.fhir-auth-proxy/storage/"
FILE = MOUNT + b"%a/c/f.ndjson"


@pytest.mark.parametrize("target", [FILE, FILE + b"?versionid=1", MOUNT + b"%a/f"])
async def test_each_token_goes_to_its_own_server(target: bytes, tmp_path: Path) -> None:
    async with ground(tmp_path) as here:
        of_storage = await here.ask(request(target))
        of_fhir = await here.ask(request(b"/Patient/1"))

        assert [answer.status for answer in (*of_storage, *of_fhir)] == [200, 200]
        assert_is_closed_to_browsers(of_storage[0])
        below = target.removeprefix(MOUNT + b"%a")
        assert (here.storage.targets, here.fhir.targets) == ([below], [b"/Patient/1"])
        assert b"\r\nAuthorization: Bearer " + STORAGE_TOKEN + b"\r\n" in here.storage.received[0]
        assert b"\r\nAuthorization: Bearer " + FHIR_TOKEN + b"\r\n" in here.fhir.received[0]
        assert f"\r\nHost: {here.account}\r\n".encode() in b"\r\n" + here.storage.received[0]


REFUSED = [
    # only reading
    *((request(FILE, method=method), 405) for method in (b"POST", b"PUT", b"DELETE", b"PATCH")),
    (request(FILE, b"Content-Length: 2") + b"{}", 400),
    # only files
    (request(MOUNT + b"%a"), 403),
    (request(MOUNT + b"%a/"), 403),
    (request(MOUNT + b"%a/?comp=list"), 403),
    (request(MOUNT + b"%a/c?restype=container&comp=list"), 403),
    (request(MOUNT + b"%a/c?COMP=list"), 403),
    (request(MOUNT + b"%a/c?%63omp=list&sig=x"), 403),
    (request(MOUNT + b"%a/c?a=b&comp"), 403),
    # only listed accounts
    (request(MOUNT + b"evil.example/c/f"), 403),
    (request(MOUNT + b"%a.evil.example/c/f"), 403),
    (request(MOUNT + b"evil.%a/c/f"), 403),
    (request(MOUNT + b"%a@evil.example/c/f"), 403),
    (request(MOUNT + b"evil.example@%a/c/f"), 403),
    (request(MOUNT + b"%a0/c/f"), 403),
    (request(MOUNT + b"localhost/c/f"), 403),
    (request(MOUNT + b"LOCALHOST:1/c/f"), 403),
    (request(MOUNT + b"localhost%3A1/c/f"), 403),
    (request(MOUNT + b"?%a/c/f"), 403),
    # paths that are not plain
    (request(MOUNT + b"/c/f"), 400),
    (request(MOUNT + b"%a/../../../Patient"), 400),
    (request(MOUNT + b"%a/c/%2e%2e/f"), 400),
    (request(MOUNT + b"%a/c/..%2ff"), 400),
    (request(MOUNT + b"%a/c/..\\f"), 400),
    (request(MOUNT + b"%a/c//f"), 400),
    (request(MOUNT + b"evil.example/../%a/c/f"), 400),
    (request(b"/Patient/.." + FILE), 400),
    (request(FILE + b"#x"), 400),
    # who asks
    (request(FILE, host=b"evil.example"), 421),
    (request(FILE, b"Origin: https://evil.example"), 403),
    (request(FILE, b"Sec-Fetch-Site: cross-site"), 403),
]


@pytest.mark.parametrize(("sent", "status"), REFUSED)
async def test_refused_requests_reach_nobody(sent: bytes, status: int, tmp_path: Path) -> None:
    async with ground(tmp_path) as here:
        answers = await here.ask(sent)

        assert [status] == [answer.status for answer in answers]
        assert_is_ours(answers[0])
        assert (here.fhir.received, here.storage.received) == ([], [])


NOT_THE_MOUNT = [b"/%2efhir-auth-proxy/storage/%a/c/f", b"/x" + FILE, b"/.FHIR-auth-proxy/storage/%a/c/f"]


@pytest.mark.parametrize("target", NOT_THE_MOUNT)
async def test_what_only_looks_like_the_mount_is_the_servers(target: bytes, tmp_path: Path) -> None:
    async with ground(tmp_path) as here:
        await here.ask(request(target))

        assert len(here.fhir.received) == 1
        assert here.storage.received == []


@pytest.mark.parametrize("query", [b"sv=2020&sig=a%2Fb", b"SIG=x", b"%73ig=x", b"sig"])
async def test_signed_urls_go_out_without_any_token(query: bytes, tmp_path: Path) -> None:
    async with ground(tmp_path) as here:
        await here.ask(request(FILE + b"?" + query, b"Authorization: Bearer of-the-tool"))

        assert here.storage.targets == [b"/c/f.ndjson?" + query]
        assert b"authorization" not in here.storage.received[0].lower()


HOSTILE = [
    (b"Set-Cookie: a=b\r\nAccess-Control-Allow-Origin: *\r\nX-Accel-Redirect: /etc\r\n", 200),
    (b"Location: https://evil.example/\r\n", 302),
    (b"WWW-Authenticate: Bearer error=" + STORAGE_TOKEN + b"\r\nx-ms-error-code: x\r\n", 403),
    (b"x-ms-error-code: " + STORAGE_TOKEN + b"\r\n", 403),
]


@pytest.mark.parametrize(("fields", "status"), HOSTILE)
async def test_hostile_account_gets_nowhere(fields: bytes, status: int, tmp_path: Path) -> None:
    reply = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n%s\r\n" % (status, fields)
    async with ground(tmp_path, storage=reply) as here:
        answers = await here.ask(request(FILE))

        assert [status] == [answer.status for answer in answers]
        assert answers[0].field("Set-Cookie") is None
        assert answers[0].field("X-Accel-Redirect") is None
        assert_is_closed_to_browsers(answers[0])
        assert len(here.storage.received) == 1
        assert here.fhir.received == []


async def test_server_cannot_make_an_account_of_itself(tmp_path: Path) -> None:
    body = (
        b'{"output":[{"url":"https://evil.example/c/f"},{"url":"https://localhost/c/f"},'
        b'{"url":"https://localhost:1@evil.example/c/f"}]}'
    )
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with ground(tmp_path, fhir=reply + body) as here:
        answers = await here.ask(request(b"/_operations/export/1"))

        assert body == answers[0].body
