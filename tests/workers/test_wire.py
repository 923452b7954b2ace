from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack, structs

from proxy.config import Config, ListenAddress, ServerConfig
from proxy.errors import InternalError, ProxyError
from proxy.model import Challenge, Classified, Credentials, FinishedExchange, Interaction, Rejection
from proxy.workers.wire import (
    ERRORS,
    SIGN_IN_SECRETS,
    CredentialsQuestion,
    ErrorWords,
    FinishedWords,
    Level,
    Message,
    Settings,
)

text = st.text(st.characters(exclude_categories=["Cs"]))
errors = st.builds(
    lambda kind, message, hint, retry_after: kind(message, hint=hint, retry_after=retry_after),
    st.sampled_from(sorted(ERRORS.values(), key=str)),
    text,
    text,
    st.none() | st.integers(0, 10**6),
)
seconds = st.floats(0, 1e6)
exchanges = st.builds(
    FinishedExchange,
    classified=st.none() | st.builds(Classified, st.sampled_from(Interaction), text, text),
    status=st.integers(100, 599),
    received_bytes=st.integers(0, 2**63),
    sent_bytes=st.integers(0, 2**63),
    seconds=seconds,
    upstream_seconds=st.none() | seconds,
    attempts=st.integers(0, 9),
    request_id=text,
    failed=st.none() | errors,
    account=text,
)
rejections = st.none() | st.builds(
    Rejection,
    st.none() | st.builds(Credentials, st.binary()),
    st.lists(st.builds(Challenge, text, st.dictionaries(text, text))).map(tuple),
)


def sent(message: Message) -> object:
    return msgpack.decode(msgpack.encode(message))


def told(error: ProxyError | None) -> tuple[object, ...]:
    return () if error is None else (type(error), error.message, error.hint, error.retry_after)


@given(error=errors)
def test_error_arrives_as_it_was(error: ProxyError) -> None:
    assert told(error) == told(ErrorWords.heard(sent(ErrorWords.of(error).plain())).read())


def test_error_of_another_kind_is_internal() -> None:
    words = ErrorWords(kind="OSError", message="m", hint="", retry_after=None)

    assert InternalError is type(words.read())


@given(exchange=exchanges)
def test_finished_exchange_arrives_as_it_was(exchange: FinishedExchange) -> None:
    words = FinishedWords.heard(sent(FinishedWords.of(3, exchange).plain()))
    read = words.read()

    assert 3 == words.sign_in
    assert told(exchange.failed) == told(read.failed)
    assert replace(exchange, failed=None) == replace(read, failed=None)


@given(rejected=rejections)
def test_rejection_arrives_as_it_was(rejected: Rejection | None) -> None:
    question = CredentialsQuestion.of(1, rejected, for_storage=False)

    assert rejected == CredentialsQuestion.heard(sent(question.plain())).rejected


def test_limit_that_is_none_arrives() -> None:
    level = Level(
        listen="", connections=0, upstream_connections=0, pause_seconds=0, concurrency_limit=math.inf
    )

    assert level == Level.heard(sent(level.plain()))


SERVERS = [
    {},
    {"listen": "localhost:0", "key": "k" * 20},
    {"listen": "[::1]:0", "aliases": ["https://b.example/fhir"], "allow": ["read", "$everything"]},
    {"allow_origins": ["http://localhost:3000"], "policy": "read-only", "retry": "off", "read_timeout": 0.5},
    {"export_storage": ["a.blob.core.windows.net"], "max_connections": 7, "allowed_hosts": ["proxy"]},
    {"auth": "client-secret", "client_id": "i", "tenant": "t.example", "client_secret": "s3cret"},
]


@pytest.mark.parametrize("server", SERVERS)
def test_settings_arrive_as_they_were_without_secrets_of_the_sign_in(server: dict[str, object]) -> None:
    config = Config.of(
        {"server": [{"base_url": "https://a.example/r4", **server}], "drain_timeout": 3, "log_format": "json"}
    )
    listen = ListenAddress(config.servers[0].listen.host, 4711)
    settings = Settings.of(config, [(config.servers[0], listen, 9)])
    words = settings.plain()
    arrived = Settings.heard(sent(words))

    assert "s3cret" not in json.dumps(words)
    assert (3, "json", {str(listen): 9}) == (
        arrived.config.drain_timeout,
        arrived.config.log_format,
        arrived.sign_ins,
    )
    expected = config.servers[0].replace(listen=listen, **dict.fromkeys(SIGN_IN_SECRETS))
    assert [expected] == list(arrived.config.servers)


def test_every_secret_but_the_key_of_tools_stays_with_the_supervisor() -> None:
    secrets = {field.name for field in structs.fields(ServerConfig) if "Secret" in str(field.type)}

    assert secrets - {"key"} == SIGN_IN_SECRETS
