from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.printed import UNTOLD_LIFE, printed_token
from proxy.rules.tokens import LATEST

NOW = 1_800_000_000.0
LATER = NOW + 1234
DATE = datetime.fromtimestamp(LATER, UTC).isoformat()
JWT = "e30." + base64.urlsafe_b64encode(json.dumps({"exp": LATER}).encode()).decode().rstrip("=") + ".sig"

SHAPES = [
    ("t", NOW + UNTOLD_LIFE),
    ("\ufeff t \n", NOW + UNTOLD_LIFE),
    ("Bearer t", NOW + UNTOLD_LIFE),
    # kubectl
    ({"apiVersion": "x", "status": {"token": "t", "expirationTimestamp": DATE}}, LATER),
    (
        {"kind": "ExecCredential", "status": {"token": "t", "expirationTimestamp": "2027-01-15T08:20:34Z"}},
        LATER,
    ),
    ({"status": {"token": "t"}}, NOW + UNTOLD_LIFE),
    # az
    ({"accessToken": "t", "expires_on": int(LATER), "expiresOn": "2001-01-01 00:00:00.000000"}, LATER),
    ({"accessToken": "t", "expiresOn": "2027-01-15 08:20:34.000000"}, NOW + UNTOLD_LIFE),
    # a token endpoint, the metadata service
    ({"access_token": "t", "expires_in": 1234}, LATER),
    ({"access_token": "t", "expires_in": "1234", "token_type": "Bearer"}, LATER),
    ({"access_token": "t", "expires_in": "1", "expires_on": str(int(LATER))}, LATER),
    # azd
    ({"token": "t", "expiresOn": DATE}, LATER),
    # what makes no sense is not believed
    ({"access_token": "t", "expires_in": True}, NOW + UNTOLD_LIFE),
    ({"access_token": "t", "expires_in": "soon"}, NOW + UNTOLD_LIFE),
    ({"access_token": "t", "expires_in": 1e300}, NOW + UNTOLD_LIFE),
    ({"access_token": "t", "expires_in": 10**400}, NOW + UNTOLD_LIFE),
    ({"access_token": "t", "expires_on": "nan"}, NOW + UNTOLD_LIFE),
    ({"token": "t", "expiresOn": "tomorrow"}, NOW + UNTOLD_LIFE),
]


@pytest.mark.parametrize(("printed", "expires_at"), SHAPES)
def test_shapes(printed: object, expires_at: float) -> None:
    text = printed if isinstance(printed, str) else json.dumps(printed)
    token = printed_token(text.encode(), NOW)

    assert ("t", expires_at) == (token.value, token.expires_at)


@pytest.mark.parametrize("printed", [JWT, json.dumps({"token": JWT}), json.dumps({"accessToken": JWT})])
def test_token_itself_says_when_it_expires(printed: str) -> None:
    assert printed_token(printed.encode(), NOW).expires_at == LATER


NO_TOKENS = [b"", b"{}", b'{"token": 7}', b'{"status": "x"}', b"[1]", b'"a b"', b'{"token": "a b"}', b"\xff"]


@pytest.mark.parametrize("output", NO_TOKENS)
def test_anything_else_is_refused(output: bytes) -> None:
    with pytest.raises(ValueError, match=r"is|holds"):
        printed_token(output, NOW)


@given(st.binary())
def test_no_output_breaks_it(output: bytes) -> None:
    try:
        token = printed_token(output, NOW)
    except ValueError as error:
        assert len(str(error)) < 100  # noqa: PT017
    else:
        assert token.value.isascii()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.dictionaries(
        st.sampled_from(
            ["status", "token", "accessToken", "access_token", "expires_on", "expires_in", "expiresOn"]
        ),
        inner,
    ),
)


@given(JSON)
def test_no_json_breaks_it(document: object) -> None:
    try:
        token = printed_token(json.dumps(document).encode(), NOW)
    except ValueError:
        return
    assert token.expires_at <= LATEST
