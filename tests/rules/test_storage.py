from __future__ import annotations

import pytest

from proxy.config import ServerConfig
from proxy.errors import AuthenticationFailed, InternalError, NotFound, ProxyError, StorageForbidden
from proxy.model import Challenge, Credentials, Fields, RequestHead, ResponseHead
from proxy.rules.exchange import Exchange, ServerRules
from proxy.rules.guards import Listener
from proxy.rules.storage import StorageExchange, exchange_of
from proxy.rules.storage_refusals import ROLE, refusal, refused_by_storage

ACCOUNT = "a.blob.core.windows.net"
STORED = f"/.fhir-auth-proxy/storage/{ACCOUNT}/c/f.ndjson"
TOKEN = Credentials(b"Bearer x", for_storage=True)


def begun(target: str, accounts: tuple[str, ...] = (ACCOUNT,), **fields: str) -> Exchange:
    config = ServerConfig.of({"base_url": "https://fhir.example/r4", "export_storage": accounts})
    head = RequestHead("GET", target.encode(), Fields.of([("Host", "localhost:8080"), *fields.items()]))
    return exchange_of(head, ServerRules(config, Listener.of("localhost", 8080)))


KINDS = [
    (STORED, (ACCOUNT,), StorageExchange),
    (f"/r4{STORED}", (ACCOUNT,), StorageExchange),
    ("/Patient/1", (ACCOUNT,), Exchange),
    (STORED, (), Exchange),
]


@pytest.mark.parametrize(("target", "accounts", "kind"), KINDS)
def test_kinds(target: str, accounts: tuple[str, ...], kind: type[Exchange]) -> None:
    assert kind is type(begun(target, accounts))


MISPLACED = [
    ("/Patient/1", Credentials(b"Bearer x", for_storage=True)),
    (STORED, Credentials(b"Bearer x")),
    (f"{STORED}?sig=x", TOKEN),
]


@pytest.mark.parametrize(("target", "credentials"), MISPLACED)
def test_credentials_of_another_place_are_never_sent(target: str, credentials: Credentials) -> None:
    with pytest.raises(InternalError):
        begun(target).upstream_request(credentials, length=None)


def test_only_the_first_401_to_a_token_renews_it() -> None:
    refused = ResponseHead(401, b"", Fields.of([("WWW-Authenticate", 'Bearer error="invalid_token"')]))
    exchange, signed = begun(STORED), begun(f"{STORED}?sig=x")
    exchange.upstream_request(TOKEN, length=None)
    signed.upstream_request(None, length=None)
    first = exchange.rejection(refused)

    assert first is not None
    assert first.credentials is TOKEN
    assert [challenge.scheme for challenge in first.challenges] == ["bearer"]
    assert (exchange.rejection(refused), signed.rejection(refused)) == (None, None)


REFUSALS = [
    # status, code, was the URL signed, error, what it says
    (200, "", False, None, ""),
    (206, "", True, None, ""),
    (304, "", False, None, ""),
    (416, "InvalidRange", False, None, ""),
    (503, "ServerBusy", False, None, ""),
    (401, "InvalidAuthenticationInfo", False, StorageForbidden, ROLE),
    (
        403,
        "AuthorizationPermissionMismatch",
        False,
        StorageForbidden,
        "(403 AuthorizationPermissionMismatch)",
    ),
    (403, "AuthorizationFailure", False, StorageForbidden, "from this network"),
    (403, "", False, StorageForbidden, "(403)"),
    (403, "x y: a.b.c", False, StorageForbidden, "(403)"),
    (403, "AuthenticationFailed", True, StorageForbidden, "signature in the file's URL"),
    (404, "ContainerNotFound", False, NotFound, "(404 ContainerNotFound)"),
    (404, "BlobNotFound", True, NotFound, "start a new export"),
]


@pytest.mark.parametrize(("status", "code", "is_signed", "kind", "said"), REFUSALS)
def test_refusals(status: int, code: str, is_signed: bool, kind: type[ProxyError] | None, said: str) -> None:
    head = ResponseHead(status, b"", Fields.of([("x-ms-error-code", code)]))
    error = refusal(ACCOUNT, head, is_signed=is_signed)

    assert (None if error is None else type(error)) is kind
    if error is not None:
        assert said in f"{error.message} {error.hint}"
        assert ACCOUNT in error.message


def test_new_token_that_is_refused_names_the_role() -> None:
    error = refused_by_storage((Challenge("bearer", {"error": "invalid_token"}),))

    assert isinstance(error, AuthenticationFailed)
    assert "invalid_token" in error.message
    assert ROLE in error.hint
