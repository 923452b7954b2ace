from __future__ import annotations

import base64
import json
import math
from dataclasses import replace

import pytest

from proxy.admin.watching import REACHED_FOR, ServerWatch
from proxy.auth import Seams
from proxy.config import ServerConfig
from proxy.errors import (
    AuthenticationFailed,
    BadRequest,
    ProxyError,
    SignInRequired,
    UpstreamUnreachable,
)
from proxy.model import (
    Classified,
    Credentials,
    Fields,
    FinishedExchange,
    Interaction,
    Rejection,
    ResponseHead,
)

from ..fakes.clock import FakeClock
from ..running import NoBrowser

SERVER = "https://fhir.example"
AWAY = UpstreamUnreachable("https://fhir.example cannot be reached.", hint="Is it on?")
NOBODY = f"Nobody has signed in to {SERVER} yet; the first request asks for it."


def token(**claims: object) -> Credentials:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    return Credentials(b"Bearer e30." + payload + b".c2ln")


class FakeSignIn:
    """An Authenticator that gives what it is told to, and counts."""

    def __init__(self, gives: Credentials | ProxyError | None) -> None:
        self.gives = gives
        self.asked = 0
        self.closed = False

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        self.asked += 1
        if isinstance(self.gives, ProxyError):
            raise self.gives
        return self.gives

    async def close(self) -> None:
        self.closed = True


class FakeServer:
    """Answers the probe with a status, or is away."""

    def __init__(self, status: int = 401) -> None:
        self.status = status
        self.failure: ProxyError | None = None
        self.probed = 0

    async def __call__(self) -> ResponseHead:
        self.probed += 1
        if self.failure is not None:
            raise self.failure
        return ResponseHead(self.status, b"", Fields())


class World:
    def __init__(
        self,
        auth: str = "client-secret",
        gives: Credentials | ProxyError | None = None,
        *,
        status: int = 401,
        attended: bool = True,
        **settings: object,
    ) -> None:
        self.clock = FakeClock()
        self.sign_in = FakeSignIn(gives)
        self.server = FakeServer(status)
        config = ServerConfig.of({"base_url": SERVER, "auth": auth, **settings})
        seams = Seams(self.clock, NoBrowser(), lambda line: None, attended, self.server)
        self.watch = ServerWatch(config, self.sign_in, seams)
        self.watch.local_url = "http://localhost:8080"


def finished(failed: ProxyError | None = None, *, status: int = 200) -> FinishedExchange:
    waited = None if failed else 0.01
    return FinishedExchange(
        Classified(Interaction.READ, "Patient"), status, 0, 10, 0.02, waited, 1, "id", failed
    )


# Readiness: method, what its Authenticator gives, what the server answers, is somebody there -> why not, was it asked
READINESS = [
    ("client-secret", token(exp=2e9), 401, True, "", 1),
    ("client-secret", AuthenticationFailed("No.", hint="Do."), 401, True, "No. Do.", 1),
    ("token", token(), 401, False, "", 1),
    ("anonymous", None, 200, True, "", 1),
    # Only a request calls a person
    ("interactive", token(), 401, True, NOBODY, 0),
    ("device-code", token(), 401, False, NOBODY, 0),
    # auto does what the server asks for
    ("auto", None, 200, True, "", 1),
    ("auto", token(), 401, True, NOBODY, 0),
    ("auto", SignInRequired("A person is needed."), 401, False, "A person is needed.", 1),
]


@pytest.mark.parametrize(("auth", "gives", "status", "attended", "why", "asked"), READINESS)
async def test_readiness_by_method(
    auth: str, gives: Credentials | ProxyError | None, status: int, attended: bool, why: str, asked: int
) -> None:
    world = World(auth, gives, status=status, attended=attended)

    assert why == await world.watch.unready()
    assert asked == world.sign_in.asked


async def test_auto_with_an_identity_signs_in_for_a_probe() -> None:
    world = World("auto", token(), client_id="app", client_secret="secret", tenant="t.example")

    assert "" == await world.watch.unready()


async def test_not_ready_before_it_listens() -> None:
    world = World("anonymous")
    world.watch.local_url = ""

    assert "The proxy is starting." == await world.watch.unready()


async def test_open_server_stays_ready_without_being_asked_again() -> None:
    world = World("auto", None, status=200)
    assert "" == await world.watch.unready()

    assert "" == await world.watch.unready()
    assert (1, 1) == (world.server.probed, world.sign_in.asked)


async def test_person_who_signed_in_makes_it_ready() -> None:
    world = World("interactive", token(exp=2e9))
    await world.watch.credentials()

    assert "" == await world.watch.unready()


async def test_expired_token_of_a_person_is_not_ready() -> None:
    world = World("interactive", token(exp=1_800_000_060))
    await world.watch.credentials()
    world.clock.advance(60)

    assert NOBODY == await world.watch.unready()


async def test_server_is_asked_again_when_its_last_answer_is_old() -> None:
    world = World(gives=token())
    world.watch.ledger.finished(finished())
    await world.watch.unready()
    assert 0 == world.server.probed

    world.clock.advance(REACHED_FOR)
    await world.watch.unready()
    assert 1 == world.server.probed


async def test_server_that_went_away_is_not_ready_until_it_is_back() -> None:
    world = World(gives=token())
    world.watch.ledger.finished(finished())
    world.server.failure = AWAY
    world.watch.ledger.finished(finished(AWAY, status=502))
    assert "https://fhir.example cannot be reached. Is it on?" == await world.watch.unready()

    world.server.failure = None
    assert "" == await world.watch.unready()


async def test_storage_account_says_nothing_about_the_server() -> None:
    world = World(gives=token())
    world.watch.ledger.finished(replace(finished(), account="a.example"))
    await world.watch.unready()
    assert 1 == world.server.probed

    world.watch.ledger.finished(replace(finished(AWAY, status=502), account="a.example"))
    await world.watch.unready()
    assert 1 == world.server.probed


PROBLEMS = [
    (AWAY, ("https://fhir.example cannot be reached.", "Is it on?")),
    # A tool's own mistake is nothing that an operator mends
    (BadRequest("The path holds a dot segment"), None),
    (None, None),
]


@pytest.mark.parametrize(("failed", "expected"), PROBLEMS)
async def test_problem_is_what_somebody_can_mend(
    failed: ProxyError | None, expected: tuple[str, str] | None
) -> None:
    world = World()
    world.watch.ledger.finished(finished(failed))
    problem = world.watch.problem

    assert expected == (problem and (problem.message, problem.hint))


async def test_failed_sign_in_is_raised_and_remembered() -> None:
    world = World(gives=AuthenticationFailed("No.", hint="Do."))
    with pytest.raises(AuthenticationFailed, match=r"No\."):
        await world.watch.credentials()

    assert world.watch.problem is not None
    assert ("No.", world.clock.now) == (world.watch.problem.message, world.watch.problem.at)


async def test_identity_is_that_of_the_token_in_use() -> None:
    world = World(gives=token(upn="ada@example.org", exp=1_800_000_090))
    await world.watch.credentials()
    assert ("ada@example.org", 90) == (world.watch.identity.account, world.watch.token_seconds)

    world.sign_in.gives = None
    await world.watch.credentials()
    assert ("", True) == (world.watch.identity.account, math.isnan(world.watch.token_seconds))


async def test_closing_closes_what_is_watched() -> None:
    world = World()
    await world.watch.close()

    assert world.sign_in.closed
