"""The method `command`: a program that prints a token, like kubectl's credential plug-ins.

It is started without a shell, whenever a token is needed; its output is JSON in one of the known shapes or
the token alone. What it writes to stderr is shown to the operator, what it writes to stdout never.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from functools import partial

from ..config import ServerConfig
from ..config.checks import NEEDS
from ..errors import AuthenticationFailed
from ..model import Rejection
from ..rules.rejections import refused_after_sign_in
from .answers import cleaned
from .cache import CachedAuthenticator
from .printed import printed_token
from .registration import require
from .seams import Authenticator, Seams
from .sources import AccessToken

MAX_BYTES = 64 * 1024
"""Of a program's output; Entra ID's largest tokens, with 200 groups, have some 10 KiB."""

MAX_LINES = 50
"""Lines of stderr that are shown a call: a sign-in's instructions fit, a program that runs wild does not."""

PIPES_END = 2.0
"""Seconds until a killed program's pipes are at their end; only a child that left its group keeps them longer."""


def command(config: ServerConfig, seams: Seams) -> Authenticator:
    """Tokens that a program prints; ConfigError where none is named."""
    require(config, NEEDS["command"])
    explain = partial(refused_after_sign_in, config)
    return CachedAuthenticator(CommandSource(config, seams), seams.clock, explain)


class CommandSource:
    """A TokenSource that runs the program anew each time."""

    def __init__(self, config: ServerConfig, seams: Seams) -> None:
        self._arguments = config.command
        self._timeout = config.command_timeout
        self._seams = seams

    @property
    def _name(self) -> str:
        """The program without its arguments, which may hold secrets."""
        return repr(self._arguments[0])

    async def acquire(self, *, rejected: Rejection | None) -> AccessToken:  # noqa: ARG002  all are new
        """The token that the program prints now; AuthenticationFailed says why there is none."""
        asked_at = self._seams.clock.time()
        output = await self._output()
        try:
            return printed_token(output, asked_at)
        except ValueError as error:
            raise AuthenticationFailed(
                f"What the command {self._name} prints {error}.",
                hint="It has to print the token alone, or JSON as kubectl's plug-ins, az, azd or a token "
                "endpoint do, and nothing else on stdout.",
            ) from None

    async def close(self) -> None:
        """A running program ends with the acquisition that started it."""

    async def _output(self) -> bytes:
        process = await self._started()
        readers = (
            asyncio.ensure_future(self._read(process)),
            asyncio.ensure_future(self._shown(process)),
        )
        try:
            async with asyncio.timeout(self._timeout):
                output, _ = await asyncio.gather(*readers)
                status = await process.wait()
        except TimeoutError:
            raise AuthenticationFailed(
                f"The command {self._name} printed no token within {self._timeout:g} seconds.",
                hint="Run it yourself to see what it waits for: it gets no input. --command-timeout gives "
                "it longer.",
            ) from None
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.wait(readers)
            await _ended(process)
        if status != 0:
            raise AuthenticationFailed(
                f"The command {self._name} {_meaning(status)}.",
                hint="What it says about that is in the proxy's own output. Run it yourself to see it again.",
            )
        return output

    async def _started(self) -> Process:
        name, *arguments = self._arguments
        try:
            return await asyncio.create_subprocess_exec(
                shutil.which(name) or name,  # which Windows would not do for az.cmd
                *arguments,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                start_new_session=os.name == "posix",  # so that its children end with it
            )
        except FileNotFoundError:
            words, hint = "is not found", "Give its full path, or look at the PATH of the proxy's process."
        except OSError as error:
            words = f"cannot be started ({error.strerror or type(error).__name__})"
            hint = "Look at its permissions, and at its first line if it is a script."
        raise AuthenticationFailed(f"The command {self._name} {words}.", hint=hint)

    async def _read(self, process: Process) -> bytes:
        assert process.stdout is not None  # noqa: S101  it is a pipe
        output = b""
        while chunk := await process.stdout.read(MAX_BYTES):
            output += chunk
            if len(output) > MAX_BYTES:
                raise AuthenticationFailed(
                    f"The command {self._name} prints more than {MAX_BYTES // 1024} KiB.",
                    hint="It has to print one token.",
                )
        return output

    async def _shown(self, process: Process) -> None:
        """Pass on what the program says while it says it: it may ask somebody to sign in."""
        assert process.stderr is not None  # noqa: S101  it is a pipe
        shown, rest = 0, b""
        while chunk := await process.stderr.read(4096):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-4096:]
            for line in lines:
                shown += self._tell(line, shown)
        self._tell(rest, shown)

    def _tell(self, line: bytes, shown: int) -> int:
        text = cleaned(line.decode("utf-8", "replace"))
        if not text or shown >= MAX_LINES:
            return 0
        self._seams.tell(f"{os.path.basename(self._arguments[0])}: {text}")
        return 1


async def _ended(process: Process) -> None:
    """End a program that still runs, with its children where the system knows groups of them."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    # asyncio takes a program for ended once its pipes are at their end too, and one that is full is not read.
    with suppress(TimeoutError):
        async with asyncio.timeout(PIPES_END):
            await asyncio.gather(process.wait(), _drained(process.stdout), _drained(process.stderr))


async def _drained(pipe: asyncio.StreamReader | None) -> None:
    while pipe is not None and await pipe.read(MAX_BYTES):
        continue


def _meaning(status: int) -> str:
    """What an exit status says: shells give 126 and 127 a meaning, POSIX the negative ones."""
    if status < 0:
        return f"was ended by signal {-status}"
    known = {
        126: " (what it calls cannot be executed)",
        127: " (what it calls is not found)",
        130: " (interrupted)",
    }
    return f"ended with status {status}{known.get(status, '')}"
