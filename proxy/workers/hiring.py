"""One worker as its supervisor has it: a process, the channel to it, the sign-ins that it needs."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

from ..admin import ServerWatch
from ..config.settings import SETTINGS
from ..errors import ProxyUnavailable
from ..service import SignIn
from .channel import Channel
from .wire import CredentialsAnswer, CredentialsQuestion, FinishedBatch, Left, Message, Settings

COPY_SECONDS = 1.0
"""How long a worker uses credentials without asking again: nothing beside the 30 seconds before its expiry from
which a token is not used any more (`auth.cache`), and thousands of requests."""

COPY_SHARE = 20
"""A copy is used for a twentieth of what is left of its token at most, since some live for seconds."""

ENDING_SECONDS = 5.0
"""How long a worker has to end once there is nothing left to do."""


class Hired:
    """A worker, from its start to its end."""

    def __init__(self, number: int, process: asyncio.subprocess.Process) -> None:
        self.number = number
        self.process = process
        self.channel = Channel(
            {"credentials": self._credentials}, {"finished": self._finished, "left": self._left}
        )
        self._sign_ins: dict[int, SignIn] = {}
        self._watches: dict[int, ServerWatch] = {}
        self._releasing: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(cls, number: int, command: Sequence[str]) -> Hired:
        """Start a process by a command to which the number of its end of the channel is added."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(*command, str(theirs.fileno())),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    env=worker_environment(os.environ),
                    start_new_session=True,  # The keys of a terminal are for the supervisor.
                )
        except BaseException:
            ours.close()
            raise
        hired = cls(number, process)
        try:
            await hired.channel.open(ours)
        except BaseException:
            hired.kill()
            raise
        return hired

    async def serve(self, settings: Settings, sign_ins: Mapping[int, SignIn]) -> None:
        """Have it serve by settings, which name these sign-ins; raises what it cannot."""
        for number, sign_in in sign_ins.items():
            if number not in self._sign_ins:
                sign_in.share()
                self._sign_ins[number] = sign_in
                self._watches[number] = sign_in.watch
        await self.channel.ask("settings", settings.plain())

    async def run(self) -> str:
        """Answer it until it ends; how it has ended, in words."""
        try:
            await self.channel.run()
            with suppress(TimeoutError):
                async with asyncio.timeout(ENDING_SECONDS):
                    await self.process.wait()
        finally:
            self.kill()
            status = await self.process.wait()
            for number in tuple(self._sign_ins):
                self._release(number)
            if self._releasing:
                await asyncio.wait(self._releasing)
        return (
            f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
        )

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self.process.kill()

    async def _credentials(self, message: Message) -> Message:
        question = CredentialsQuestion.heard(message)
        sign_in = self._sign_ins.get(question.sign_in)
        if sign_in is None:
            raise ProxyUnavailable("The proxy is stopping")
        authenticator = sign_in.storage if question.for_storage else sign_in.watch
        credentials = await authenticator.credentials(question.rejected)
        left = sign_in.watch.token_seconds / COPY_SHARE
        return CredentialsAnswer(
            authorization=None if credentials is None else credentials.authorization.decode("latin-1"),
            seconds=COPY_SECONDS if math.isnan(left) else min(COPY_SECONDS, left),
        ).plain()

    def _finished(self, message: Message) -> None:
        for exchange in FinishedBatch.heard(message).exchanges:
            self._watches[exchange.sign_in].ledger.finished(exchange.read())

    def _left(self, message: Message) -> None:
        self._release(Left.heard(message).sign_in)

    def _release(self, number: int) -> None:
        sign_in = self._sign_ins.pop(number, None)
        if sign_in is not None:
            releasing = asyncio.create_task(sign_in.release())
            self._releasing.add(releasing)
            releasing.add_done_callback(self._releasing.discard)


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker: without the secrets of this program's settings, which it does not need."""
    ours = {setting.variable for setting in SETTINGS.values() if setting.is_secret}
    return {name: value for name, value in environment.items() if name.upper() not in ours}
