from __future__ import annotations

import asyncio

import pytest

from proxy.auth.auto import ASK_AGAIN, AutoAuthenticator
from proxy.auth.seams import Authenticator, Probe, Seams
from proxy.config import ServerConfig
from proxy.errors import (
    AuthenticationFailed,
    ConfigError,
    ProxyError,
    ProxyUnavailable,
    SignInRequired,
    UpstreamUnreachable,
)
from proxy.model import Challenge, Credentials, Fields, Rejection, ResponseHead

GUID = "8a2f1c70-4c5e-4f06-9a43-d1b1a7f5e0c1"
LOGIN = f"https://login.microsoftonline.com/{GUID}"
ENTRA = f'Bearer authorization_uri="{LOGIN}", resource_id="https://fhir.example"'
REJECTED = Rejection(Credentials(b""), (Challenge("bearer"),))
SECRET = {"client_id": "app-7", "client_secret": "hush"}


def answer(status: int, *challenges: str, **others: str) -> ResponseHead:
    lines = [("WWW-Authenticate", challenge) for challenge in challenges]
    return ResponseHead(status, b"", Fields.of([*lines, *others.items()]))


OPEN, LOCKED, BROKEN = answer(200), answer(401, ENTRA), answer(503)


class FakeClock:
    now = 1000.0

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


class FakeBrowser:
    def open(self, url: str) -> bool:
        raise AssertionError("nothing here opens a browser")


class FakeServer:
    """Answers in turn, the last for ever; holds its answers back while the gate is closed."""

    def __init__(self, *answers: ResponseHead | ProxyError) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.was_asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def probe(self) -> ResponseHead:
        self.asked += 1
        self.was_asked.set()
        await self.gate.wait()
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(given, ProxyError):
            raise given
        return given


class FakeMethod:
    def __init__(self, method: str) -> None:
        self.made = Credentials(method.encode())
        self.rejections: list[Rejection | None] = []
        self.is_closed = False

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        self.rejections.append(rejected)
        return self.made

    async def close(self) -> None:
        self.is_closed = True


class Rig:
    """An AutoAuthenticator with fakes all around."""

    def __init__(
        self, *answers: ResponseHead | ProxyError, attended: bool = True, **settings: object
    ) -> None:
        self.server = FakeServer(*answers)
        self.clock = FakeClock()
        self.lines: list[str] = []
        self.methods: list[FakeMethod] = []
        self.probes: list[Probe] = []
        config = ServerConfig.of({"base_url": "https://fhir.example", **settings})
        seams = Seams(self.clock, FakeBrowser(), self.lines.append, attended, self.server.probe)
        self.auto = AutoAuthenticator(config, seams, self.make)

    def make(self, method: str, probe: Probe) -> Authenticator:
        self.methods.append(FakeMethod(method))
        self.probes.append(probe)
        return self.methods[-1]

    async def method(self) -> str | None:
        """The method whose credentials are given; None for no credentials."""
        credentials = await self.auto.credentials()
        return credentials.authorization.decode() if credentials else None


CHOICES = [
    # an open server is served anonymously, whatever is configured
    (OPEN, {}, None, "answers without sign-in; served anonymously"),
    (answer(204), {"tenant": GUID}, None, "served anonymously"),
    (OPEN, SECRET, None, "the configured client secret is not used"),
    (OPEN, {**SECRET, "token_file": "t"}, None, "the configured token and client secret is not used"),
    # what is configured
    (LOCKED, {"token_file": "t.txt"}, "token", "the token in t.txt is used"),
    (LOCKED, {"token": "t"}, "token", "the token in FHIR_AUTH_PROXY_TOKEN is used"),
    (LOCKED, {"command": ["az", "hush"]}, "command", "what the command 'az' prints is used"),
    (LOCKED, {**SECRET, "tenant": GUID}, "client-secret", f"the app app-7 signs in at {LOGIN}"),
    (
        LOCKED,
        {"client_id": "app-7", "client_secret_file": "s.txt", "tenant": "contoso.example"},
        "client-secret",
        "https://login.microsoftonline.com/contoso.example",
    ),
    # otherwise the person
    (LOCKED, {}, "interactive", f"you sign in at {LOGIN}"),
    (answer(401, "Negotiate", ENTRA), {}, "interactive", LOGIN),
    (answer(401, "Bearer"), {"tenant": GUID}, "interactive", LOGIN),
    (answer(401), {"authority": "https://localhost:8443/t"}, "interactive", "https://localhost:8443/t"),
    (
        answer(401, 'Bearer authorization_uri="https://evil.example/x"'),
        {"tenant": GUID},
        "interactive",
        LOGIN,
    ),
    (
        answer(401),
        {"base_url": "https://x.fhir.azurehealthcareapis.com"},
        "interactive",
        "https://login.microsoftonline.com/organizations",
    ),
    (
        answer(401),
        {"base_url": "https://x.fhir.azurehealthcareapis.us", "authority": LOGIN},
        "interactive",
        "Beware: x.fhir.azurehealthcareapis.us is a service of Azure US Government",
    ),
    (
        answer(401, f'{ENTRA}, scope="user_impersonation patient/*.read"'),
        {},
        "interactive",
        "Beware: The server asks for the scopes 'patient/*.read'",
    ),
    # a token needs no Entra ID
    (answer(401, 'Bearer realm="x"'), {"token": "t"}, "token", "asks for a sign-in"),
    (answer(401), {"token": "t"}, "token", "asks for a sign-in"),
    (answer(401, 'Bearer authorization_uri="https://evil.example/x"'), {"token": "t"}, "token", "is used"),
]


@pytest.mark.parametrize(("head", "settings", "method", "words"), CHOICES)
async def test_server_and_settings_decide_the_method(
    head: ResponseHead, settings: dict[str, object], method: str | None, words: str
) -> None:
    rig = Rig(head, **settings)

    assert method == await rig.method()
    assert method == await rig.method()
    assert rig.server.asked == 1
    assert len(rig.lines) == 1
    assert words in rig.lines[0]


@pytest.mark.parametrize("settings", [{"token": "t"}, {**SECRET, "tenant": GUID}])
async def test_what_is_configured_needs_nobody(settings: dict[str, object]) -> None:
    assert await Rig(LOCKED, attended=False, **settings).method() is not None


UNATTENDED = [
    (LOCKED, {}, f"in the tenant {GUID}"),
    (LOCKED, {"tenant": "contoso.example"}, "in the tenant contoso.example"),
    (answer(401, "Bearer"), {"authority": "https://localhost/t"}, "with Entra ID, and nobody"),
]


@pytest.mark.parametrize(("head", "settings", "words"), UNATTENDED)
async def test_unattended_proxy_names_the_next_step_and_starts_nothing(
    head: ResponseHead, settings: dict[str, object], words: str
) -> None:
    rig = Rig(head, attended=False, **settings)

    with pytest.raises(SignInRequired, match=words):
        await rig.method()
    with pytest.raises(SignInRequired, match=words) as caught:
        await rig.method()

    for step in (
        "--auth device-code",
        "FHIR_AUTH_PROXY_AUTH=device-code",
        "AZURE_CLIENT_SECRET",
        "--token-file",
    ):
        assert step in caught.value.hint
    assert rig.methods == []
    assert rig.server.asked == 1


EXPLAINED = [
    (answer(401), AuthenticationFailed, "does not say how to sign in", "--auth"),
    (answer(401, "Basic realm=x", "Negotiate"), AuthenticationFailed, "asks for basic, negotiate", "--auth"),
    (answer(401, 'Bearer realm="x"'), AuthenticationFailed, "does not say who issues it", "--tenant"),
    (
        answer(401, 'Bearer authorization_uri="https://evil.example/x"'),
        AuthenticationFailed,
        "'evil.example', which is not one of Microsoft's",
        "--authority",
    ),
    (answer(400), AuthenticationFailed, "answers 400", "base URL"),
    (answer(403), AuthenticationFailed, "answers 403: it forbids", "--auth"),
    (answer(404), AuthenticationFailed, "answers 404: it knows no FHIR server", "base URL"),
    (answer(410), AuthenticationFailed, "answers 410", "base URL"),
    (answer(418), AuthenticationFailed, "answers 418: it neither", "--auth"),
    (
        answer(302, Location="https://login.example/signin?state=hush"),
        AuthenticationFailed,
        "redirects a FHIR read to 'login.example'",
        "base URL",
    ),
    (answer(307, Location="/r4/Patient"), AuthenticationFailed, "redirects a FHIR read[.]", "base URL"),
    (answer(301, Location="https://[x"), AuthenticationFailed, "redirects a FHIR read[.]", "base URL"),
    (answer(304), AuthenticationFailed, "redirects a FHIR read[.]", "base URL"),
    (answer(429), UpstreamUnreachable, "answers 429", "Try again"),
    (answer(500), UpstreamUnreachable, "answers 500", "Try again"),
    (BROKEN, UpstreamUnreachable, "answers 503", "Try again"),
]


@pytest.mark.parametrize(("head", "error", "words", "hint"), EXPLAINED)
async def test_anything_else_is_explained_and_asked_again(
    head: ResponseHead, error: type[ProxyError], words: str, hint: str
) -> None:
    rig = Rig(head, OPEN)

    with pytest.raises(error, match=words) as caught:
        await rig.method()

    assert hint in caught.value.hint
    assert "hush" not in caught.value.message + caught.value.hint
    assert await rig.method() is None
    assert rig.server.asked == 2


RETRY_AFTER = [
    ("30", 30),
    ("999999", 3600),
    ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ("-1", None),
    ("9" * 50, None),
]


@pytest.mark.parametrize(("value", "expected"), RETRY_AFTER)
async def test_patience_of_the_server_is_passed_on(value: str, expected: int | None) -> None:
    head = ResponseHead(503, b"", Fields.of([("Retry-After", value)]))

    with pytest.raises(UpstreamUnreachable) as caught:
        await Rig(head).method()

    assert expected == caught.value.retry_after


async def test_network_error_is_told_and_not_remembered() -> None:
    rig = Rig(UpstreamUnreachable("no route", hint="look", retry_after=7), LOCKED)
    with pytest.raises(UpstreamUnreachable, match="no route") as caught:
        await rig.method()
    assert (caught.value.hint, caught.value.retry_after) == ("look", 7)

    assert await rig.method() == "interactive"


TOGETHER = [
    ({**SECRET, "token": "t"}, "A token and a client secret", "two", "--auth token or --auth client-secret"),
    (
        {"command": ["az"], "token_file": "t"},
        "A token and a command",
        "two",
        "--auth token or --auth command",
    ),
    ({"command": ["az"], **SECRET, "token": "t"}, "A token and a client secret and a command", "three", ""),
]


@pytest.mark.parametrize(("settings", "names", "count", "hint"), TOGETHER)
async def test_several_identities_are_not_guessed_between(
    settings: dict[str, object], names: str, count: str, hint: str
) -> None:
    rig = Rig(LOCKED, **settings)

    with pytest.raises(ConfigError, match=f"{names} are configured .* {count} identities") as caught:
        await rig.method()

    assert hint in caught.value.hint
    assert rig.methods == []


@pytest.mark.parametrize("attended", [True, False])
async def test_secret_without_a_tenant_does_not_follow_the_challenge(attended: bool) -> None:
    rig = Rig(LOCKED, attended=attended, **SECRET)

    with pytest.raises(ConfigError, match=GUID):
        await rig.method()

    assert rig.methods == []


async def test_settings_that_a_method_misses_are_told_each_time() -> None:
    rig = Rig(LOCKED)

    def make(method: str, probe: Probe) -> Authenticator:
        raise ConfigError("no client id", hint="Set --client-id.")

    rig.auto._make = make
    for _ in range(2):
        with pytest.raises(ConfigError, match="no client id"):
            await rig.method()

    assert rig.server.asked == 1
    assert rig.lines == []


async def test_method_learns_what_the_server_said_without_asking() -> None:
    rig = Rig(LOCKED, BROKEN)
    await rig.method()

    assert await rig.probes[0]() is LOCKED
    assert rig.server.asked == 1


async def test_rejection_goes_to_the_chosen_method() -> None:
    rig = Rig(LOCKED)
    await rig.auto.credentials()
    rejected = Rejection(Credentials(b"interactive"))

    await rig.auto.credentials(rejected)

    assert [None, rejected] == rig.methods[0].rejections
    assert rig.server.asked == 1


async def test_open_server_that_locks_is_asked_again() -> None:
    rig = Rig(OPEN, LOCKED)
    assert await rig.method() is None
    rig.clock.now += ASK_AGAIN

    assert await rig.auto.credentials(REJECTED) == Credentials(b"interactive")

    assert rig.methods[0].rejections == [None]
    assert len(rig.lines) == 2


async def test_open_server_that_refuses_one_request_stays_anonymous_and_is_not_asked_each_time() -> None:
    rig = Rig(OPEN)
    assert await rig.method() is None
    assert await rig.auto.credentials(REJECTED) is None
    assert rig.server.asked == 1

    rig.clock.now += ASK_AGAIN
    assert await rig.auto.credentials(REJECTED) is None
    assert await rig.auto.credentials(REJECTED) is None
    assert rig.server.asked == 2
    assert len(rig.lines) == 1

    rig.clock.now -= 3600
    assert await rig.auto.credentials(REJECTED) is None
    assert rig.server.asked == 3


async def test_open_server_in_trouble_stays_anonymous_for_others() -> None:
    rig = Rig(OPEN, BROKEN)
    assert await rig.method() is None
    rig.clock.now += ASK_AGAIN

    with pytest.raises(UpstreamUnreachable):
        await rig.auto.credentials(REJECTED)

    assert await rig.method() is None


@pytest.mark.parametrize("last", [LOCKED, BROKEN])
async def test_many_first_requests_ask_once(last: ResponseHead) -> None:
    rig = Rig(last)
    rig.server.gate.clear()
    waiting = [asyncio.create_task(rig.auto.credentials()) for _ in range(200)]
    await rig.server.was_asked.wait()

    rig.server.gate.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert rig.server.asked == 1
    assert len({type(outcome) for outcome in outcomes}) == 1
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(errors) == len({id(error) for error in errors})


async def test_cancelled_waiter_does_not_cancel_the_question() -> None:
    rig = Rig(LOCKED)
    rig.server.gate.clear()
    first = asyncio.create_task(rig.auto.credentials())
    await rig.server.was_asked.wait()
    second = asyncio.create_task(rig.auto.credentials())

    first.cancel()
    rig.server.gate.set()

    assert await second == Credentials(b"interactive")
    assert first.cancelled()
    assert rig.server.asked == 1


async def test_closing_ends_the_question_and_tells_who_waits() -> None:
    rig = Rig(LOCKED)
    rig.server.gate.clear()
    waiting = asyncio.create_task(rig.auto.credentials())
    await rig.server.was_asked.wait()

    await rig.auto.close()

    with pytest.raises(ProxyUnavailable):
        await waiting
    with pytest.raises(ProxyUnavailable):
        await rig.auto.credentials()


async def test_closing_closes_the_chosen_method() -> None:
    rig = Rig(LOCKED)
    await rig.method()

    await rig.auto.close()

    assert rig.methods[0].is_closed


@pytest.mark.parametrize("settings", [{}, {"token": "t", **SECRET}])
@pytest.mark.parametrize("head", [OPEN, LOCKED, BROKEN])
async def test_closed_after_any_outcome_it_asks_no_more(
    head: ResponseHead, settings: dict[str, object]
) -> None:
    rig = Rig(head, attended=False, **settings)
    await asyncio.gather(rig.auto.credentials(), return_exceptions=True)

    await rig.auto.close()
    await asyncio.gather(rig.auto.credentials(REJECTED), return_exceptions=True)

    assert rig.server.asked == 1


@pytest.mark.parametrize("status", [400, 404, 405, 422, 501])
async def test_fhir_server_that_knows_no_patients_is_an_open_one(status: int) -> None:
    server = FakeServer(answer(status, **{"Content-Type": "application/fhir+json; charset=utf-8"}))
    told: list[str] = []
    seams = Seams(FakeClock(), FakeBrowser(), told.append, attended=False, probe=server.probe)
    auto = AutoAuthenticator(
        ServerConfig.of({"base_url": "https://tx.example"}),
        seams,
        lambda method, _: FakeMethod(method),
    )

    assert await auto.credentials() is None
    assert "served anonymously" in told[0]
