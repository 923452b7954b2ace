"""Several replicas before one Redis: of all of them one asks Entra ID."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import redis

from proxy.auth import Gate, Seams, authenticator, desk_of
from proxy.auth.seal import Seal
from proxy.auth.shared_content import Content, Owner
from proxy.errors import ConfigError, ProxyUnavailable
from proxy.model import Challenge, Credentials, Rejection
from proxy.sandbox.tenant import DESKTOP, MEMBER, SERVICE, HttpError, Tenant

from ..auth.conftest import BASE_URL, Settings, renewed_ahead, token_of, until
from ..fakes.browser import ScriptedBrowser
from ..fakes.clock import FakeClock
from .server import Link, RedisServer, link_to

COUNT = 4
HOUR = 3600.0
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(1, 33))).decode()

Replicas = Callable[..., list[Gate]]


@pytest.fixture
async def replicas(
    app_settings: Settings, person_settings: Settings, seams: Seams, redis_server: RedisServer
) -> AsyncIterator[Replicas]:
    """Authenticators of so many replicas, an app's or a person's, with changes."""
    async with AsyncExitStack() as stack:

        def make(count: int = COUNT, *, person: bool = False, **changes: object) -> list[Gate]:
            shared = {"token_cache": redis_server.url, "token_cache_key": KEY}
            settings = person_settings if person else app_settings
            named = {"auth": "interactive"} if person else {}
            made = [authenticator(settings(**{**named, **shared, **changes}), seams) for _ in range(count)]
            for one in made:
                stack.push_async_callback(one.close)
            return made

        yield make


def grants(tenant: Tenant) -> list[str]:
    return [request.grant_type for request in tenant.token_requests]


async def tokens_of(signing: list[Gate], count: int = 1) -> list[str]:
    return await asyncio.gather(*(token_of(one) for one in signing for _ in range(count)))


async def refused(signing: Gate, *challenges: Challenge) -> Credentials:
    """What a replica uses after the server has refused its token."""
    credentials = await signing.credentials()
    renewed = await signing.credentials(Rejection(credentials, challenges))
    assert renewed is not None
    return renewed


async def test_1000_first_requests_at_4_replicas_cause_one_token_request(
    tenant: Tenant, replicas: Replicas, patience: None
) -> None:
    tokens = await tokens_of(replicas(), 250)

    assert len(tokens) == 1000
    assert len(set(tokens)) == 1
    assert grants(tenant) == ["client_credentials"]


async def test_renewal_ahead_is_one_for_all(
    tenant: Tenant, replicas: Replicas, clock: FakeClock, patience: None
) -> None:
    signing = replicas()
    await tokens_of(signing)
    clock.advance(HOUR - 200)
    await asyncio.gather(*map(renewed_ahead, signing))

    assert len(set(await tokens_of(signing))) == 1
    assert grants(tenant) == ["client_credentials"] * 2


async def test_person_signs_in_at_one_replica_for_all(
    tenant: Tenant,
    replicas: Replicas,
    browser: ScriptedBrowser,
    clock: FakeClock,
    lines: list[str],
    patience: None,
) -> None:
    first, *others = replicas(person=True)
    await token_of(first)
    shared = await tokens_of(others)
    clock.advance(HOUR)
    renewed = await tokens_of([first, *others])
    clock.advance(HOUR)
    again = await tokens_of([*others, first])

    assert len(browser.opened) == 1
    assert [len(set(tokens)) for tokens in (shared, renewed, again)] == [1, 1, 1]
    assert grants(tenant) == ["authorization_code", "refresh_token", "refresh_token"]
    assert tenant.verify(again[0], BASE_URL).upn == MEMBER.username
    assert sum(line.startswith(f"{BASE_URL}: signed in as {MEMBER.username}") for line in lines) == COUNT


async def test_sign_in_outlives_every_replica(
    tenant: Tenant, replicas: Replicas, browser: ScriptedBrowser, clock: FakeClock, patience: None
) -> None:
    (first,) = replicas(1, person=True)
    await token_of(first)
    await first.close()
    clock.advance(HOUR)
    (second,) = replicas(1, person=True)
    await token_of(second)

    assert len(browser.opened) == 1
    assert grants(tenant) == ["authorization_code", "refresh_token"]


async def signed_out(signing: Gate) -> None:
    desk = desk_of(signing)
    assert desk is not None
    await desk.sign_out()


async def asks_anew(signing: Gate, browser: ScriptedBrowser) -> bool:
    """Whether a request at a replica has somebody sign in, instead of being made as whoever was there."""
    browser.acts, before = False, len(browser.opened)
    waiter = asyncio.create_task(token_of(signing))
    await until(lambda: waiter.done() or len(browser.opened) > before)
    await signing.close()
    await asyncio.wait({waiter})
    return isinstance(waiter.exception(), ProxyUnavailable)


@pytest.mark.parametrize("when", ["at once", "Redis forgot it", "Redis was away"])
async def test_signing_out_at_one_replica_ends_it_at_all_with_the_token_in_hand(
    tenant: Tenant,
    replicas: Replicas,
    redis_server: RedisServer,
    browser: ScriptedBrowser,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    patience: None,
    when: str,
) -> None:
    monkeypatch.setattr("proxy.auth.redis_entries.PAUSE", 0.0)
    first, second, third = replicas(3, person=True)
    token = await token_of(first)
    held = await token_of(second)
    if when == "Redis was away":
        redis_server.pause()
        with monkeypatch.context() as impatient:
            impatient.setattr("proxy.auth.redis_entries.LIMIT", 0.1)
            await signed_out(first)
        redis_server.resume()
    else:
        await signed_out(first)
    if when == "Redis forgot it":
        with redis.Redis(port=redis_server.port) as client:
            client.flushall()
    asked_at_first = await asks_anew(first, browser)
    until_its_end = await token_of(second)
    clock.advance(HOUR)
    before = len(tenant.token_requests)

    assert token == held == until_its_end
    assert asked_at_first
    assert await asks_anew(second, browser)
    assert await asks_anew(third, browser)
    assert before == len(tenant.token_requests)


async def test_newer_token_of_who_has_signed_out_is_taken_by_nobody(
    replicas: Replicas, browser: ScriptedBrowser, patience: None
) -> None:
    first, second = replicas(2, person=True)
    await token_of(first)
    await token_of(second)
    newer = await refused(first)
    await signed_out(first)
    browser.acts = False
    waiter = asyncio.create_task(refused(second))
    await until(lambda: waiter.done() or len(browser.opened) == 2)
    await second.close()
    [outcome] = await asyncio.gather(waiter, return_exceptions=True)

    assert outcome != newer
    assert isinstance(outcome, ProxyUnavailable)


async def test_whoever_signs_in_again_is_signed_in_at_all(
    tenant: Tenant, replicas: Replicas, browser: ScriptedBrowser, clock: FakeClock, patience: None
) -> None:
    first, second = replicas(2, person=True)
    await token_of(first)
    await token_of(second)
    await signed_out(first)
    anew = await token_of(first)
    clock.advance(HOUR)
    renewed = await tokens_of([second, first])

    assert len(browser.opened) == 2
    assert anew not in renewed
    assert len(set(renewed)) == 1
    assert tenant.verify(renewed[0], BASE_URL).upn == MEMBER.username


async def test_nothing_of_who_has_signed_out_stays_in_redis(
    tenant: Tenant, replicas: Replicas, redis_server: RedisServer, patience: None
) -> None:
    owner = Owner(tenant.authority, DESKTOP.client_id, "person")
    (first,) = replicas(1, person=True)
    await token_of(first)
    await signed_out(first)
    with redis.Redis(port=redis_server.port) as client:
        [entry] = [client.get(key) for key in client.scan_iter()]
    content = Content.of(Seal((base64.b64decode(KEY),)).opened(entry, owner.name), owner)

    assert not content.tokens
    assert not any(content.sections[name] for name in ("Account", "RefreshToken", "IdToken"))


async def test_account_that_the_settings_refuse_is_not_taken_from_another_replica(
    replicas: Replicas, browser: ScriptedBrowser, patience: None
) -> None:
    (first,) = replicas(1, person=True)
    await token_of(first)
    browser.acts = False
    (second,) = replicas(1, person=True, account="grace@clinic.example")
    waiter = asyncio.create_task(token_of(second))
    await until(lambda: len(browser.opened) == 2)
    await second.close()

    assert isinstance((await asyncio.gather(waiter, return_exceptions=True))[0], ProxyUnavailable)


async def test_refused_token_is_replaced_for_all(
    tenant: Tenant, replicas: Replicas, clock: FakeClock, patience: None
) -> None:
    signing = replicas()
    await tokens_of(signing)
    clock.advance(100)
    renewed = await asyncio.gather(*map(refused, signing))

    assert len(set(renewed)) == 1
    assert grants(tenant) == ["client_credentials"] * 2


async def test_token_that_is_older_than_a_refusal_may_be_is_not_taken(
    tenant: Tenant, replicas: Replicas, clock: FakeClock, patience: None
) -> None:
    first, second = replicas(2)
    await tokens_of([first, second])
    clock.advance(100)
    newer = await refused(first)
    clock.advance(100)  # what makes the server refuse may have come after that one, too
    newest = await refused(second)

    assert newer != newest
    assert grants(tenant) == ["client_credentials"] * 3


async def test_apps_and_people_share_nothing(
    tenant: Tenant, replicas: Replicas, redis_server: RedisServer, patience: None
) -> None:
    (app,) = replicas(1)
    (person,) = replicas(1, person=True)
    (other_audience,) = replicas(1, audience=f"{BASE_URL}/")
    tokens = [await token_of(one) for one in (app, person, other_audience)]
    with redis.Redis(port=redis_server.port) as client:
        held = {key: client.get(key) for key in client.scan_iter()}

    assert len(set(tokens)) == 3
    assert len(held) == 2
    for key, entry in held.items():
        assert not any(secret.encode() in key + entry for secret in (*tokens, SERVICE.client_id, MEMBER.name))


async def test_swapped_entries_are_not_taken(
    replicas: Replicas,
    redis_server: RedisServer,
    browser: ScriptedBrowser,
    caplog: pytest.LogCaptureFixture,
    patience: None,
) -> None:
    await tokens_of([*replicas(1), *replicas(1, person=True)])
    with redis.Redis(port=redis_server.port) as client:
        one, other = client.keys()
        client.rename(one, "kept")
        client.rename(other, one)
        client.rename("kept", other)
    await tokens_of([*replicas(1), *replicas(1, person=True)])

    assert len(browser.opened) == 2
    assert caplog.text.count("cannot be opened with any key") == 2


async def test_wrong_key_is_told_once_and_signed_in_anew(
    tenant: Tenant,
    replicas: Replicas,
    redis_server: RedisServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    patience: None,
) -> None:
    await tokens_of(replicas(1))
    (stranger,) = replicas(1, token_cache_key=OTHER_KEY)
    token = await token_of(stranger)

    assert tenant.verify(token, BASE_URL)
    assert grants(tenant) == ["client_credentials"] * 2
    assert caplog.text.count("cannot be opened with any key of token_cache_key_file or token_cache_key") == 1


async def test_keys_are_rotated_without_a_new_sign_in(
    tenant: Tenant, replicas: Replicas, browser: ScriptedBrowser, clock: FakeClock, patience: None
) -> None:
    for keys in (KEY, f"{KEY},{OTHER_KEY}", f"{OTHER_KEY},{KEY}", OTHER_KEY):
        (one,) = replicas(1, person=True, token_cache_key=keys)
        await token_of(one)
        await one.close()
        clock.advance(HOUR)

    assert len(browser.opened) == 1


Trouble = Callable[[RedisServer, Link], None]


def restart(server: RedisServer, link: Link) -> None:
    server.stop()
    server.start()


def fill(server: RedisServer, link: Link) -> None:
    with redis.Redis(port=server.port) as client:
        client.config_set("maxmemory", 1)


TROUBLES: list[tuple[Trouble, Trouble]] = [
    (restart, lambda server, link: None),
    (lambda server, link: server.stop(), lambda server, link: server.start()),
    (lambda server, link: server.pause(), lambda server, link: server.resume()),
    (lambda server, link: link.cut(), lambda server, link: link.mend()),
    (fill, restart),
]


@pytest.mark.parametrize("person", [False, True], ids=["app", "person"])
@pytest.mark.parametrize(
    ("begin", "end"), TROUBLES, ids=["restarted", "down", "paused", "partitioned", "full"]
)
async def test_no_request_fails_because_of_redis(
    tenant: Tenant,
    replicas: Replicas,
    redis_server: RedisServer,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    patience: None,
    begin: Trouble,
    end: Trouble,
    person: bool,
) -> None:
    monkeypatch.setattr("proxy.auth.redis_entries.PAUSE", 0.0)
    async with link_to(redis_server.port) as link:
        signing = replicas(person=person, token_cache=f"redis://127.0.0.1:{link.port}")
        first = await token_of(signing[0])
        await tokens_of(signing)
        load = [asyncio.create_task(token_of(one)) for one in signing for _ in range(50)]
        begin(redis_server, link)
        tenant.faults.always(HttpError(503))  # nothing but the token in hand can serve
        during = await tokens_of(signing, 50)
        tenant.faults.clear()
        clock.advance(HOUR)
        with monkeypatch.context() as impatient:
            impatient.setattr("proxy.auth.redis_entries.LIMIT", 0.2)
            # The sandbox takes a refresh token once, and each replica has the same one.
            alone = await tokens_of(signing[:1] if person else signing, 50)
        end(redis_server, link)
        clock.advance(HOUR)
        await token_of(signing[0])
        after = await tokens_of(signing, 50)

        assert {first} == set(during) == set(await asyncio.gather(*load))
        assert first not in alone
        assert set(alone).isdisjoint(after)
        assert len(set(after)) == 1
        for one in signing:
            await one.close()


async def test_new_replica_is_served_from_redis_while_entra_is_out_of_order_and_redis_full(
    tenant: Tenant, replicas: Replicas, redis_server: RedisServer, patience: None
) -> None:
    first, second = replicas(2)
    token = await token_of(first)
    with redis.Redis(port=redis_server.port) as client:
        client.config_set("maxmemory", 1)
    tenant.faults.always(HttpError(503))

    assert token == await token_of(second)


async def test_answer_that_came_while_redis_was_away_is_brought_along(
    tenant: Tenant,
    replicas: Replicas,
    redis_server: RedisServer,
    browser: ScriptedBrowser,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    patience: None,
) -> None:
    monkeypatch.setattr("proxy.auth.redis_entries.PAUSE", 0.0)
    first, second = replicas(2, person=True)
    redis_server.stop()
    await token_of(first)
    redis_server.start()
    clock.advance(HOUR)
    await token_of(first)
    await token_of(second)

    assert len(browser.opened) == 1
    assert grants(tenant) == ["authorization_code", "refresh_token"]


async def test_missing_extra_is_explained(
    app_settings: Settings, seams: Seams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "redis")
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ConfigError, match="its client is not installed") as raised:
        authenticator(app_settings(token_cache="redis://cache", token_cache_key=KEY), seams)

    assert "fhir-auth-proxy[redis]" in raised.value.hint


WRONG = [
    (
        {"token_cache_key": "visible-secret"},
        "token_cache_key holds no key: its key 1 is not base64 of 32 bytes",
    ),
    (
        {"token_cache_key": None, "token_cache_key_file": "/none"},
        "token_cache_key_file = '/none' cannot be read",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
@pytest.mark.parametrize("person", [False, True])
async def test_unusable_key_stops_the_start(
    replicas: Replicas, changes: dict[str, object], message: str, person: bool
) -> None:
    with pytest.raises(ConfigError) as raised:
        replicas(1, person=person, **changes)

    assert raised.value.message.startswith(message)
    assert "visible-secret" not in f"{raised.value.message} {raised.value.hint}"
