"""An `$export` whose files lie in a storage account, through the proxy, by a tool that knows nothing of Azure."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import ClientSession

from proxy.auth import Seams
from proxy.sandbox import Sandbox
from proxy.sandbox.storage import AUDIENCE, SIGNATURE, StorageAccount
from proxy.sandbox.tenant import CLINIC, DESKTOP, MEMBER, SERVICE, Resource
from proxy.server import Proxy

from .fakes.browser import ScriptedBrowser
from .fakes.byte_server import byte_server
from .fakes.clock import FakeClock
from .fakes.connect_proxy import tunnelling
from .running import proxy_of, unattended

PATIENTS = 20
ASYNC = {"Prefer": "respond-async", "Accept": "application/fhir+json"}
MOUNT = "/.fhir-auth-proxy/storage"


class Ground:
    """A sandbox with a storage account, the proxy before it, and a tool."""

    def __init__(self, sandbox: Sandbox, proxy: Proxy, tool: ClientSession) -> None:
        assert sandbox.storage is not None
        self.sandbox = sandbox
        self.storage: StorageAccount = sandbox.storage
        self.proxy = proxy
        self.tool = tool

    @property
    def mount(self) -> str:
        return f"{self.proxy.url}{MOUNT}/{self.storage.host}"

    async def get(self, url: str, method: str = "GET", **fields: str) -> tuple[int, dict[str, str], bytes]:
        async with self.tool.request(method, url, headers=fields) as answer:
            return (
                answer.status,
                {name.lower(): value for name, value in answer.headers.items()},
                await answer.read(),
            )

    async def manifest(self) -> dict:
        """What an export ends with."""
        status, fields, _ = await self.get(f"{self.proxy.url}/$export", **ASYNC)
        assert status == 202
        while True:
            status, _, body = await self.get(fields["content-location"])
            if status == 200:
                return json.loads(body)
            assert status == 202

    def kept(self, name: str = "c/f.ndjson", body: bytes = b"{}\n") -> str:
        """A file in the account; its local URL."""
        return self.storage.keep(name, body).replace(f"https://{self.storage.host}", self.mount)


@asynccontextmanager
async def ground(seams: Seams | None = None, **settings: object) -> AsyncIterator[Ground]:
    async with (
        Sandbox(patients=PATIENTS, base_path="/fhir", has_storage=True) as sandbox,
        ClientSession() as tool,
    ):
        assert sandbox.storage is not None
        given = {"export_storage": [sandbox.storage.host], **settings}
        async with proxy_of(sandbox, seams, **given) as proxy:
            yield Ground(sandbox, proxy, tool)


async def assert_export_completes(here: Ground) -> None:
    manifest = await here.manifest()
    found = []
    for output in manifest["output"]:
        assert output["url"].startswith(f"{here.mount}/")
        status, fields, body = await here.get(output["url"])
        assert (status, fields["content-type"]) == (200, "application/fhir+ndjson")
        lines = [json.loads(line) for line in body.decode().splitlines()]
        assert len(lines) == output["count"]
        found += lines
    assert sum(one["resourceType"] == "Patient" for one in found) == PATIENTS
    documents = [one for one in found if one["resourceType"] == "DocumentReference"]
    # What the files hold can be had where they say.
    for document in documents:
        status, _, _ = await here.get(document["content"][0]["attachment"]["url"])
        assert status == 200
    assert documents


def assert_tokens_stayed_apart(here: Ground) -> None:
    """Each side got its own tokens alone."""
    at_storage = {record.fields.get("Authorization", "") for record in here.storage.requests}
    assert at_storage
    for authorization in at_storage:
        here.sandbox.tenant.verify(authorization.removeprefix("Bearer "), AUDIENCE)
    # The server verifies the audience of each token that it gets.
    assert {record.status for record in here.sandbox.fhir.requests if record.authorized} == {200, 202}
    assert not {record.status for record in here.storage.requests} - {200}


async def test_export_completes_for_an_app() -> None:
    async with ground() as here:
        await assert_export_completes(here)
        assert_tokens_stayed_apart(here)


@asynccontextmanager
async def ground_of_a_person(lines: list[str]) -> AsyncIterator[Ground]:
    """The same for a member who has signed in by device code; `lines` is what they were told."""
    personal = {
        "auth": "device-code",
        "client_id": DESKTOP.client_id,
        "client_secret": None,
        "token_cache": "none",
    }
    clock = FakeClock(time.time())
    seams = replace(unattended(lines), attended=True, clock=clock)
    async with ground(seams, **personal) as here:
        browser = ScriptedBrowser(here.sandbox.tenant.ca_pem)
        signing_in = asyncio.create_task(here.proxy.sign_in())
        await clock.slept(5)
        found = re.search(r"Sign in at (\S+) with the code (\S+)", lines[-1])
        assert found is not None
        browser.user_code = found[2]
        await browser.visit(found[1])
        clock.advance(5)
        await signing_in
        await browser.close()
        yield here


async def test_export_completes_for_a_person() -> None:
    lines: list[str] = []
    async with ground_of_a_person(lines) as here:
        here.storage.readers = frozenset({MEMBER.object_id(CLINIC.id)})
        await assert_export_completes(here)
        assert_tokens_stayed_apart(here)

    assert sum("Sign in at" in line for line in lines) == 1


async def test_person_without_consent_reads_what_is_missing() -> None:
    async with ground_of_a_person([]) as here:
        here.sandbox.tenant.register(Resource(AUDIENCE, admin_consent_required=True))
        status, _, body = await here.get(here.kept())
        patients = await here.get(f"{here.proxy.url}/Patient?_count=1")

    assert (status, patients[0], here.storage.requests) == (503, 200, [])
    assert json.loads(body)["issue"][0]["code"] == "login"
    assert "Azure Storage > user_impersonation" in body.decode()
    assert "AADSTS65001" in body.decode()


async def test_identity_without_the_role_reads_which_one() -> None:
    async with ground() as here:
        here.storage.readers = frozenset()
        status, fields, body = await here.get(here.kept())
        outcome = json.loads(body)
        issue = outcome["issue"][0]

    assert (status, outcome["resourceType"], issue["code"]) == (403, "OperationOutcome", "forbidden")
    assert "AuthorizationPermissionMismatch" in body.decode()
    assert "Storage Blob Data Reader" in body.decode()
    assert "proxy-status" in fields


async def test_refused_token_is_renewed_once() -> None:
    async with ground() as here:
        url = here.kept()
        await here.get(url)
        verify, refused = here.storage._verify, []

        def fussy(token: str, audience: str) -> object:
            if not refused or token in refused:
                refused.append(token)
                raise here.storage._refusals[0]("revoked")
            return verify(token, audience)

        here.storage._verify = fussy  # type: ignore[assignment]
        renewed = await here.get(url)

        def deaf(token: str, audience: str) -> object:
            raise here.storage._refusals[0]("no")

        here.storage._verify = deaf  # type: ignore[assignment]
        status, _, body = await here.get(url)

    assert renewed[0] == 200
    assert len(refused) == 1
    assert status == 403
    assert "Storage Blob Data Reader" in body.decode()
    assert "www-authenticate" not in renewed[1]


async def test_file_that_is_gone_is_not_found() -> None:
    async with ground() as here:
        status, _, body = await here.get(f"{here.mount}/c/gone.ndjson")

    assert (status, json.loads(body)["issue"][0]["code"]) == (404, "not-found")
    assert "BlobNotFound" in body.decode()
    assert "gone.ndjson" not in body.decode()


async def test_signed_url_needs_no_token_and_gets_none() -> None:
    async with ground() as here:
        url = here.kept()
        good = await here.get(f"{url}?sv=2020-04-08&sig={SIGNATURE}")
        expired = await here.get(f"{url}?sv=2020-04-08&sig=b2xk")
        records = here.storage.requests

    assert (good[0], good[2]) == (200, b"{}\n")
    assert [record.target for record in records] == [
        f"/c/f.ndjson?sv=2020-04-08&sig={signature}" for signature in (SIGNATURE, "b2xk")
    ]
    assert not any("Authorization" in record.fields for record in records)
    assert expired[0] == 403
    assert "signature" in expired[2].decode()
    assert "b2xk" not in expired[2].decode()


async def test_range_and_validators_reach_the_account() -> None:
    async with ground() as here:
        here.storage.content_type = "image/png"
        url = here.kept("c/picture.png", b"0123456789")
        whole = await here.get(url)
        part = await here.get(url, Range="bytes=2-5")
        unchanged = await here.get(url, **{"If-None-Match": whole[1]["etag"]})
        head = await here.get(url, method="HEAD")

    assert (whole[0], whole[2], whole[1]["accept-ranges"]) == (200, b"0123456789", "bytes")
    assert (part[0], part[2], part[1]["content-range"]) == (206, b"2345", "bytes 2-5/10")
    assert (unchanged[0], head[0], head[1]["content-length"]) == (304, 200, "10")


async def test_account_gets_as_little_as_it_needs() -> None:
    async with ground() as here:
        sent = {
            "Authorization": "Bearer of-the-tool",
            "Cookie": "a=b",
            "X-MS-AZUREFHIR-AUDIT-USER": "Zimmermann",
            "X-Provenance": "{}",
            "Prefer": "handling=strict",
            "x-ms-version": "2009-09-19",
            "x-ms-date": "yesterday",
            "X-Request-Id": "one-of-mine",
            "User-Agent": "tool/1",
        }
        status, fields, _ = await here.get(here.kept(), **sent)
        record = here.storage.requests[-1]
        token = record.fields["Authorization"].removeprefix("Bearer ")
        claims = here.sandbox.tenant.verify(token, AUDIENCE)

    assert status == 200
    assert {name.lower() for name in record.fields} == {
        "host",
        "accept",
        "accept-encoding",
        "authorization",
        "user-agent",
        "x-ms-client-request-id",
        "x-ms-version",
    }
    assert record.fields["x-ms-version"] == "2020-04-08"
    assert record.fields["x-ms-client-request-id"] == fields["x-request-id"] == "one-of-mine"
    assert record.fields["Host"] == here.storage.host
    assert claims.appid == SERVICE.client_id


LINE = '{"resourceType":"Patient","link":[{"url":"%s/Patient/1"}],"identifier":[{"system":"%s/id"}]}\n'


@pytest.mark.parametrize("content_type", ["application/fhir+ndjson", "application/octet-stream"])
async def test_addresses_in_files_become_local(content_type: str) -> None:
    async with ground() as here:
        base = here.sandbox.fhir.base_url
        here.storage.content_type = content_type
        body = (LINE % (base, base)).encode()
        mapped = await here.get(here.kept(body=body))
        untouched = await here.get(here.kept(body=body), **{"X-Fhir-Auth-Proxy-Rewrite": "off"})

    assert mapped[2].decode() == LINE % (here.proxy.url, base)
    assert "accept-ranges" not in mapped[1]
    assert mapped[1]["etag"].startswith("W/")
    assert (untouched[2], untouched[1]["etag"].startswith("W/")) == (body, False)


async def test_documents_that_are_no_export_pass_as_they_are() -> None:
    async with ground() as here:
        here.storage.content_type = "application/json"
        body = json.dumps({"fullUrl": here.sandbox.fhir.base_url}).encode()
        answer = await here.get(here.kept("c/f.json", body))

    assert answer[2] == body


async def test_compressed_files_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ground() as here:
        base = here.sandbox.fhir.base_url
        plain = (LINE % (base, base)).encode()
        url = here.kept(body=gzip.compress(plain))
        file = here.storage._file

        def coded(request: object) -> object:
            response = file(request)  # type: ignore[arg-type]
            response.headers["Content-Encoding"] = "gzip"
            return response

        monkeypatch.setattr(here.storage, "_file", coded)
        status, fields, body = await here.get(url, **{"Accept-Encoding": "identity"})

    assert (status, body.decode()) == (200, LINE % (here.proxy.url, base))
    assert "content-encoding" not in fields


async def test_server_that_rewrites_nothing_leaves_the_list_of_files() -> None:
    async with ground(rewrite="off") as here:
        kicked = await here.get(f"{here.proxy.url}/$export", **ASYNC)
        job = kicked[1]["content-location"].rpartition("/")[2]
        polled = f"{here.proxy.url}/_operations/export/{job}"
        await here.get(polled)
        manifest = json.loads((await here.get(polled))[2])

    assert {output["url"].partition("/c")[0].split("/")[2] for output in manifest["output"]} == {
        here.storage.host
    }


async def test_unlisted_account_stays_elsewhere() -> None:
    async with ground(export_storage=["other.blob.core.windows.net"]) as here:
        manifest = await here.manifest()
        refused = await here.get(f"{here.mount}/c/f.ndjson")

    assert all(output["url"].startswith(f"https://{here.storage.host}/") for output in manifest["output"])
    assert refused[0] == 403
    assert "export_storage" in refused[2].decode()
    assert here.storage.requests == []


async def test_local_address_of_a_file_never_goes_up() -> None:
    async with ground() as here:
        url = here.kept("c/scan.pdf")
        patient = {"resourceType": "Patient", "id": "mine", "photo": [{"url": url}]}
        async with here.tool.put(f"{here.proxy.url}/Patient/mine", json=patient) as answer:
            assert answer.status == 201
        stored = here.sandbox.fhir.stored("Patient", "mine")
        read = json.loads((await here.get(f"{here.proxy.url}/Patient/mine"))[2])

    assert json.loads(stored)["photo"] == [{"url": f"https://{here.storage.host}/c/scan.pdf"}]
    assert read["photo"] == [{"url": url}]


async def test_key_stays_in_the_path() -> None:
    async with ground(key="Secret-key_1234567890") as here:
        keyed = f"http://{here.proxy.url.split('/')[2]}/k/Secret-key_1234567890"
        kicked = await here.get(f"{keyed}/$export", **ASYNC)
        status, body = 202, b""
        while status == 202:
            status, _, body = await here.get(kicked[1]["content-location"])
        url = json.loads(body)["output"][0]["url"]
        with_key = await here.get(url)
        without = await here.get(url.replace("/k/Secret-key_1234567890", ""))

    assert url.startswith(f"{keyed}{MOUNT}/")
    assert (with_key[0], without[0]) == (200, 403)
    assert "Secret" not in repr(here.storage.requests)


POLICIES = [({"policy": "read-only"}, 200), ({"allow": ["file"]}, 200), ({"allow": ["read"]}, 403)]


@pytest.mark.parametrize(("settings", "status"), POLICIES)
async def test_policy_takes_it_for_a_file_of_an_export(settings: dict[str, object], status: int) -> None:
    async with ground(**settings) as here:
        answer = await here.get(here.kept())

    assert answer[0] == status
    assert len(here.storage.requests) == (status == 200)


async def test_account_that_cannot_be_reached_is_told() -> None:
    async with ground(export_storage=["127.0.0.1:1"]) as here:
        status, _, body = await here.get(f"{here.proxy.url}{MOUNT}/127.0.0.1:1/c/f.ndjson")

    assert status == 502
    assert "127.0.0.1:1" in body.decode()


async def test_account_by_its_real_name_through_the_companys_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "exports.blob.core.windows.net"
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(Sandbox(patients=PATIENTS, has_storage=True))
        assert sandbox.storage is not None
        storage = StorageAccount(sandbox.tenant.verify)
        await storage.start(sandbox.tenant.certificates.server_context(name))
        stack.push_async_callback(storage.close)
        company = await stack.enter_async_context(
            byte_server(tunnelling(f"{name}:443", int(storage.host.rpartition(":")[2])))
        )
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{company.port}")
        monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
        monkeypatch.setattr(sandbox.storage, "keep", storage.keep)
        proxy = await stack.enter_async_context(proxy_of(sandbox, export_storage=[name]))
        here = Ground(sandbox, proxy, await stack.enter_async_context(ClientSession()))
        here.storage = storage
        storage.host = name
        await assert_export_completes(here)
        assert_tokens_stayed_apart(here)
