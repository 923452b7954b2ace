"""A storage account like Azure's Blob Storage, as far as it hands out files: where exports lie.

Answers and error codes follow Microsoft, "Get Blob" and "Common REST API error codes".
"""

from __future__ import annotations

import hashlib
import re
import ssl
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Protocol

from aiohttp import web

AUDIENCE = "https://storage.azure.com"
"""What tokens for any storage account are made for (Microsoft, "Authorize with Microsoft Entra ID")."""

OLDEST_VERSION = "2017-11-09"
"""The first `x-ms-version` that takes bearer tokens (same place)."""

SIGNATURE = "c2lnbmVk"
"""The `sig` that the account takes for a valid shared access signature of any file."""

_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")
RECORDS_KEPT = 1000


class Claims(Protocol):
    """What the account reads of a verified token."""

    @property
    def oid(self) -> str:
        """Whose the token is."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A request that was answered, with all that came."""

    method: str
    target: str
    status: int
    fields: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    content_type: str
    modified: str


class _Refused(Exception):
    """An answer that says no, by status and Azure's error code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class StorageAccount:
    """A storage account over TLS.

    `verify` takes a token and the audience and gives its claims, or raises one of `refusals`. `readers` are
    the object ids with the role Storage Blob Data Reader, None where everybody in the tenant has it.
    """

    def __init__(
        self,
        verify: Callable[[str, str], Claims],
        *,
        refusals: tuple[type[Exception], ...] = (ValueError,),
        readers: frozenset[str] | None = None,
        content_type: str = "application/fhir+ndjson",
    ) -> None:
        self.readers = readers
        self.content_type = content_type
        """The type that files are kept with: Microsoft's FHIR server says NDJSON, other writers nothing."""
        self.authority = ""
        """Where to sign in, for the challenge."""
        self.host = ""
        """Host and port, once it listens."""
        self.requests: list[FileRecord] = []
        self._verify = verify
        self._refusals = refusals
        self._files: dict[str, _File] = {}
        self._runner: web.AppRunner | None = None

    async def start(
        self, ssl_context: ssl.SSLContext, host: str = "127.0.0.1", port: int = 0, name: str = "localhost"
    ) -> None:
        """Listen; `name` is what its URLs call it."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=ssl_context).start()
        self.host = f"{name}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening and close the connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def keep(self, path: str, body: bytes) -> str:
        """Store a file under container and name; its URL."""
        self._files[f"/{path}"] = _File(body, self.content_type, formatdate(usegmt=True))
        return f"https://{self.host}/{path}"

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            self._admit(request)
            response = self._file(request)
        except _Refused as refused:
            response = self._refusal(refused)
        response.headers["x-ms-request-id"] = str(uuid.uuid4())
        response.headers["x-ms-version"] = request.headers.get("x-ms-version", "2009-09-19")
        self.requests.append(
            FileRecord(request.method, request.raw_path, response.status, dict(request.headers))
        )
        del self.requests[:-RECORDS_KEPT]
        return response

    def _admit(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            if request.query.get("sig", "") == SIGNATURE:
                return
            raise (
                _Refused(403, "AuthenticationFailed")
                if "sig" in request.query
                else _Refused(401, "NoAuthenticationInformation")
            )
        if scheme.lower() != "bearer" or request.headers.get("x-ms-version", "") < OLDEST_VERSION:
            raise _Refused(403, "AuthenticationFailed")
        try:
            claims = self._verify(token, AUDIENCE)
        except self._refusals:
            raise _Refused(401, "InvalidAuthenticationInfo") from None
        if self.readers is not None and claims.oid not in self.readers:
            raise _Refused(403, "AuthorizationPermissionMismatch")

    def _file(self, request: web.Request) -> web.Response:
        if request.method not in {"GET", "HEAD"}:
            raise _Refused(405, "UnsupportedHttpVerb")
        file = self._files.get(request.path)
        if file is None:
            raise _Refused(404, "BlobNotFound")
        etag = f'"0x{hashlib.sha256(file.body).hexdigest()[:15].upper()}"'
        fields = {
            "Content-Type": file.content_type,
            "ETag": etag,
            "Last-Modified": file.modified,
            "Accept-Ranges": "bytes",
            "x-ms-blob-type": "BlockBlob",
        }
        if request.headers.get("If-None-Match", "").removeprefix("W/") == etag:
            return web.Response(status=304, headers=fields)
        asked = _RANGE.fullmatch(request.headers.get("Range", ""))
        if asked is None:
            return web.Response(body=file.body, headers=fields)
        first, last = int(asked[1]), int(asked[2] or len(file.body) - 1)
        if first >= len(file.body):
            raise _Refused(416, "InvalidRange")
        part = file.body[first : last + 1]
        fields["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(file.body)}"
        return web.Response(status=206, body=part, headers=fields)

    def _refusal(self, refused: _Refused) -> web.Response:
        fields = {"x-ms-error-code": refused.code, "Content-Type": "application/xml"}
        if refused.status == 401:
            fields["WWW-Authenticate"] = (
                f"Bearer authorization_uri={self.authority}/oauth2/authorize resource_id={AUDIENCE}"
            )
        body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{refused.code}</Code></Error>'
        return web.Response(status=refused.status, body=body.encode(), headers=fields)
