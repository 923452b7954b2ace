"""What an endpoint answers in a fault that any server may have."""

from __future__ import annotations

from aiohttp import web

from .faults import Fault, Garbage, Hang, HttpError, Truncated


async def in_place_of_work(fault: Fault | None, request: web.Request) -> web.StreamResponse | None:
    """The answer, or None where the work is to be done, at once or after a Hang."""
    match fault:
        case HttpError():
            response = web.Response(status=fault.status, text=fault.body, content_type=fault.content_type)
            return with_retry_after(response, fault.retry_after)
        case Garbage():
            return web.Response(body=fault.body, content_type="application/json")
        case Truncated():
            return await _cut(request)
        case Hang():
            await fault.wait()
    return None


def with_retry_after(response: web.Response, seconds: int | None) -> web.Response:
    """The response, with when to come again where that is given."""
    if seconds is not None:
        response.headers["Retry-After"] = str(seconds)
    return response


async def _cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "2000"})
    await response.prepare(request)
    await response.write(b'{"token_type":"Bearer","expires_in":3599,"access_token":"ey')
    if request.transport is not None:
        request.transport.close()
    return response
