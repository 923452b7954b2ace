"""Entries in a real Redis and in the model of it hold to the same rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import trustme

from proxy.auth.redis_entries import RedisAddress, RedisEntries
from proxy.auth.shared import Entries, Unavailable

from ..fakes.entries import MemoryEntries
from .conftest import Start
from .server import RedisServer, link_to

MARK, OTHER = b"1" * 13, b"2" * 13
PASSWORD = "p%40ss~word"
Make = Callable[..., RedisEntries]


@pytest.fixture
def entries_at(patience: None) -> Iterator[Make]:
    made = []

    def make(url: str, ca_bundle: str = "") -> RedisEntries:
        made.append(RedisEntries(RedisAddress.of(url), ca_bundle))
        return made[-1]

    yield make
    for entries in made:
        entries.close()


@pytest.fixture(params=["model", "redis"])
def entries(request: pytest.FixtureRequest) -> Entries:
    if request.param == "model":
        return MemoryEntries(time.monotonic)
    server: RedisServer = request.getfixturevalue("redis_server")
    made: RedisEntries = request.getfixturevalue("entries_at")(server.url)
    return made


def test_nothing_is_there_at_first(entries: Entries) -> None:
    assert entries.read("name") is None
    assert entries.take("name", "ada", 60) == (True, None)


def test_one_holds_the_lock_until_it_is_given_back(entries: Entries) -> None:
    entries.take("name", "ada", 60)
    bobs = entries.take("name", "bob", 60)
    entries.release("name", "bob")
    again = entries.take("name", "ada", 60)
    entries.release("name", "ada")

    assert bobs == (False, None)
    assert again == (True, None)
    assert entries.take("name", "bob", 60) == (True, None)


def test_locks_of_two_names_are_two(entries: Entries) -> None:
    entries.take("name", "ada", 60)

    assert entries.take("other", "bob", 60) == (True, None)


def test_lock_ends_by_itself(entries: Entries) -> None:
    entries.take("name", "ada", 0.001)
    while not entries.take("name", "bob", 60)[0]:
        continue

    assert not entries.extend("name", "ada", 60)


def test_lock_that_is_extended_lasts(entries: Entries) -> None:
    entries.take("name", "ada", 60)

    assert entries.extend("name", "ada", 60)
    assert not entries.extend("name", "bob", 60)
    assert not entries.extend("other", "ada", 60)


def test_entry_is_stored_and_the_lock_given_back(entries: Entries) -> None:
    entries.take("name", "ada", 60)

    assert entries.store("name", "ada", b"", MARK + b"text", 60)
    assert entries.read("name") == MARK + b"text"
    assert entries.take("name", "bob", 60) == (True, MARK + b"text")
    assert entries.take("name", "ada", 60) == (False, MARK + b"text")


@pytest.mark.parametrize(
    ("mark", "entry", "is_stored"),
    [
        (MARK, OTHER + b"new", True),
        (OTHER, OTHER + b"new", False),
        (b"", OTHER + b"new", False),
        (OTHER, MARK + b"text", True),
    ],
    ids=["as it was", "changed meanwhile", "made meanwhile", "the same twice"],
)
def test_entry_takes_the_place_of_the_one_that_was_seen_alone(
    entries: Entries, mark: bytes, entry: bytes, is_stored: bool
) -> None:
    entries.store("name", "ada", b"", MARK + b"text", 60)

    assert is_stored == entries.store("name", "bob", mark, entry, 60)
    assert entries.read("name") == (entry if is_stored else MARK + b"text")


def test_entry_that_is_gone_may_be_put_back(entries: Entries) -> None:
    assert entries.store("name", "ada", MARK, OTHER + b"new", 60)


def test_late_store_leaves_the_lock_of_another_alone(entries: Entries) -> None:
    entries.take("name", "bob", 60)
    entries.store("name", "ada", b"", MARK, 60)

    assert not entries.take("name", "ada", 60)[0]


def test_entry_ends_with_its_life(entries: Entries) -> None:
    entries.store("name", "ada", b"", MARK, 0.001)
    while entries.read("name") is not None:
        continue

    assert entries.take("name", "ada", 60) == (True, None)


def test_entry_has_an_end_in_redis(redis_server: RedisServer, entries_at: Make) -> None:
    entries_at(redis_server.url).store("name", "ada", b"", MARK, 60)
    with redis.Redis(port=redis_server.port) as client:
        assert [b"fhir-auth-proxy:{name}"] == client.keys()
        assert 59_000 < client.pttl("fhir-auth-proxy:{name}") <= 60_000


def test_user_password_and_database_are_used(start_redis: Start, entries_at: Make) -> None:
    rights = [
        "~fhir-auth-proxy:*",
        *("+select", "+get", "+set", "+del", "+pexpire", "+eval"),
    ]  # as documented
    server = start_redis(
        "--user", "ada", "on", ">p@ss~word", *rights, "--user", "default", "on", "nopass", "~*", "+@all"
    )
    entries = entries_at(f"redis://ada:{PASSWORD}@127.0.0.1:{server.port}/3")
    entries.take("name", "holder", 60)
    entries.extend("name", "holder", 60)
    entries.store("name", "holder", b"", MARK, 60)
    entries.release("name", "holder")

    assert entries.read("name") == MARK
    with redis.Redis(port=server.port, db=3) as client:
        assert client.dbsize() == 1


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "proxy.auth.redis_entries"]


def told(server: RedisServer, words: str) -> str:
    return f"The token cache {server.url}/0 {words}. Until that is over, this process renews its tokens by itself."


def test_wrong_password_is_told_once_and_not_shown(
    start_redis: Start, entries_at: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis("--requirepass", "right")
    entries = entries_at(f"redis://:{PASSWORD}@localhost:{server.port}")
    for _ in range(3):
        with pytest.raises(Unavailable):
            entries.read("name")

    assert [told(server, "does not take the password")] == said(caplog)
    assert "ss~word" not in repr(entries._address)


def test_redis_that_is_not_there_is_told_once(
    redis_server: RedisServer, entries_at: Make, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.stop()
    entries = entries_at(redis_server.url)
    for _ in range(3):
        with pytest.raises(Unavailable):
            entries.take("name", "ada", 60)

    assert [told(redis_server, "cannot be reached (Connection refused)")] == said(caplog)


def test_redis_that_restarts_is_used_again(redis_server: RedisServer, entries_at: Make) -> None:
    entries = entries_at(redis_server.url)
    entries.store("name", "ada", b"", MARK, 60)
    redis_server.stop()
    redis_server.start()

    assert entries.take("name", "ada", 60) == (True, None)


def test_silence_is_told_and_its_end_as_well(
    redis_server: RedisServer,
    entries_at: Make,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.auth.redis_entries.PAUSE", 0.0)
    monkeypatch.setattr("proxy.auth.redis_entries.LIMIT", 0.2)
    entries = entries_at(redis_server.url)
    redis_server.pause()
    for _ in range(2):
        with pytest.raises(Unavailable):
            entries.read("name")
    redis_server.resume()
    while True:
        try:
            entries.read("name")
            break
        except Unavailable:
            continue

    assert [
        told(redis_server, "does not answer in time"),
        f"The token cache {redis_server.url}/0 works again",
    ] == said(caplog)


async def test_silence_is_waited_for_once_in_a_while(
    redis_server: RedisServer, entries_at: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.auth.redis_entries.LIMIT", 0.2)
    async with link_to(redis_server.port) as link:
        link.cut()
        entries = entries_at(f"redis://127.0.0.1:{link.port}")
        with pytest.raises(Unavailable):
            entries.read("name")
        link.mend()

        with pytest.raises(Unavailable):  # it is not asked again so soon
            entries.read("name")


def test_full_redis_is_read_and_told_once(
    redis_server: RedisServer, entries_at: Make, caplog: pytest.LogCaptureFixture
) -> None:
    entries = entries_at(redis_server.url)
    entries.store("name", "ada", b"", MARK, 60)
    with redis.Redis(port=redis_server.port) as client:
        client.config_set("maxmemory", 1)
    for _ in range(2):
        with pytest.raises(Unavailable):
            entries.take("name", "ada", 60)

    assert entries.read("name") == MARK
    assert len(said(caplog)) == 1
    assert said(caplog)[0].startswith(f"The token cache {redis_server.url}/0 refuses a command")


def test_closed_entries_are_unavailable(redis_server: RedisServer, entries_at: Make) -> None:
    entries = entries_at(redis_server.url)
    entries.read("name")
    entries.close()

    with pytest.raises(Unavailable):
        entries.read("name")


@pytest.fixture
def tls_redis(start_redis: Start, tmp_path: Path) -> RedisServer:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    return start_redis(
        *("--tls-cert-file", str(tmp_path / "server.pem"), "--tls-key-file", str(tmp_path / "server.key")),
        *("--tls-auth-clients", "no", "--tls-ca-cert-file", str(tmp_path / "authority.pem")),
        has_tls=True,
    )


def test_tls_is_verified_by_the_bundle(tls_redis: RedisServer, entries_at: Make, tmp_path: Path) -> None:
    entries = entries_at(tls_redis.url, str(tmp_path / "authority.pem"))

    assert entries.store("name", "ada", b"", MARK, 60)


def test_certificate_that_is_not_trusted_is_refused(
    tls_redis: RedisServer, entries_at: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Unavailable):
        entries_at(tls_redis.url).read("name")

    (line,) = said(caplog)
    assert "has a certificate that is not trusted here" in line
    assert "ca_bundle names authorities" in line


ADDRESSES = [
    ("redis://cache", RedisAddress("cache", 6379, 0, "", "", False), "redis://cache:6379/0"),
    ("rediss://cache:6380/2", RedisAddress("cache", 6380, 2, "", "", True), "rediss://cache:6380/2"),
    ("redis://:p%2Fw@cache", RedisAddress("cache", 6379, 0, "", "p/w", False), "redis://cache:6379/0"),
    ("redis://ada:pw@[::1]:1/", RedisAddress("::1", 1, 0, "ada", "pw", False), "redis://[::1]:1/0"),
]


@pytest.mark.parametrize(("url", "address", "shown"), ADDRESSES)
def test_address_is_read_and_shown_without_its_password(url: str, address: RedisAddress, shown: str) -> None:
    assert address == RedisAddress.of(url)
    assert shown == str(RedisAddress.of(url))
