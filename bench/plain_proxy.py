"""The proxy that one would write with aiohttp in twenty lines: `python plain_proxy.py UPSTREAM PORT TOKEN`."""

from __future__ import annotations

import sys

from aiohttp import ClientSession, web

DROPPED = {"host", "connection", "transfer-encoding", "content-length", "keep-alive"}


async def forward(request: web.Request) -> web.StreamResponse:
    """Send the request on, and stream what comes back."""
    fields = {name: value for name, value in request.headers.items() if name.lower() not in DROPPED}
    fields["Authorization"] = f"Bearer {request.app[TOKEN]}"
    body = await request.read() if request.body_exists else None
    async with request.app[SESSION].request(
        request.method, request.app[UPSTREAM] + request.raw_path, headers=fields, data=body
    ) as answer:
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in DROPPED}
        response = web.StreamResponse(status=answer.status, headers=kept)
        response.content_length = answer.content_length
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        return response


async def start(app: web.Application) -> None:
    """Make the session within the loop."""
    app[SESSION] = ClientSession(auto_decompress=False)


UPSTREAM = web.AppKey("upstream", str)
TOKEN = web.AppKey("token", str)
SESSION = web.AppKey("session", ClientSession)

if __name__ == "__main__":
    application = web.Application(client_max_size=1 << 30)
    application[UPSTREAM], application[TOKEN] = sys.argv[1], sys.argv[3]
    application.on_startup.append(start)
    application.router.add_route("*", "/{path:.*}", forward)
    web.run_app(application, host="127.0.0.1", port=int(sys.argv[2]), access_log=None, print=None)
