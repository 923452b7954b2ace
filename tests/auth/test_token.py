from __future__ import annotations

import codecs
import json
import os
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth import token as module
from proxy.auth.cache import FAILURE_PAUSE
from proxy.auth.token import Bearer, TokenAuthenticator
from proxy.config import ServerConfig
from proxy.errors import AuthenticationFailed, ConfigError, SignInRequired
from proxy.model import Challenge, Credentials, Rejection

NOW = 1_800_000_000.0
OPAQUE = "0123456789-._~+/=="


class FakeClock:
    def __init__(self) -> None:
        self.now = NOW

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


def jwt(**claims: object) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + ".signature"


def sent(value: str) -> Credentials:
    return Credentials(f"Bearer {value}".encode())


def rejection(value: str, **parameters: str) -> Rejection:
    return Rejection(sent(value), (Challenge("bearer", parameters),))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "token.txt"


def of_file(file: Path, clock: FakeClock, **settings: object) -> TokenAuthenticator:
    config = {"base_url": "https://fhir.example", "auth": "token", "token_file": str(file), **settings}
    return TokenAuthenticator(ServerConfig.of(config), clock)


def of_setting(token: str, clock: FakeClock) -> TokenAuthenticator:
    config = {"base_url": "https://fhir.example", "auth": "token", "token": token}
    return TokenAuthenticator(ServerConfig.of(config), clock)


def put(file: Path, content: str | bytes) -> None:
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def remove(file: Path) -> None:
    file.unlink()


PASTED = [
    OPAQUE.encode(),
    f"  {OPAQUE}\r\n".encode(),
    f"Bearer {OPAQUE}\n".encode(),
    f"bearer\t{OPAQUE}".encode(),
    f"Authorization: Bearer {OPAQUE}".encode(),
    f'"{OPAQUE}"\n'.encode(),
    codecs.BOM_UTF8 + OPAQUE.encode(),
    f"{OPAQUE}\r\n".encode("utf-16"),
    codecs.BOM_UTF16_BE + OPAQUE.encode("utf-16-be"),
]


@pytest.mark.parametrize("content", PASTED)
async def test_token_is_found_in_what_people_and_shells_write(
    content: bytes, file: Path, clock: FakeClock
) -> None:
    put(file, content)

    assert sent(OPAQUE) == await of_file(file, clock).credentials()


@pytest.mark.parametrize("text", [OPAQUE, f" Bearer {OPAQUE}\n"])
async def test_token_is_taken_from_the_setting(text: str, clock: FakeClock) -> None:
    assert sent(OPAQUE) == await of_setting(text, clock).credentials()


UNUSABLE = [
    (b"", "is empty"),
    (b" \r\n", "is empty"),
    (b"Bearer \n", "is empty"),
    (b'{"accessToken": "secret"}', "holds JSON"),
    (b"secret-one\nsecret-two\n", "one bearer token"),
    (b"secret\x00", "one bearer token"),
    ("sécret".encode(), "one bearer token"),
    (b"secret\xff", "does not hold text"),
    (codecs.BOM_UTF16_LE + b"a", "does not hold text"),
    (b"secret" * 20_000, "larger than 64 KiB"),
]


@pytest.mark.parametrize(("content", "words"), UNUSABLE, ids=lambda value: str(value)[:30])
async def test_unusable_file_is_told_without_its_content(
    content: bytes, words: str, file: Path, clock: FakeClock
) -> None:
    put(file, content)

    with pytest.raises(AuthenticationFailed, match=words) as caught:
        await of_file(file, clock).credentials()

    assert str(file) in caught.value.message
    assert "secret" not in caught.value.message + caught.value.hint


async def test_missing_file_is_told_and_used_once_it_is_there(file: Path, clock: FakeClock) -> None:
    authenticator = of_file(file, clock)
    with pytest.raises(AuthenticationFailed, match="cannot be read") as caught:
        await authenticator.credentials()
    assert str(file) in caught.value.message
    assert "az account get-access-token --resource https://fhir.example " in caught.value.hint

    put(file, OPAQUE)

    assert sent(OPAQUE) == await authenticator.credentials()


async def test_what_is_no_file_is_not_opened(tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(AuthenticationFailed, match="not a regular file"):
        await of_file(tmp_path, clock).credentials()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
async def test_pipe_is_not_waited_for(file: Path, clock: FakeClock) -> None:
    os.mkfifo(file)

    with pytest.raises(AuthenticationFailed, match="not a regular file"):
        await of_file(file, clock).credentials()


async def test_file_that_goes_away_takes_its_token_with_it(file: Path, clock: FakeClock) -> None:
    put(file, OPAQUE)
    authenticator = of_file(file, clock)
    await authenticator.credentials()

    remove(file)

    with pytest.raises(AuthenticationFailed, match="cannot be read"):
        await authenticator.credentials()


async def test_file_emptied_meanwhile_is_told_until_it_is_filled(file: Path, clock: FakeClock) -> None:
    put(file, OPAQUE)
    authenticator = of_file(file, clock)
    await authenticator.credentials()
    put(file, "")
    for _ in range(2):
        with pytest.raises(AuthenticationFailed, match="is empty"):
            await authenticator.credentials()

    put(file, "next")

    assert sent("next") == await authenticator.credentials()


def replaced(file: Path, text: str) -> None:
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.replace(file)


def later(file: Path, text: str) -> None:
    before = file.stat()
    file.write_text(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (replaced, "token-2"),
        (put, "token-longer"),
        (later, "token-2"),
    ],
)
async def test_changed_file_is_used_for_the_next_request(
    write: object, text: str, file: Path, clock: FakeClock
) -> None:
    assert callable(write)
    put(file, "token-1")
    authenticator = of_file(file, clock)
    assert sent("token-1") == await authenticator.credentials()

    write(file, text)

    assert sent(text) == await authenticator.credentials()


def hidden(file: Path, text: str) -> None:
    """Writes so that `stat` shows nothing of it."""
    before = file.stat()
    assert len(text) == before.st_size
    file.write_text(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


async def test_hidden_change_is_found_by_a_rejection(file: Path, clock: FakeClock) -> None:
    put(file, "token-1")
    authenticator = of_file(file, clock)
    await authenticator.credentials()

    hidden(file, "token-2")

    assert sent("token-2") == await authenticator.credentials(rejection("token-1"))


async def test_hidden_change_is_found_near_expiry(file: Path, clock: FakeClock) -> None:
    old, new = jwt(exp=int(NOW) + 100), jwt(exp=int(NOW) + 900)
    put(file, old)
    authenticator = of_file(file, clock)
    await authenticator.credentials()
    hidden(file, new)
    assert sent(old) == await authenticator.credentials()

    clock.now += 100 - module.NEAR_EXPIRY

    assert sent(new) == await authenticator.credentials()


EXPIRED = [
    (NOW - 1, "expired at 2027-01-15 07:59:59 UTC, 1 seconds ago"),
    (NOW, "expired at 2027-01-15 08:00:00 UTC, 0 seconds ago"),
    (NOW + module.MARGIN, "expires at 2027-01-15 08:00:05 UTC, in 5 seconds"),
    (NOW - 60, "1 minute ago"),
    (NOW - 7300, "2 hours ago"),
    (NOW - 200_000, "2 days ago"),
    (0, "expired at 1970-01-01"),
]


@pytest.mark.parametrize(("exp", "words"), EXPIRED)
@pytest.mark.parametrize("make", [of_file, of_setting])
async def test_expired_token_is_never_sent(
    exp: float, words: str, make: object, file: Path, clock: FakeClock
) -> None:
    put(file, jwt(exp=exp))
    authenticator = of_file(file, clock) if make is of_file else of_setting(jwt(exp=exp), clock)

    with pytest.raises(SignInRequired, match=words) as caught:
        await authenticator.credentials()

    assert (str(file) if make is of_file else "FHIR_AUTH_PROXY_TOKEN") in caught.value.hint


async def test_token_is_sent_until_it_expires(file: Path, clock: FakeClock) -> None:
    value = jwt(exp=int(NOW) + 600)
    put(file, value)
    authenticator = of_file(file, clock)

    clock.now += 600 - module.MARGIN - 1
    assert sent(value) == await authenticator.credentials()

    clock.now += 1
    with pytest.raises(SignInRequired):
        await authenticator.credentials()


async def test_token_put_in_place_of_an_expired_one_is_used_at_once(file: Path, clock: FakeClock) -> None:
    put(file, jwt(exp=NOW - 1))
    authenticator = of_file(file, clock)
    with pytest.raises(SignInRequired):
        await authenticator.credentials()

    replaced(file, jwt(exp=NOW + 600))

    assert sent(jwt(exp=NOW + 600)) == await authenticator.credentials()


async def test_refused_token_that_is_still_there_is_told_with_the_servers_words(
    file: Path, clock: FakeClock
) -> None:
    put(file, "token-1")
    authenticator = of_file(file, clock)
    said = {
        "error": "invalid_token",
        "error_description": "The audience is invalid",
        "resource_id": "api://x",
    }

    with pytest.raises(AuthenticationFailed, match="invalid_token: The audience is invalid") as caught:
        await authenticator.credentials(rejection("token-1", **said))

    assert str(file) in caught.value.message
    assert "--audience api://x" in caught.value.hint
    assert "token-1" not in caught.value.message + caught.value.hint


HINTS = [
    ({"aud": "https://other.example"}, {}, "made for 'https://other.example'"),
    ({"aud": "https://other.example"}, {"resource_id": "api://x"}, "made for 'https://other.example'"),
    ({"aud": ["a"]}, {}, "Start the proxy"),
]


@pytest.mark.parametrize(("claims", "parameters", "words"), HINTS)
async def test_refusal_names_whom_the_token_was_made_for(
    claims: dict[str, object], parameters: dict[str, str], words: str, clock: FakeClock
) -> None:
    authenticator = of_setting(jwt(**claims), clock)

    with pytest.raises(AuthenticationFailed) as caught:
        await authenticator.credentials(rejection(jwt(**claims), **parameters))

    assert words in caught.value.hint


async def test_refused_token_rests_and_is_tried_again(clock: FakeClock) -> None:
    authenticator = of_setting("token-1", clock)
    with pytest.raises(AuthenticationFailed):
        await authenticator.credentials(rejection("token-1"))

    clock.now += FAILURE_PAUSE - 1
    with pytest.raises(AuthenticationFailed):
        await authenticator.credentials()

    clock.now += 1
    assert sent("token-1") == await authenticator.credentials()


async def test_token_is_not_held_back_when_the_clock_is_set_back(clock: FakeClock) -> None:
    authenticator = of_setting("token-1", clock)
    with pytest.raises(AuthenticationFailed):
        await authenticator.credentials(rejection("token-1"))

    clock.now -= 3600

    assert sent("token-1") == await authenticator.credentials()


async def test_refusal_of_an_older_token_does_not_touch_the_new_one(file: Path, clock: FakeClock) -> None:
    put(file, "token-2")
    authenticator = of_file(file, clock)

    assert sent("token-2") == await authenticator.credentials(rejection("token-1"))
    assert sent("token-2") == await authenticator.credentials()


async def test_new_token_is_used_while_the_refused_one_rests(file: Path, clock: FakeClock) -> None:
    put(file, "token-1")
    authenticator = of_file(file, clock)
    with pytest.raises(AuthenticationFailed):
        await authenticator.credentials(rejection("token-1"))

    replaced(file, "token-2")

    assert sent("token-2") == await authenticator.credentials()


def test_file_counts_before_the_setting(file: Path, clock: FakeClock) -> None:
    put(file, "from-file")

    assert str(file) == of_file(file, clock, token="from-setting")._place.name


@pytest.mark.parametrize("text", ["", " ", "two words", '{"a": 1}'])
def test_unusable_setting_is_a_configuration_error(text: str, clock: FakeClock) -> None:
    with pytest.raises(ConfigError, match="FHIR_AUTH_PROXY_TOKEN"):
        of_setting(text, clock)


def test_method_needs_a_token(clock: FakeClock) -> None:
    with pytest.raises(ConfigError, match="needs") as caught:
        TokenAuthenticator(ServerConfig.of({"base_url": "https://fhir.example"}), clock)

    assert "--token-file" in caught.value.hint


CLAIMS = [
    (jwt(exp=5), 5.0),
    (jwt(exp=5.5), 5.5),
    (jwt(exp="5"), None),
    (jwt(exp=True), None),
    (jwt(exp=-5), None),
    (jwt(exp=10**15), None),
    (jwt(exp=float("nan")), None),
    (jwt(exp=float("inf")), None),
    (jwt(), None),
    (OPAQUE, None),
    ("a.b.c", None),
    ("a.b.c.d.e", None),  # encrypted (RFC 7516)
    ("a." + urlsafe_b64encode(b"[1]").decode() + ".c", None),
    ("a." + urlsafe_b64encode(b"[" * 20_000).decode() + ".c", None),
    ("a." + urlsafe_b64encode(b"\xff").decode().rstrip("=") + ".c", None),
]


@pytest.mark.parametrize(("value", "expected"), CLAIMS, ids=lambda value: str(value)[:30])
def test_expiry_is_read_where_a_token_tells_it(value: str, expected: float | None) -> None:
    if "=." in value:
        value = value.replace("=", "")

    assert expected == Bearer.parse(value).expires_at


@given(st.text())
def test_any_text_is_a_token_or_told_without_itself(text: str) -> None:
    try:
        value = Bearer.parse(text).credentials.authorization.decode("ascii").removeprefix("Bearer ")
    except ValueError as error:
        words = str(error)
    else:
        words = "is a token" * (value in text and value.isprintable())

    assert words in {
        "is a token",
        "is empty",
        "holds JSON and not a token alone",
        "holds something else than one bearer token",
    }


@given(st.text("abcXYZ019-._~+/", min_size=1))
def test_token_survives_as_it_is(text: str) -> None:
    assert sent(text) == Bearer.parse(f" Bearer {text}\n").credentials


def test_token_does_not_print() -> None:
    assert OPAQUE not in repr(Bearer.parse(OPAQUE))
