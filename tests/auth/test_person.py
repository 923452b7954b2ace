from __future__ import annotations

import asyncio

import pytest

from proxy.auth import Seams
from proxy.auth.entra import Entra
from proxy.auth.flows import Invitation, Start
from proxy.auth.person import Announce, PersonalSource
from proxy.auth.registration import Permission, authority_when_needed, registration
from proxy.auth.sources import AccessToken
from proxy.errors import ProxyError, SignInRequired

from ..fakes.clock import FakeClock
from .conftest import Settings, until

REASON = SignInRequired("nobody has signed in yet")


class FakeWay:
    """A sign-in that ends when the test says so."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[AccessToken | ProxyError] = asyncio.get_running_loop().create_future()
        self.starts: list[Start] = []

    async def sign_in(self, start: Start, announce: Announce) -> AccessToken:
        self.starts.append(start)
        announce(Invitation("Sign in at the gate"))
        outcome = await self.outcome
        if isinstance(outcome, ProxyError):
            raise outcome
        return outcome


@pytest.fixture
async def way() -> FakeWay:
    return FakeWay()


@pytest.fixture
async def source(person_settings: Settings, seams: Seams, way: FakeWay) -> PersonalSource:
    config = person_settings(auth="interactive", sign_in_timeout=60)
    entra = Entra(
        authority_when_needed(config, seams.probe), registration(config, Permission.PERSON), seams.clock
    )
    return PersonalSource(config, seams, entra, {"interactive": way}, lambda: Start("interactive"))


async def test_nobody_is_awaited_outside_a_sign_in(source: PersonalSource, way: FakeWay) -> None:
    before = source.awaited()
    way.outcome.set_result(AccessToken("t", 1, 1))
    await source.sign_in(REASON)

    assert (before, source.awaited()) == (None, None)


async def test_requests_are_told_where_to_sign_in(source: PersonalSource, way: FakeWay) -> None:
    sign_in = asyncio.create_task(source.sign_in(REASON))
    await until(source.awaited)
    awaited = source.awaited()
    way.outcome.set_result(AccessToken("t", 1, 1))
    await sign_in

    assert awaited is not None
    assert "Sign in at the gate." in awaited.hint


async def test_sign_in_that_nobody_completes_ends(
    source: PersonalSource, way: FakeWay, clock: FakeClock
) -> None:
    sign_in = asyncio.create_task(source.sign_in(REASON))
    await clock.slept(60)
    clock.advance(60)

    with pytest.raises(SignInRequired, match="within 60 seconds"):
        await sign_in
    assert source.awaited() is None
    assert way.outcome.cancelled()


async def test_failed_sign_in_is_told_as_it_failed(source: PersonalSource, way: FakeWay) -> None:
    way.outcome.set_result(SignInRequired("the person declined"))

    with pytest.raises(SignInRequired, match="declined"):
        await source.sign_in(REASON)
    assert source.awaited() is None


async def test_cancelled_sign_in_is_not_left_behind(source: PersonalSource, way: FakeWay) -> None:
    sign_in = asyncio.create_task(source.sign_in(REASON))
    await until(source.awaited)
    sign_in.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sign_in

    assert way.outcome.cancelled()


async def test_first_sign_in_gives_no_reason(source: PersonalSource, way: FakeWay, lines: list[str]) -> None:
    way.outcome.set_result(AccessToken("t", 1, 1))
    await source.sign_in(REASON)
    first = list(lines)
    await source.sign_in(REASON)

    assert not any("again" in line for line in first)
    assert any("sign in again. nobody has signed in yet" in line for line in lines)
