from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy.errors import ProxyUnavailable
from proxy.model import Credentials, Rejection
from proxy.workers.channel import Channel
from proxy.workers.remote import RemoteAuthenticator
from proxy.workers.wire import Message

from ..fakes.clock import FakeClock


class Supervisor(Channel):
    """Gives the tokens that it has, one after the other, and keeps what it was asked and told."""

    def __init__(self, *tokens: str | None, seconds: float = 1.0) -> None:
        super().__init__({}, {})
        self.asked: list[Message] = []
        self.told: list[str] = []
        self._tokens = list(tokens)
        self._seconds = seconds

    def ask(self, name: str, message: Message) -> asyncio.Future[Message]:
        self.asked.append(message)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        if self._tokens:
            answer.set_result({"authorization": self._tokens.pop(0), "seconds": self._seconds})
        return answer

    def tell(self, name: str, message: Message) -> None:
        self.told.append(name)


@pytest.mark.parametrize("token", ["Bearer one", None])
async def test_copy_is_used_unasked_for_as_long_as_the_supervisor_says(token: str | None) -> None:
    clock, supervisor = FakeClock(), Supervisor(token, token, seconds=1.0)
    remote = RemoteAuthenticator(supervisor, clock, 1)
    first = await remote.credentials()
    clock.now += 0.9
    assert first is await remote.credentials()
    assert 1 == len(supervisor.asked)
    clock.now += 0.2
    assert first is await remote.credentials()

    assert 2 == len(supervisor.asked)


MOVES: list[Callable[[float], float]] = [lambda now: now - 3600, lambda now: now + 3600]


@pytest.mark.parametrize("move", MOVES, ids=["back", "ahead"])
async def test_clock_that_was_set_ends_a_copy(move: Callable[[float], float]) -> None:
    clock, supervisor = FakeClock(), Supervisor("Bearer one", "Bearer two")
    remote = RemoteAuthenticator(supervisor, clock, 1)
    await remote.credentials()
    clock.now = move(clock.now)

    assert Credentials(b"Bearer two") == await remote.credentials()


async def test_refused_copy_is_not_used_again() -> None:
    supervisor = Supervisor("Bearer one", "Bearer two")
    remote = RemoteAuthenticator(supervisor, FakeClock(), 1)
    refused = await remote.credentials()

    assert Credentials(b"Bearer two") == await remote.credentials(Rejection(refused))
    assert Credentials(b"Bearer two") == await remote.credentials()
    assert [None, "Bearer one"] == [question["refused"] for question in supervisor.asked]


async def test_copy_outlives_a_close_and_nothing_new_is_asked_for() -> None:
    clock, supervisor = FakeClock(), Supervisor("Bearer one")
    remote = RemoteAuthenticator(supervisor, clock, 1)
    held = await remote.credentials()
    await remote.close()
    await remote.close()
    clock.now += 60

    assert held is await remote.credentials()
    with pytest.raises(ProxyUnavailable):
        await remote.credentials(Rejection(held))
    assert (1, ["left"]) == (len(supervisor.asked), supervisor.told)


async def test_close_ends_the_waiting() -> None:
    remote = RemoteAuthenticator(Supervisor(), FakeClock(), 1)
    waiting = asyncio.create_task(remote.credentials())
    await asyncio.sleep(0)
    await remote.close()
    with pytest.raises(ProxyUnavailable):
        await waiting


async def test_storage_is_asked_for_by_the_same_sign_in() -> None:
    supervisor = Supervisor("Bearer storage")
    remote = RemoteAuthenticator(supervisor, FakeClock(), 5)
    beside = remote.beside("https://storage.azure.com", lambda _: pytest.fail("not explained here"))
    assert beside is not None
    assert Credentials(b"Bearer storage") == await beside.credentials()
    await beside.close()

    assert [(5, True)] == [(question["sign_in"], question["for_storage"]) for question in supervisor.asked]
    assert [] == supervisor.told
