from __future__ import annotations

import pytest

from proxy.config import ServerConfig
from proxy.errors import (
    AuthenticationFailed,
    CodingNotSupported,
    ConfigError,
    Misdirected,
    NotFound,
    UpstreamProtocolError,
)
from proxy.model import Credentials, Fields, Interaction, RequestHead, ResponseHead
from proxy.rules.exchange import Exchange, ServerRules
from proxy.rules.listener import Listener

TOKEN = Credentials(b"Bearer abc")
JSON = ("Content-Type", "application/fhir+json")
GZIP = ("Content-Encoding", "gzip")


def exchange(
    method: str = "GET",
    target: str = "/Patient/1",
    *fields: tuple[str, str],
    body_exists: bool = False,
    base_url: str = "https://fhir.example/r4",
    **settings: object,
) -> Exchange:
    config = ServerConfig.of({"base_url": base_url, **settings})
    head = RequestHead(method, target.encode(), Fields.of([("Host", "localhost:8080"), *fields]), body_exists)
    return Exchange(head, ServerRules(config, Listener.of("localhost", 8080)))


def sent(
    conversation: Exchange, credentials: Credentials | None = TOKEN, length: int | None = None
) -> dict[str, str]:
    conversation.check(credentials)
    conversation.request_path()
    head = conversation.upstream_request(credentials, length=length)
    return {name.decode().lower(): value.decode() for name, value in head.fields}


def answered(
    conversation: Exchange, status: int, *fields: tuple[str, str]
) -> tuple[dict[str, str], bytes | None]:
    """The fields that the tool gets, and a body that went through the path, if there is one."""
    head, path = conversation.client_response(ResponseHead(status, b"OK", Fields.of(fields)))
    body = None
    if path is not None and GZIP not in fields:
        body = b"".join((*path.feed(b'{"fullUrl":"https://fhir.example/r4/Patient/1"}'), *path.flush()))
    return {name.decode().lower(): value.decode() for name, value in head.fields}, body


LOCAL = b'{"fullUrl":"http://localhost:8080/Patient/1"}'


def test_guards_run_first() -> None:
    rules = ServerRules(ServerConfig.of({"base_url": "https://fhir.example"}), Listener.of("localhost", 8080))
    with pytest.raises(Misdirected):
        Exchange(RequestHead("GET", b"/Patient", Fields.of([("Host", "evil.example")])), rules)


@pytest.mark.parametrize("target", ["/Patient", "/r4/Patient"])
def test_interaction_does_not_depend_on_the_mount(target: str) -> None:
    assert Interaction.SEARCH_TYPE == exchange("GET", target).classified.interaction


# Requests


def test_request_goes_to_the_server_with_our_credentials_alone() -> None:
    fields = sent(exchange("GET", "/Patient", ("Authorization", "Basic Zm9v")))

    assert (fields["host"], fields["authorization"]) == ("fhir.example", "Bearer abc")


def test_server_that_takes_anyone_gets_the_tools_own_credentials() -> None:
    assert (
        sent(exchange("GET", "/Patient", ("Authorization", "Basic Zm9v")), None)["authorization"]
        == "Basic Zm9v"
    )


def test_token_never_goes_over_plain_http_to_another_machine() -> None:
    with pytest.raises(ConfigError, match="would show it to the network"):
        exchange(base_url="http://fhir.example").check(TOKEN)


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:9000", "http://localhost", "http://[::1]:9000", "https://fhir.example"]
)
def test_token_goes_over_tls_or_loopback(base_url: str) -> None:
    exchange(base_url=base_url).check(TOKEN)


def test_any_coding_that_can_be_read_is_asked_for() -> None:
    assert "gzip" in sent(exchange("GET", "/Patient", ("Accept-Encoding", "identity")))["accept-encoding"]


@pytest.mark.parametrize(("settings", "fields"), [({"rewrite": "off"}, ()), ({}, (("Range", "bytes=0-9"),))])
def test_coding_is_the_tools_choice_where_bytes_count(
    settings: dict[str, object], fields: tuple[tuple[str, str], ...]
) -> None:
    assert (
        "x"
        == sent(exchange("GET", "/Patient", ("Accept-Encoding", "x"), *fields, **settings))["accept-encoding"]
    )


def test_held_body_tells_its_length_and_waits_for_nothing() -> None:
    body = (JSON, ("Content-Length", "9"), ("Expect", "100-continue"), ("Content-Digest", "sha-256=:x:"))
    fields = sent(exchange("POST", "/Patient", *body, body_exists=True), length=7)

    assert (fields["content-length"], "expect" in fields, "content-digest" in fields) == ("7", False, False)


def test_streamed_body_that_may_change_tells_no_length() -> None:
    fields = sent(exchange("POST", "/Patient", JSON, GZIP, ("Content-Length", "9"), body_exists=True))

    assert ("content-length" in fields, "content-encoding" in fields) == (False, False)


def test_streamed_body_that_passes_keeps_what_is_said_of_it() -> None:
    body = (("Content-Type", "application/pdf"), GZIP, ("Content-Length", "9"), ("Expect", "100-continue"))
    fields = sent(exchange("POST", "/Binary", *body, body_exists=True))

    assert (fields["content-length"], fields["content-encoding"], fields["expect"]) == (
        "9",
        "gzip",
        "100-continue",
    )


def test_body_in_an_unknown_coding_is_refused() -> None:
    with pytest.raises(CodingNotSupported, match="'compress'"):
        exchange("POST", "/Patient", JSON, ("Content-Encoding", "compress"), body_exists=True).request_path()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("If-None-Exist", "link=http://localhost:8080/Patient/1", "link=https://fhir.example/r4/Patient/1"),
        ("X-Provenance", '{"reference":"http://localhost:8080/r4/D/1"}', '{"reference":"https://fhir.example/r4/D/1"}'),
        ("Destination", "http://localhost:8080/Patient/1", "https://fhir.example/r4/Patient/1"),
        ("Link", "<http://localhost:8080/Patient/1>; rel=x", "<https://fhir.example/r4/Patient/1>; rel=x"),
        ("Prefer", "return=minimal; x=http://localhost:8080", "return=minimal; x=http://localhost:8080"),
        ("X-MS-AZUREFHIR-AUDIT-SITE", "http://localhost:8080", "http://localhost:8080"),
    ],
)  # fmt: skip
def test_own_address_in_a_field_goes_up_as_the_servers(name: str, value: str, expected: str) -> None:
    fields = sent(exchange("POST", "/Patient", (name, value)))

    assert fields[name.lower()] == expected


# Answers


def test_json_is_rewritten_and_what_vouched_for_it_dropped() -> None:
    fields, body = answered(
        signed_in(), 200, JSON, ("ETag", '"1"'), ("Content-Length", "9"), ("Accept-Ranges", "bytes")
    )

    assert body == LOCAL
    assert (fields["etag"], "content-length" in fields, "accept-ranges" in fields) == ('W/"1"', False, False)


UNTOUCHED = [
    (200, (("Content-Type", "application/pdf"),)),
    (200, (("Content-Type", "text/html"),)),
    (206, (JSON,)),
    (200, ()),
]


@pytest.mark.parametrize(
    ("known", "expected"), [('W/"1"', 'W/"1"'), ('"0", W/"1"', 'W/"1"'), ('"1"', '"1"'), ("*", '"1"')]
)
def test_not_modified_names_what_the_tool_has(known: str, expected: str) -> None:
    told, body = answered(
        signed_in("/Patient/1", ("If-None-Match", known)), 304, ("ETag", '"1"'), ("Content-Length", "9")
    )

    assert (body, told["etag"], "content-length" in told) == (None, expected, False)


def test_not_modified_passes_as_it_is_where_nothing_is_rewritten() -> None:
    conversation = signed_in("/Patient/1", ("If-None-Match", 'W/"1"'), rewrite="off")
    told, _ = answered(conversation, 304, ("ETag", '"1"'), ("Content-Length", "9"))

    assert (told["etag"], told["content-length"]) == ('"1"', "9")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [((GZIP,), "Accept-Encoding"), ((GZIP, ("Vary", "accept-encoding, Accept")), "accept-encoding, Accept"), ((GZIP, ("Vary", "*")), "*"), ((), None)],
)  # fmt: skip
@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_coded_answer_varies(
    accepted: str, fields: tuple[tuple[str, str], ...], expected: str | None
) -> None:
    conversation = signed_in("/Binary/1", ("Accept-Encoding", accepted))
    told, _ = answered(conversation, 200, ("Content-Type", "application/pdf"), *fields)

    assert told.get("vary") == expected


@pytest.mark.parametrize(("status", "fields"), UNTOUCHED)
def test_other_bodies_pass_as_they_are(status: int, fields: tuple[tuple[str, str], ...]) -> None:
    told, body = answered(signed_in(), status, *fields, ("ETag", '"1"'), ("Content-Length", "9"))

    assert (body, told["etag"], told["content-length"]) == (None, '"1"', "9")


def test_switched_off_nothing_is_rewritten() -> None:
    fields, body = answered(
        signed_in(rewrite="off"), 201, JSON, ("Location", "https://fhir.example/r4/Patient/1")
    )

    assert (body, fields["location"]) == (None, "https://fhir.example/r4/Patient/1")


@pytest.mark.parametrize("name", ["Location", "Content-Location"])
def test_addresses_in_fields_are_local(name: str) -> None:
    fields, _ = answered(
        signed_in("/r4/Patient"), 201, (name, "https://fhir.example/r4/Patient/1/_history/1")
    )

    assert fields[name.lower()] == "http://localhost:8080/r4/Patient/1/_history/1"


def test_coding_that_was_not_asked_for_is_an_error_where_links_would_leak() -> None:
    with pytest.raises(UpstreamProtocolError, match="'compress'"):
        answered(signed_in(), 200, JSON, ("Content-Encoding", "compress"))


def test_coding_that_the_tool_does_not_take_is_undone() -> None:
    conversation = signed_in("/Binary/1", ("Accept-Encoding", "identity"))
    fields, _ = answered(conversation, 200, ("Content-Type", "application/pdf"), GZIP)

    assert "content-encoding" not in fields


def test_coding_that_the_tool_takes_passes() -> None:
    conversation = signed_in("/Binary/1", ("Accept-Encoding", "gzip"))
    fields, body = answered(conversation, 200, ("Content-Type", "application/pdf"), GZIP)

    assert (fields["content-encoding"], body) == ("gzip", None)


def signed_in(target: str = "/Patient", *fields: tuple[str, str], **settings: object) -> Exchange:
    conversation = exchange("GET", target, *fields, **settings)
    sent(conversation)
    return conversation


# Signing in


CHALLENGE = (
    "WWW-Authenticate",
    'Bearer authorization_uri="https://login.microsoftonline.com/t", resource_id="api://x"',
)


def test_first_refusal_asks_for_new_credentials_and_the_second_is_told() -> None:
    conversation = signed_in()
    refused = ResponseHead(401, b"No", Fields.of([CHALLENGE]))
    rejection = conversation.rejection(refused)

    assert rejection is not None
    assert (rejection.credentials, rejection.challenges[0].scheme) == (TOKEN, "bearer")
    with pytest.raises(AuthenticationFailed) as told:
        conversation.rejection(refused)
    assert "--audience api://x" in told.value.hint


@pytest.mark.parametrize("status", [200, 403, 404, 429, 500])
def test_no_other_status_is_about_credentials(status: int) -> None:
    assert signed_in().rejection(ResponseHead(status, b"", Fields.of([CHALLENGE]))) is None


WANTS_CLAIMS = (
    "WWW-Authenticate",
    'Bearer error=insufficient_claims, claims={"access_token":{"polids":{"essential":true,"values":["p"]}}}',
)


def test_403_that_asks_for_claims_is_about_credentials_once() -> None:
    conversation = signed_in()
    refused = ResponseHead(403, b"No", Fields.of([WANTS_CLAIMS]))
    rejection = conversation.rejection(refused)

    assert rejection is not None
    assert rejection.challenges[0].parameters["error"] == "insufficient_claims"
    assert conversation.rejection(refused) is None


def test_tools_own_refused_credentials_are_its_own_affair() -> None:
    conversation = exchange("GET", "/Patient", ("Authorization", "Basic Zm9v"))
    sent(conversation, None)

    assert conversation.rejection(ResponseHead(401, b"", Fields.of([CHALLENGE]))) is None
    fields, _ = answered(conversation, 401, CHALLENGE)
    assert fields["www-authenticate"] == CHALLENGE[1]


def test_challenge_never_reaches_a_tool_that_we_sign_in_for() -> None:
    assert "www-authenticate" not in answered(signed_in(), 403, CHALLENGE)[0]


def test_smart_configuration_is_hidden_where_we_sign_in() -> None:
    hidden = exchange("GET", "/.well-known/smart-configuration")
    with pytest.raises(NotFound):
        hidden.check(TOKEN)
    hidden.check(None)
    exchange("GET", "/.well-known/smart-configuration", advertise_auth="pass").check(TOKEN)


STATEMENT = b'{"resourceType":"CapabilityStatement","rest":[{"mode":"server","security":{"cors":true}}]}'


@pytest.mark.parametrize(
    ("credentials", "settings", "hidden"),
    [
        (TOKEN, {}, True),
        (None, {}, False),
        (TOKEN, {"advertise_auth": "pass"}, False),
        (TOKEN, {"rewrite": "off"}, True),
    ],
)
def test_servers_oauth_is_hidden_in_its_statement(
    credentials: Credentials | None, settings: dict[str, object], hidden: bool
) -> None:
    conversation = exchange("GET", "/metadata", **settings)
    sent(conversation, credentials)
    _, path = conversation.client_response(ResponseHead(200, b"OK", Fields.of([JSON])))
    body = STATEMENT if path is None else b"".join((*path.feed(STATEMENT), *path.flush()))

    assert hidden is (b"security" not in body)
