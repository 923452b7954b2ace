import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Fields
from proxy.rules.headers import SECURITY_FIELDS, request_fields, response_fields

HOST = (b"Host", b"fhir.example")


def to_server(
    *lines: tuple[bytes, bytes], keep_authorization: bool = False
) -> tuple[tuple[bytes, bytes], ...]:
    fields = request_fields(Fields(lines), host=b"fhir.example", keep_authorization=keep_authorization)
    assert fields.lines[0] == HOST
    return fields.lines[1:]


def to_tool(*lines: tuple[bytes, bytes], keep_challenges: bool = False) -> tuple[tuple[bytes, bytes], ...]:
    """The fields towards the tool without those that the proxy adds to every answer."""
    fields = response_fields(Fields(lines), keep_challenges=keep_challenges)
    ours = {*SECURITY_FIELDS, (b"Cache-Control", b"no-store")}
    return tuple(line for line in fields.lines if line not in ours)


@pytest.mark.parametrize(
    "name",
    [
        # hop by hop
        b"Connection", b"Keep-Alive", b"TE", b"Trailer", b"Transfer-Encoding", b"Upgrade", b"HTTP2-Settings",
        b"Proxy-Connection", b"Proxy-Authorization", b"Proxy-Authenticate",
        # credentials
        b"Authorization", b"AUTHORIZATION", b"Cookie", b"cookie", b"Cookie2", b"X-Proxy-Key", b"X-ZUMO-AUTH",
        # forwarding, URL and method override
        b"Forwarded", b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Proto", b"X-Forwarded-Prefix",
        b"X-Forwarded-Uri", b"X-Forwarded", b"X-Real-IP", b"X-Original-URL", b"X-Original-Host",
        b"X-Rewrite-URL", b"X-Host", b"X-Envoy-Original-Path", b"X-HTTP-Method-Override", b"X-HTTP-Method",
        b"X-Method-Override", b"X-Azure-FDID",
        # identity of gateways
        b"X-MS-CLIENT-PRINCIPAL", b"x-ms-client-principal-id", b"X-MS-TOKEN-AAD-ACCESS-TOKEN",
        b"X-ARR-ClientCert",
        b"X-ARR-SSL", b"Remote-User", b"X-Remote-User", b"Impersonate-User", b"Client-Cert",
        # the browser's own
        b"Origin", b"Referer", b"Sec-Fetch-Site", b"Sec-CH-UA", b"Access-Control-Request-Method",
        # names outside [A-Za-z0-9-]
        b"X_Auth_User", b"X_Forwarded_Host", b"X.Y", b"Content_Length", b"X-\xc3\xa4",
        # what is said to this proxy
        b"X-Fhir-Auth-Proxy-Rewrite",
        # the local address
        b"Host",
    ],
)  # fmt: skip
def test_never_reaches_the_server(name: bytes) -> None:
    assert to_server((name, b"value")) == ()


@pytest.mark.parametrize(
    "name",
    [
        b"Accept", b"ACCEPT-charset", b"Accept-Encoding", b"Content-Type", b"Content-Length",
        b"Content-Encoding",
        b"Expect", b"If-None-Exist", b"If-Match", b"If-None-Match", b"If-Modified-Since", b"Prefer", b"Range",
        b"X-Provenance", b"X-Request-Id", b"traceparent", b"User-Agent", b"X-MS-AZUREFHIR-AUDIT-SITE",
        b"x-ms-profile-validation", b"x-ms-fhiruser", b"x-bundle-processing-logic",
        b"Ocp-Apim-Subscription-Key",
        b"api-key", b"Destination", b"x-conditionalquery-processing-logic", b"Cache-Control",
    ],
)  # fmt: skip
def test_reaches_the_server_as_it_came(name: bytes) -> None:
    assert to_server((name, b" \xffvalue,  x")) == ((name, b" \xffvalue,  x"),)


def test_order_spelling_and_repetition_are_kept() -> None:
    lines = ((b"x-B", b"1"), (b"X-a", b"2"), (b"X-B", b"3"), (b"x-B", b"1"))

    assert to_server(*lines) == lines
    assert to_tool(*lines) == lines


@pytest.mark.parametrize(
    ("connection", "kept"),
    [
        ((b"X-Secret",), False),
        ((b"close, x-secret",), False),
        ((b"close", b"  X-SECRET  ,keep-alive"),  False),
        ((b"close",), True),
        ((b"x-secretive",), True),
        ((b"",), True),
    ],
)  # fmt: skip
def test_connection_removes_what_it_names(connection: tuple[bytes, ...], kept: bool) -> None:
    lines = [(b"X-Secret", b"1"), *((b"Connection", value) for value in connection)]

    assert to_server(*lines) == to_tool(*lines) == (((b"X-Secret", b"1"),) if kept else ())


@pytest.mark.parametrize(
    "name",
    [b"Content-Type", b"Content-Length", b"Content-Encoding", b"If-Match", b"If-None-Exist", b"Prefer"],
)
def test_connection_removes_nothing_that_every_recipient_needs(name: bytes) -> None:
    assert to_server((b"Connection", name + b", close"), (name, b"1")) == ((name, b"1"),)


def test_connection_removes_nothing_of_ours() -> None:
    every_name = b"host, authorization, x-content-type-options, content-security-policy, cache-control"
    named = Fields(((b"Connection", every_name),))

    assert request_fields(named, host=b"h", keep_authorization=False).lines == ((b"Host", b"h"),)
    assert response_fields(named, keep_challenges=False).lines == (
        (b"Cache-Control", b"no-store"),
        *SECURITY_FIELDS,
    )


@pytest.mark.parametrize("scheme", [b"Bearer", b"Basic", b"bearer"])
def test_anonymous_server_gets_the_tools_own_authorization(scheme: bytes) -> None:
    line = (b"authorization", scheme + b" abc")

    assert to_server((b"Connection", b"authorization"), line, keep_authorization=True) == (line,)
    assert to_server(line, keep_authorization=False) == ()


@pytest.mark.parametrize("value", [b"Negotiate YII=", b"NTLM TlRM", b"  ntlm x", b"Kerberos x", b"NEGOTIATE"])
def test_no_pooled_connection_is_signed_in(value: bytes) -> None:
    assert to_server((b"Authorization", value), keep_authorization=True) == ()


@pytest.mark.parametrize("coding", [b"gzip", b"identity"])
def test_accept_encoding_is_replaced(coding: bytes) -> None:
    given_fields = Fields(((b"accept-encoding", b"br"), (b"Accept", b"*/*"), (b"Accept-Encoding", b"zstd")))
    fields = request_fields(given_fields, host=b"h", keep_authorization=False, accept_encoding=coding)

    assert fields.lines == ((b"Host", b"h"), (b"Accept", b"*/*"), (b"Accept-Encoding", coding))


@pytest.mark.parametrize(
    "name",
    [
        # hop by hop
        b"Connection", b"Keep-Alive", b"TE", b"Trailer", b"Transfer-Encoding", b"Upgrade",
        b"Proxy-Authenticate",
        b"Proxy-Status", b"Proxy-Connection",
        # kept by a browser for localhost
        b"Set-Cookie", b"SET-COOKIE", b"Set-Cookie2", b"Strict-Transport-Security", b"Clear-Site-Data",
        b"Alt-Svc",
        b"Service-Worker-Allowed", b"Public-Key-Pins", b"Expect-CT", b"Accept-CH", b"Set-Login",
        # collectors
        b"NEL", b"Report-To", b"Reporting-Endpoints", b"Content-Security-Policy-Report-Only",
        b"X-XSS-Protection",
        # other origins
        b"Access-Control-Allow-Origin", b"access-control-allow-credentials", b"Access-Control-Anything-New",
        b"Timing-Allow-Origin", b"Server-Timing", b"Cross-Origin-Resource-Policy",
        # moves the browser, or a web server in front
        b"Refresh", b"SourceMap", b"X-Accel-Redirect", b"X-Sendfile", b"Content-Security-Policy",
        b"Referrer-Policy", b"X-Content-Type-Options",
        # sign-ins
        b"WWW-Authenticate", b"Authentication-Info",
    ],
)  # fmt: skip
def test_never_reaches_the_tool(name: bytes) -> None:
    assert to_tool((name, b"value")) == ()


@pytest.mark.parametrize(
    "name",
    [
        b"Content-Type", b"Content-Length", b"Content-Encoding", b"Content-Disposition", b"ETag",
        b"Last-Modified",
        b"Location", b"Content-Location", b"Link", b"Retry-After", b"x-ms-retry-after-ms",
        b"x-ms-request-charge",
        b"X-Request-Id", b"X-Correlation-Id", b"X-Progress", b"Items-Deleted", b"Vary", b"Allow", b"Date",
        b"Server", b"X_Odd", b"Warning", b"Accept-Ranges", b"Content-Range", b"Preference-Applied",
    ],
)  # fmt: skip
def test_reaches_the_tool_as_it_came(name: bytes) -> None:
    assert to_tool((name, b"\xffvalue, x")) == ((name, b"\xffvalue, x"),)


def test_each_answer_carries_the_security_fields_once() -> None:
    lines = (
        (b"content-security-policy", b"default-src *"),
        (b"ETag", b'W/"1"'),
        (b"cache-control", b"private"),
    )

    assert response_fields(Fields(lines), keep_challenges=False).lines == (*lines[1:], *SECURITY_FIELDS)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'Bearer realm="a, b", scope="x"', b'Bearer realm="a, b", scope="x"'),
        (b'Basic  realm="x"', b'Basic  realm="x"'),
        (b"Negotiate", None),
        (b"negotiate YII=", None),
        (b"NTLM", None),
        (b"Kerberos", None),
        (b'Negotiate, Basic realm="x"', b'Basic realm="x"'),
        (b'Basic realm="x", NTLM', b'Basic realm="x"'),
        (b'Basic realm="x", NTLM realm="y", a = "z", Bearer q="1"', b'Basic realm="x", Bearer q="1"'),
        (b'Basic realm="NTLM, Negotiate"', b'Basic realm="NTLM, Negotiate"'),
        (b'Basic realm="a\\", NTLM"', b'Basic realm="a\\", NTLM"'),
        (b'Basic realm = "x", charset = "UTF-8"', b'Basic realm = "x", charset = "UTF-8"'),
        # a browser might read these in another way
        (b'Basic realm="x, NTLM', None),
        (b'Basic realm="x", NTLM"', None),
        (b"", None),
    ],
)
def test_challenges_that_sign_in_a_connection_are_cut_out(value: bytes, expected: bytes | None) -> None:
    kept = ((b"WWW-Authenticate", expected),) if expected is not None else ()

    assert to_tool((b"WWW-Authenticate", value), keep_challenges=True) == kept


tokens = st.text("abcXYZ019-_.~!", min_size=1, max_size=12).map(str.encode)


@given(st.lists(st.tuples(tokens, st.binary(max_size=20)), max_size=12))
def test_what_crosses_is_a_selection_in_order(lines: list[tuple[bytes, bytes]]) -> None:
    for crossed in (to_server(*lines), to_tool(*lines)):
        remaining = iter(lines)

        assert all(line in remaining for line in crossed)


@given(st.lists(st.sampled_from([b"Negotiate", b"NTLM x", b'Basic realm="a"', b'k="v, NTLM"', b'"', b"x=,"])))
def test_no_connection_bound_challenge_is_left(parts: list[bytes]) -> None:
    value = b", ".join(parts)
    left = dict(to_tool((b"WWW-Authenticate", value), keep_challenges=True)).get(b"WWW-Authenticate", b"")

    assert not {b"Negotiate", b"NTLM x"} & {
        part.strip() for part in left.replace(b'k="v, NTLM"', b"").split(b",")
    }


KNOWN = st.sampled_from(
    [
        b"Date",
        b"ETag",
        b"Set-Cookie",
        b"Server",
        b"X-A",
        b"x-a",
        b"Cache-Control",
        b"Keep-Alive",
        b"WWW-Authenticate",
    ]
)
LINES = st.lists(st.tuples(KNOWN, st.sampled_from([b"1", b"NTLM", b'Basic realm="a"'])), max_size=6)
OPTIONS = st.lists(
    st.tuples(st.just(b"Connection"), st.sampled_from([b"keep-alive", b"close", b"X-A", b"x-a, date"])),
    max_size=2,
)


@given(LINES, OPTIONS, st.booleans())
def test_each_line_crosses_by_itself_whatever_heads_came_before(
    lines: list[tuple[bytes, bytes]], options: list[tuple[bytes, bytes]], keep_challenges: bool
) -> None:
    crossed = response_fields(Fields((*options, *lines)), keep_challenges=keep_challenges)
    alone = [line for one in lines for line in to_tool(*options, one, keep_challenges=keep_challenges)]

    assert tuple(alone) == to_tool(*options, *lines, keep_challenges=keep_challenges)
    assert crossed.shape.names == tuple(name.lower() for name, _ in crossed.lines)
