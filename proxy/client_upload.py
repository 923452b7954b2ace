"""Waiting for a tool: for the body of its request on its way up, and until it has taken its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import Protocol

from .client import SMALL, ClientRequest
from .client_limits import ClientLimits
from .errors import UploadTimeout
from .rules.bodies import BodyPath
from .stepping import Bell


class Tool(Protocol):
    """A tool that may be slower than the server."""

    on_drained: Callable[[], object] | None
    """Called when it has caught up, or is gone; for who waits to set."""


async def tool_takes(tool: Tool, limits: ClientLimits) -> None:
    """Wait until a tool has taken what was sent to it; ConnectionError where it has stopped reading."""
    drained = Bell()
    tool.on_drained = drained.ring
    if not await drained.rings_within(limits.send):
        raise ConnectionAbortedError("the tool has stopped reading")


class HeldBody(Protocol):
    """A body that is held until it is whole."""

    go_on: Callable[[], object] | None
    """Called when it is; for who waits to set."""

    @property
    def is_read(self) -> bool:
        """Whether it is whole."""

    @property
    def piece_at(self) -> float:
        """When the last bytes of it came, by `time.monotonic`."""

    @property
    def body(self) -> bytes:
        """What has come of it."""


async def pieces_held(held: HeldBody, limits: ClientLimits) -> AsyncIterator[bytes]:
    """The body in one piece; raises UploadTimeout where it stops in the middle."""
    whole = Bell()
    held.go_on = whole.ring
    while not held.is_read:
        remaining = held.piece_at + limits.upload - monotonic()
        if remaining <= 0:
            raise upload_stopped(limits)
        await whole.rings_within(remaining)
    yield held.body


def upload_stopped(limits: ClientLimits) -> UploadTimeout:
    """What to tell a tool that has stopped in the middle of its body."""
    return UploadTimeout(
        f"Nothing more of the request's body has come for {limits.upload:g} seconds.",
        hint="Send the request again, or raise upload_timeout.",
    )


class Upload:
    """The body of a request on its way up; reading it raises what `ClientRequest.pieces` and its path raise."""

    def __init__(self, request: ClientRequest, path: BodyPath | None) -> None:
        self._request = request
        self._path = path
        self._stream: AsyncIterator[bytes] | None = None
        self._held: list[bytes] = []
        self._is_whole = not request.head.body_exists
        self.is_spent = False
        """Whether bytes that are not held have been handed out: the body cannot be sent again."""

    @property
    def length(self) -> int | None:
        """Bytes of the body as it goes up, None where that is not known before it has gone."""
        return sum(map(len, self._held)) if self._is_whole else None

    @property
    def held(self) -> bytes | None:
        """The whole body as it goes up, None where it is too large to be held."""
        if not self._is_whole:
            return None
        if len(self._held) != 1:
            self._held = [b"".join(self._held)]
        return self._held[0]

    async def hold(self) -> None:
        """Read the whole body where it is small."""
        if self._is_whole or (self._request.content_length or 0) > SMALL:
            return
        path, length = self._path, self._request.content_length
        if length is not None and (path is None or path.is_direct):
            # All of it fits, so that it can be read before anything is done with it.
            body = b"".join([piece async for piece in self._request.pieces()])
            self._held = [path.whole(body) if path else body]
            self._is_whole = True
            return
        size = 0
        self._stream = self._read()
        async for chunk in self._stream:
            self._held.append(chunk)
            size += len(chunk)
            if size > SMALL:
                return
        self._is_whole = True

    @property
    def body(self) -> AsyncIterator[bytes] | bytes | None:
        """The body from its start as it goes up, in one piece where it is held; None where there is none."""
        if not self._request.head.body_exists:
            return None
        return self.held if self._is_whole else self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._held:
            yield chunk
        if not self._is_whole:
            self.is_spent = True
            self._held = []
            async for chunk in self._stream or self._read():
                yield chunk

    async def _read(self) -> AsyncIterator[bytes]:
        path = self._path
        async for chunk in self._request.pieces():
            for piece in path.feed(chunk) if path else (chunk,):
                yield piece
        for piece in path.flush() if path else ():
            yield piece
