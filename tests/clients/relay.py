"""A reverse proxy that changes nothing but fields of requests; what stands before servers in these tests."""

from __future__ import annotations

from aiohttp import ClientSession, DummyCookieJar, web
from multidict import CIMultiDict
from yarl import URL

# RFC 9110 section 7.6.1, and the framing, which each connection has for itself.
OWN = ("Connection", "Keep-Alive", "Content-Length", "Transfer-Encoding", "Expect")
# Fields that aiohttp's client would add.
ADDED = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


class Relay:
    """Passes requests to `target`, an origin, under the same path; links and answers pass as they are.

    Subclasses decide in `admit` on the request's fields, or answer themselves.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.origin = ""

    async def start(self) -> None:
        self._session = ClientSession(
            auto_decompress=False, cookie_jar=DummyCookieJar(), skip_auto_headers=ADDED
        )
        application = web.Application(client_max_size=100 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.origin = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    def admit(self, request: web.Request, fields: CIMultiDict[str]) -> web.Response | None:
        raise NotImplementedError

    async def _pass(self, request: web.Request) -> web.Response:
        fields = CIMultiDict(request.headers)
        for name in OWN:
            fields.popall(name, None)
        refusal = self.admit(request, fields)
        if refusal is not None:
            return refusal
        # aiohttp's server has decompressed the body.
        body = await request.read()
        fields.popall("Content-Encoding", None)
        async with self._session.request(
            request.method,
            URL(self.target + request.raw_path, encoded=True),
            headers=fields,
            data=body or None,
            allow_redirects=False,
        ) as answer:
            content = await answer.read()
            returned = CIMultiDict(answer.headers)
        for name in OWN:
            returned.popall(name, None)
        return web.Response(status=answer.status, headers=returned, body=content)
