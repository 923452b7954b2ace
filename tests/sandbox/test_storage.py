from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from proxy.sandbox.certificates import CertificateAuthority
from proxy.sandbox.storage import AUDIENCE, SIGNATURE, StorageAccount

BODY = b'{"resourceType":"Patient"}\n'


@dataclass(frozen=True)
class Someone:
    oid: str


def verify(token: str, audience: str) -> Someone:
    assert audience == AUDIENCE
    if token not in {"reader", "other"}:
        raise ValueError("no token of this tenant")
    return Someone(token)


CERTIFICATES = CertificateAuthority.create()


@pytest.fixture
async def account() -> AsyncIterator[StorageAccount]:
    account = StorageAccount(verify, readers=frozenset({"reader"}))
    await account.start(CERTIFICATES.server_context())
    yield account
    await account.close()


async def ask(account: StorageAccount, method: str, target: str, **fields: str) -> tuple[int, str, bytes]:
    pem = CERTIFICATES.ca_pem.decode()
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    async with aiohttp.ClientSession() as session:
        url = f"https://{account.host}{target}"
        context = ssl.create_default_context(cadata=pem)
        async with session.request(method, url, headers=named, ssl=context) as answer:
            return answer.status, answer.headers.get("x-ms-error-code", ""), await answer.read()


VERSION = {"x_ms_version": "2020-04-08"}
READER = {"Authorization": "Bearer reader", **VERSION}

CASES = (
    # method, target, fields, status, code
    ("GET", "/c/f.ndjson", READER, 200, ""),
    ("HEAD", "/c/f.ndjson", READER, 200, ""),
    ("GET", f"/c/f.ndjson?sig={SIGNATURE}", {}, 200, ""),
    ("GET", "/c/f.ndjson", {**READER, "Range": "bytes=2-5"}, 206, ""),
    ("GET", "/c/f.ndjson", {**READER, "Range": "bytes=999-"}, 416, "InvalidRange"),
    ("GET", "/c/g.ndjson", READER, 404, "BlobNotFound"),
    ("PUT", "/c/f.ndjson", READER, 405, "UnsupportedHttpVerb"),
    ("GET", "/c/f.ndjson", {}, 401, "NoAuthenticationInformation"),
    ("GET", "/c/f.ndjson?sig=expired", {}, 403, "AuthenticationFailed"),
    ("GET", "/c/f.ndjson", {"Authorization": "Bearer x", **VERSION}, 401, "InvalidAuthenticationInfo"),
    (
        "GET",
        "/c/f.ndjson",
        {"Authorization": "Bearer other", **VERSION},
        403,
        "AuthorizationPermissionMismatch",
    ),
    # Without a version, or with one before bearer tokens were taken.
    ("GET", "/c/f.ndjson", {"Authorization": "Bearer reader"}, 403, "AuthenticationFailed"),
    (
        "GET",
        "/c/f.ndjson",
        {"Authorization": "Bearer reader", "x_ms_version": "2017-07-29"},
        403,
        "AuthenticationFailed",
    ),
)


@pytest.mark.parametrize(("method", "target", "fields", "status", "code"), CASES)
async def test_answers(
    account: StorageAccount, method: str, target: str, fields: dict[str, str], status: int, code: str
) -> None:
    url = account.keep("c/f.ndjson", BODY)
    answer = await ask(account, method, target, **fields)

    assert url == f"https://{account.host}/c/f.ndjson"
    assert answer[:2] == (status, code)
    if status in {200, 206}:
        part = b"" if method == "HEAD" else BODY if status == 200 else BODY[2:6]
        assert answer[2] == part
    assert account.requests[-1].status == status
