from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Challenge, Fields
from proxy.rules import challenges
from proxy.rules.challenges import bearer, parse_challenges, stated_error, wanted_claims

TENANT = "8a2f1c70-4c5e-4f06-9a43-d1b1a7f5e0c1"
LOGIN = f"https://login.microsoftonline.com/{TENANT}"
CLAIMS = "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwgInZhbHVlIjoiMTYzNTUyNzc5MCJ9fX0="


def fields(*lines: bytes | str) -> Fields:
    return Fields(
        tuple(
            (b"WWW-Authenticate", line if isinstance(line, bytes) else line.encode("utf-8")) for line in lines
        )
    )


def c(scheme: str, **parameters: str) -> Challenge:
    return Challenge(scheme, parameters)


MICROSOFT = [
    pytest.param(
        f'Bearer authorization_uri="{LOGIN}", resource_id="https://fhir.example", realm="https://fhir.example"',
        [
            c(
                "bearer",
                authorization_uri=LOGIN,
                resource_id="https://fhir.example",
                realm="https://fhir.example",
            )
        ],
        id="microsoft/fhir-server",
    ),
    pytest.param(
        f"Bearer authorization_uri={LOGIN}, resource_id=https://fhir.example, realm=https://fhir.example",
        [
            c(
                "bearer",
                authorization_uri=LOGIN,
                resource_id="https://fhir.example",
                realm="https://fhir.example",
            )
        ],
        id="microsoft/fhir-server without quotes",
    ),
    pytest.param(
        f'Bearer authorization_uri="{LOGIN}/oauth2/authorize", '
        'resource_id="120d688d-1518-4cf7-bd38-182f158850b6"',
        [
            c(
                "bearer",
                authorization_uri=f"{LOGIN}/oauth2/authorize",
                resource_id="120d688d-1518-4cf7-bd38-182f158850b6",
            )
        ],
        id="other Microsoft services",
    ),
    pytest.param(
        'Bearer authorization="https://login.windows.net/azure_tenant_id", resource="https://vault.azure.net"',
        [
            c(
                "bearer",
                authorization="https://login.windows.net/azure_tenant_id",
                resource="https://vault.azure.net",
            )
        ],
        id="Key Vault",
    ),
    pytest.param(
        'Bearer authorization_uri="https://login.windows.net/996fe9d1-6171-40aa-945b-4c64b63bf655", '
        'error="invalid_token", error_description="The authentication failed because of missing '
        "'Authorization' header.\"",
        [
            c(
                "bearer",
                authorization_uri="https://login.windows.net/996fe9d1-6171-40aa-945b-4c64b63bf655",
                error="invalid_token",
                error_description="The authentication failed because of missing 'Authorization' header.",
            )
        ],
        id="Resource Manager",
    ),
    pytest.param(
        'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
        'client_id="00000003-0000-0000-c000-000000000000", error="insufficient_claims", '
        f'claims="{CLAIMS}"',
        [
            c(
                "bearer",
                realm="",
                authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize",
                client_id="00000003-0000-0000-c000-000000000000",
                error="insufficient_claims",
                claims=CLAIMS,
            )
        ],
        id="continuous access evaluation",
    ),
    pytest.param(
        'Bearer authorization_uri="https://login.windows-ppe.net/", error="invalid_token", '
        'error_description="User session has been revoked", claims="eyJh"',
        [
            c(
                "bearer",
                authorization_uri="https://login.windows-ppe.net/",
                error="invalid_token",
                error_description="User session has been revoked",
                claims="eyJh",
            )
        ],
        id="session revoked",
    ),
    pytest.param(
        "Bearer error=insufficient_claims, "
        'claims={"access_token":{"polids":{"essential":true,"values":["<GUID>"]}}}, realm=x',
        [
            c(
                "bearer",
                error="insufficient_claims",
                claims='{"access_token":{"polids":{"essential":true,"values":["<GUID>"]}}}',
                realm="x",
            )
        ],
        id="early conditional access: raw JSON",
    ),
    pytest.param(
        f'Bearer authorization_uri="{LOGIN}", resource_id="https://endpoint/", PoP nonce="someNonce"',
        [
            c("bearer", authorization_uri=LOGIN, resource_id="https://endpoint/"),
            c("pop", nonce="someNonce"),
        ],
        id="PoP combined",
    ),
]

GRAMMAR = [
    # RFC 9110 section 11.6.1
    (
        'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
        [c("newauth", realm="apps", type="1", title='Login to "apps"'), c("basic", realm="simple")],
    ),
    ("Bearer", [c("bearer")]),
    ("bearer,NEGOTIATE , Ntlm", [c("bearer"), c("negotiate"), c("ntlm")]),
    ("BEARER Realm=x", [c("bearer", realm="x")]),
    # bad white space around "=" and empty list elements
    ('Bearer realm \t= "x",\t, ,error= y', [c("bearer", realm="x", error="y")]),
    (', ,Bearer ,realm="x",', [c("bearer", realm="x")]),
    # token68
    ("Negotiate YIIBhwYGKwYBBQUCo=", [c("negotiate")]),
    ('Negotiate oYG1==, Bearer realm="x"', [c("negotiate"), c("bearer", realm="x")]),
    ("NTLM TlRMTVNT/+a.b-c_d~e , Basic", [c("ntlm"), c("basic")]),
    # commas and schemes inside quotes
    ('Bearer a="Basic realm=\\"x\\", b=c", d="\\\\"', [c("bearer", a='Basic realm="x", b=c', d="\\")]),
    # a parameter that comes twice
    ("Bearer realm=first, REALM=second", [c("bearer", realm="first")]),
    # no comma between parameters
    ('Bearer realm="a" scope=b error="c"', [c("bearer", realm="a", scope="b", error="c")]),
    ('Bearer realm="ä€"', [c("bearer", realm="ä€")]),
    (b'Bearer realm="\xe4"', [c("bearer", realm="ä")]),
]

GARBAGE = [
    ("", []),
    ("  ,, \t", []),
    ("realm=x", []),
    ("@@@", []),
    ('realm="orphan", Bearer a=b', [c("bearer", a="b")]),
    ('Bearer realm="closed late, error="x"', [c("bearer", realm="closed late, error=")]),
    ('Bearer a=b, realm="never closed, Basic', [c("bearer", a="b")]),
    ('Bearer a=b, @ "x, Basic y=z" @, d=e', [c("bearer", a="b", d="e")]),
    ("Bearer a=b, realm=, d=e", [c("bearer", a="b", d="e")]),
    ("Bearer text=several words, d=e", [c("bearer", text="several", d="e")]),
    ('Bearer claims={"broken", d=e', [c("bearer", claims="{", d="e")]),
    # what a terminal would obey never comes through
    ('Bearer a="\x1b[31m", b=\x1b[31m, d=e', [c("bearer", d="e")]),
    (b'Bearer a="\xc2\x9b31m", d=e', [c("bearer", d="e")]),
    (b"Bearer a=\x00, d=e", [c("bearer", d="e")]),
]


@pytest.mark.parametrize(("line", "expected"), [*MICROSOFT, *GRAMMAR, *GARBAGE])
def test_line_holds_these_challenges(line: bytes | str, expected: list[Challenge]) -> None:
    assert expected == list(parse_challenges(fields(line)))


def test_lines_are_read_in_order_and_each_for_itself() -> None:
    found = parse_challenges(fields('Negotiate "', "realm=x", "Bearer error=y", "Basic"))

    assert [c("negotiate"), c("bearer", error="y"), c("basic")] == list(found)


def test_other_fields_are_not_read() -> None:
    assert parse_challenges(Fields.of([("Proxy-Authenticate", "Bearer"), ("X", "Basic")])) == ()


def test_challenges_are_bounded() -> None:
    assert len(parse_challenges(fields(", ".join(["Basic"] * 500)))) == challenges.MAX_CHALLENGES
    assert len(parse_challenges(fields(*["Basic, Digest"] * 500))) == challenges.MAX_CHALLENGES


def test_parameters_are_bounded() -> None:
    line = "Bearer " + ", ".join(f"p{number}=x" for number in range(500))

    assert len(parse_challenges(fields(line))[0].parameters) == challenges.MAX_PARAMETERS


def test_bytes_are_bounded_over_all_lines() -> None:
    large = 'Bearer realm="' + "x" * (challenges.MAX_BYTES - 30) + '"'

    assert [found.scheme for found in parse_challenges(fields(large, "Basic", large))] == ["bearer", "basic"]


@pytest.mark.parametrize(
    "line",
    [
        "Bearer " + "claims={" * 8000,
        "Bearer claims=" + '{"a":' * 12_000,
        "Bearer claims={" + "[" * 60_000,
        'Bearer realm="' + "\\" * 60_000,
        "Bearer " + "a" * 60_000 + "@",
        "Bearer " + " \t" * 30_000 + "=",
        'Bearer x="' * 6000,
        ",@" * 30_000,
    ],
    ids=lambda line: line[:20],
)
def test_hostile_line_is_read_in_one_go(line: str) -> None:
    assert ["bearer"] * line.startswith("Bearer") == [x.scheme for x in parse_challenges(fields(line))][:1]


FIRST_BEARER = [
    ([], None),
    ([c("basic")], None),
    ([c("basic"), c("bearer", a="1"), c("bearer", a="2")], c("bearer", a="1")),
]


@pytest.mark.parametrize(("given_challenges", "expected"), FIRST_BEARER)
def test_bearer_is_the_first(given_challenges: list[Challenge], expected: Challenge | None) -> None:
    assert expected == bearer(given_challenges)


STATED = [
    ([], ""),
    ([c("basic", error="x")], ""),
    ([c("bearer")], ""),
    ([c("bearer", error="invalid_token")], "invalid_token"),
    ([c("bearer", error_description="The audience 'x' is invalid")], "The audience 'x' is invalid"),
    ([c("bearer", error="invalid_token", error_description="too\t old")], "invalid_token: too old"),
    ([c("bearer", error="x" * 400)], "x" * 299 + "…"),
]


@pytest.mark.parametrize(("given_challenges", "expected"), STATED)
def test_error_is_quoted_in_one_bounded_line(given_challenges: list[Challenge], expected: str) -> None:
    assert expected == stated_error(given_challenges)


TOKENS = st.text("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)
VALUES = st.text(
    st.one_of(
        st.characters(min_codepoint=0x20, max_codepoint=0x7E), st.characters(min_codepoint=0xA0)
    ).filter(lambda character: not "\ud800" <= character <= "\udfff"),
    max_size=40,
)
CHALLENGES = st.builds(Challenge, TOKENS, st.dictionaries(TOKENS, VALUES, max_size=5))


def written(challenge: Challenge, spaces: str) -> str:
    quoted = (
        f'{name}{spaces}={spaces}"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for name, value in challenge.parameters.items()
    )
    return f"{challenge.scheme} {', '.join(quoted)}"


@given(st.lists(CHALLENGES, max_size=6), st.sampled_from(["", " ", "\t "]), st.booleans())
def test_written_challenges_are_read_back(
    given_challenges: list[Challenge], spaces: str, joined: bool
) -> None:
    lines = [written(challenge, spaces) for challenge in given_challenges]
    if joined:
        lines = [" , ".join(lines)]

    assert given_challenges == list(parse_challenges(fields(*lines)))


@given(
    st.lists(st.one_of(st.binary(max_size=200), st.text('aB=," \\{}[]:\t@\x7fé', max_size=60)), max_size=4)
)
def test_arbitrary_bytes_never_raise(lines: list[bytes | str]) -> None:
    for challenge in parse_challenges(fields(*lines)):
        assert challenge.scheme == challenge.scheme.lower() != ""


@given(st.recursive(st.none() | st.integers() | VALUES, lambda x: st.dictionaries(VALUES, x, max_size=3)))
def test_unquoted_json_is_one_value(value: object) -> None:
    text = json.dumps({"access_token": value})

    assert [c("bearer", claims=text, d="e")] == list(parse_challenges(fields(f"Bearer claims={text}, d=e")))


WANTED = '{"access_token":{"nbf":{"essential":true,"value":"1635527790?>"}}}'
STANDARD = base64.b64encode(WANTED.encode()).decode()


@pytest.mark.parametrize("error", ["insufficient_claims", "invalid_token"])
@pytest.mark.parametrize(
    "value", [STANDARD, STANDARD.rstrip("="), STANDARD.translate(str.maketrans("+/", "-_")), WANTED]
)
def test_wanted_claims_are_read_in_every_spelling(error: str, value: str) -> None:
    assert WANTED == wanted_claims([Challenge("bearer", {"error": error, "claims": value})])


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("scheme", "error", "value"),
    [
        pytest.param("bearer", "insufficient_claims", "", id="none"),
        pytest.param("bearer", "insufficient_scope", STANDARD, id="another error"),
        pytest.param("bearer", "", STANDARD, id="no error"),
        pytest.param("pop", "insufficient_claims", STANDARD, id="another scheme"),
        pytest.param("bearer", "insufficient_claims", "%%%", id="no base64"),
        pytest.param("bearer", "insufficient_claims", "ä" + STANDARD, id="not ASCII"),
        pytest.param("bearer", "insufficient_claims", packed("[1]"), id="no object"),
        pytest.param("bearer", "insufficient_claims", packed("{}"), id="empty object"),
        pytest.param("bearer", "insufficient_claims", packed("{"), id="no JSON"),
        pytest.param("bearer", "insufficient_claims", packed("[" * 6000), id="deep"),
        pytest.param("bearer", "insufficient_claims", packed('{"a":NaN}'), id="no number"),
        pytest.param("bearer", "insufficient_claims", packed(json.dumps({"a": "b" * 9000})), id="too long"),
    ],
)
def test_what_are_no_wanted_claims(scheme: str, error: str, value: str) -> None:
    assert wanted_claims([Challenge(scheme, {"error": error, "claims": value})]) == ""


@given(st.text())
def test_claims_are_a_json_object_or_nothing(value: str) -> None:
    claims = wanted_claims([Challenge("bearer", {"error": "invalid_token", "claims": value})])

    assert not claims or isinstance(json.loads(claims), dict)
