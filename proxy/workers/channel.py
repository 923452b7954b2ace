"""Questions, answers and news between two processes over a socket of their own.

A frame is four bytes of length, the higher first, and an object of MessagePack.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from itertools import count

from msgspec import msgpack

from ..errors import InternalError, ProxyError, ProxyUnavailable
from .wire import ErrorWords, Message

logger = logging.getLogger(__name__)

LENGTH_BYTES = 4

Answer = Callable[[Message], Awaitable[Message]]
"""Answers a question; a ProxyError that it raises is raised where the question was asked."""

Hear = Callable[[Message], None]
"""Takes note of news, in the order in which they were told."""


class Channel:
    """One end: it answers by `answers`, hears by `hears`, each by the name of what is asked or told."""

    def __init__(self, answers: Mapping[str, Answer], hears: Mapping[str, Hear]) -> None:
        self._answers = answers
        self._hears = hears
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, end: socket.socket) -> None:
        """Speak through that socket, which is closed with this."""
        self._reader, self._writer = await asyncio.open_connection(sock=end)

    async def run(self) -> None:
        """Hear and answer until the other side has gone; whoever still waits for it gets ProxyUnavailable."""
        reader = self._reader
        assert reader is not None  # noqa: S101  (it is open)
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(LENGTH_BYTES))
                self._take(msgpack.decode(await reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        except (KeyError, ValueError):
            logger.exception("Another process of the proxy speaks otherwise.")
        finally:
            self.close()
            for answering in self._answering:
                answering.cancel()
            for waiting in self._asked.values():
                if not waiting.done():
                    waiting.set_exception(ProxyUnavailable("A process of the proxy has ended"))

    def ask(self, name: str, message: Message) -> asyncio.Future[Message]:
        """The other side's answer; a ProxyError where it has none."""
        number = next(self._numbers)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        answer.add_done_callback(lambda _: self._asked.pop(number))
        if not self._send({"asks": name, "number": number, "message": message}):
            answer.set_exception(ProxyUnavailable("A process of the proxy has ended"))
        return answer

    def tell(self, name: str, message: Message) -> None:
        """Give news, which are lost where the other side has gone."""
        self._send({"tells": name, "message": message})

    def close(self) -> None:
        """Say no more, after what was said."""
        if self._writer is not None:
            self._writer.close()

    def _send(self, frame: Message) -> bool:
        if self._writer is None or self._writer.is_closing():
            return False
        body = msgpack.encode(frame)
        self._writer.write(len(body).to_bytes(LENGTH_BYTES) + body)
        return True

    def _take(self, frame: Message) -> None:
        match frame:
            case {"tells": str(name), "message": dict(message)}:
                self._hears[name](message)
            case {"asks": str(name), "number": int(number), "message": dict(message)}:
                answering = asyncio.create_task(self._answer(name, number, message))
                self._answering.add(answering)
                answering.add_done_callback(lambda task: self._answered(task, number))
            case {"answers": int(number), **answer}:
                self._accept(self._asked.get(number), answer)

    def _accept(self, waiting: asyncio.Future[Message] | None, answer: Message) -> None:
        if waiting is None or waiting.done():
            return  # Whoever asked has gone.
        match answer:
            case {"error": dict(error)}:
                waiting.set_exception(ErrorWords.heard(error).read())
            case {"message": dict(message)}:
                waiting.set_result(message)

    async def _answer(self, name: str, number: int, message: Message) -> None:
        try:
            answer = {"message": await self._answers[name](message)}
        except ProxyError as error:
            answer = {"error": ErrorWords.of(error).plain()}
        self._send({"answers": number, **answer})

    def _answered(self, answering: asyncio.Task[None], number: int) -> None:
        self._answering.discard(answering)
        if not answering.cancelled() and (fault := answering.exception()) is not None:
            logger.error("A question of another process of the proxy has no answer.", exc_info=fault)
            error = InternalError("The proxy has failed; its log says where.")
            self._send({"answers": number, "error": ErrorWords.of(error).plain()})
