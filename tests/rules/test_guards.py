import re
from dataclasses import replace
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import (
    BadRequest,
    ConfigError,
    FieldsTooLarge,
    MethodNotAllowed,
    Misdirected,
    RequestRefused,
    TargetTooLong,
)
from proxy.model import Fields, RequestHead
from proxy.rules.guards import LARGEST_FIELDS, LONGEST_TARGET, METHODS, guard
from proxy.rules.listener import Listener

LISTENER = Listener.of("localhost", 8080, ["fhir-proxy", "published:9000"], ["http://localhost:3000"])

Line = tuple[bytes, bytes]


def head(
    *lines: Line, method: str = "GET", target: bytes = b"/Patient", host: bytes = b"localhost:8080"
) -> RequestHead:
    return RequestHead(method, target, Fields(((b"Host", host), *lines)))


def refusal(request: RequestHead, listener: Listener = LISTENER) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        guard(request, listener)
    return caught.value


def reason(request: RequestHead) -> str:
    """The message of a refusal; empty where the request passes."""
    try:
        guard(request, LISTENER)
    except RequestRefused as error:
        return error.message
    return ""


@pytest.mark.parametrize("version", [(1, 0), (1, 1)])
def test_version_that_is_spoken_passes(version: tuple[int, int]) -> None:
    guard(replace(head(), version=version), LISTENER)


@pytest.mark.parametrize("version", [(0, 9), (1, 2), (2, 0)])
def test_other_version_is_refused(version: tuple[int, int]) -> None:
    error = refusal(replace(head(), version=version))

    assert isinstance(error, BadRequest)
    assert error.ends_connection


def test_ordinary_request_passes() -> None:
    guard(head((b"Accept", b"application/fhir+json"), (b"User-Agent", b"curl/8")), LISTENER)


@pytest.mark.parametrize(
    "host",
    [
        b"localhost:8080", b"LOCALHOST:8080", b"127.0.0.1:8080", b"[::1]:8080",
        b"fhir-proxy:8080", b"Fhir-Proxy:8080", b"published:9000",
    ],
)  # fmt: skip
def test_host_that_names_the_listener_passes(host: bytes) -> None:
    guard(head(host=host), LISTENER)


@pytest.mark.parametrize(
    "host",
    [
        # rebinding and look-alikes
        b"evil.example", b"evil.example:8080", b"localhost.evil.example:8080", b"xlocalhost:8080",
        b"localhost:8080.evil.example", b"evil@localhost:8080", b"localhost:8080@evil",
        b"localhost:8080,evil",
        # other spellings of this machine
        b"0.0.0.0:8080", b"127.1:8080", b"2130706433:8080", b"127.0.0.2:8080", b"[::]:8080",
        b"[::ffff:127.0.0.1]:8080", b"localhost.:8080", b"::1:8080", b"192.168.1.5:8080",
        # other ports
        b"localhost", b"localhost:", b"localhost:80", b"localhost:8081", b"localhost:08080",
        b"localhost:80800",
        b"fhir-proxy", b"fhir-proxy:9000", b"published", b"published:8080",
        b" ", b"localhost:8080 ", b"http://localhost:8080", b"localhost:8080/", b"\xff",
        b"localhost:8080\x00",
    ],
)  # fmt: skip
def test_host_of_another_server_is_misdirected(host: bytes) -> None:
    assert isinstance(refusal(head(host=host)), Misdirected)


@pytest.mark.parametrize(
    "hosts",
    [(), (b"",), (b"localhost:8080", b"localhost:8080"), (b"localhost:8080", b"evil.example")],
)
def test_exactly_one_host_is_asked_for(hosts: tuple[bytes, ...]) -> None:
    request = RequestHead("GET", b"/", Fields(tuple((b"hOST", host) for host in hosts)))

    assert type(refusal(request)) is BadRequest


def test_forwarded_host_does_not_stand_in() -> None:
    lines = ((b"X-Forwarded-Host", b"localhost:8080"), (b"Forwarded", b"host=localhost:8080"))

    assert isinstance(refusal(head(*lines, host=b"evil.example")), Misdirected)


@pytest.mark.parametrize(
    ("host", "port", "allowed", "authorities"),
    [
        ("localhost", 8080, [], {b"localhost:8080", b"127.0.0.1:8080", b"[::1]:8080"}),
        ("127.0.0.1", 80, [], {
            b"localhost:80", b"127.0.0.1:80", b"[::1]:80", b"localhost", b"127.0.0.1", b"[::1]",
        }),
        ("::1", 1, [], {b"localhost:1", b"127.0.0.1:1", b"[::1]:1"}),
        ("127.0.0.2", 1, [], {b"127.0.0.2:1", b"localhost:1", b"127.0.0.1:1", b"[::1]:1"}),
        ("Fhir.localhost", 1, [], {b"fhir.localhost:1", b"localhost:1", b"127.0.0.1:1", b"[::1]:1"}),
        # its own address alone, where loopback does not reach it
        ("192.168.1.5", 1, [], {b"192.168.1.5:1"}),
        ("fe80::1", 1, ["Proxy"], {b"[fe80::1]:1", b"proxy:1"}),
        # every address: reached by loopback, but never called 0.0.0.0
        ("0.0.0.0", 1, ["fhir_proxy", "a.b:9", "[fe80::2]:7", "c:80"], {
            b"localhost:1", b"127.0.0.1:1", b"[::1]:1", b"fhir_proxy:1", b"a.b:9", b"[fe80::2]:7", b"c:80",
            b"c",
        }),
        ("::", 1, [], {b"localhost:1", b"127.0.0.1:1", b"[::1]:1"}),
    ],
)  # fmt: skip
def test_names_of_a_listener(host: str, port: int, allowed: list[str], authorities: set[bytes]) -> None:
    assert Listener.of(host, port, allowed).authorities == authorities


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "*",
        "*.example",
        "http://a",
        "a/",
        "a.",
        "-a",
        "a:",
        "a:0",
        "a:65536",
        "a:b",
        "a b",
        "::1",
        "a@b",
        "ä",
        "a\n",
    ],
)
def test_allowed_host_that_is_none_names_itself(entry: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"allowed_hosts: {entry!r}")):
        Listener.of("localhost", 8080, [entry])


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "origin",
    [
        b"null", b"http://evil.example", b"https://localhost:8080", b"http://localhost",
        b"http://localhost:3001",
        b"http://localhost:8080.evil.example", b"http://localhost:30000", b"http://127.0.0.1:3000", b"",
        b"http://localhost:3000/", b"http://localhost:3000 http://evil.example", b"file://",
        b"HTTP://LOCALHOST:3000",
        b"http://1.2.3.4", b"chrome-extension://abc", b"\xff",
    ],
)  # fmt: skip
def test_page_of_another_origin_is_refused(method: str, origin: bytes) -> None:
    assert refusal(head((b"Origin", origin), method=method)).status == 403


@pytest.mark.parametrize(
    "origin", [b"http://localhost:3000", b"http://localhost:8080", b"http://127.0.0.1:8080"]
)
@pytest.mark.parametrize("site", [b"none", b"same-origin", b"same-site", b"cross-site"])
def test_page_of_an_allowed_origin_passes(origin: bytes, site: bytes) -> None:
    guard(head((b"Origin", origin), (b"Sec-Fetch-Site", site)), LISTENER)


def test_every_origin_line_is_checked() -> None:
    lines = ((b"Origin", b"http://localhost:3000"), (b"ORIGIN", b"http://evil.example"))

    assert refusal(head(*lines)).status == 403


@pytest.mark.parametrize(
    "site", [b"cross-site", b"same-site", b"", b"None", b"none, cross-site", b"anything"]
)
def test_request_of_another_site_is_refused(site: bytes) -> None:
    assert refusal(head((b"Sec-Fetch-Site", site))).status == 403


@pytest.mark.parametrize("site", [b"none", b"same-origin"])
def test_request_typed_by_a_person_passes(site: bytes) -> None:
    guard(head((b"Sec-Fetch-Site", site)), LISTENER)


@pytest.mark.parametrize("method", METHODS)
def test_method_of_fhir_passes(method: str) -> None:
    guard(head(method=method), LISTENER)


@pytest.mark.parametrize(
    "method",
    ["TRACE", "TRACK", "CONNECT", "OPTIONS", "get", "GETX", "", "PROPFIND", "PRI", "GET\n", "\udc80"],
)
def test_other_method_is_refused(method: str) -> None:
    assert isinstance(refusal(head(method=method)), MethodNotAllowed)


@pytest.mark.parametrize(
    "target",
    [
        b"/", b"/?_getpages=1&_getpagesoffset=20", b"/Patient", b"/Patient/", b"/Patient/a.b-c",
        b"/Patient/.a",
        b"/Patient/a.", b"/Patient/...", b"/Patient/a..b", b"/Patient/$everything", b"/Patient/%24everything",
        b"/$export?_type=Patient,Observation&_since=2020-01-01T00:00:00+01:00", b"/a%20b", b"/a%7Cb", b"/a|b",
        b"/Patient/1/*", b"/.well-known/smart-configuration", b"/_history", b"/Patient;v=1",
        b"/Patient/a%2Eb",
        # the query is FHIR's
        b"/Patient?identifier=http://a/b|c", b"/Patient?identifier=http%3A%2F%2Fa%2Fb%7Cc",
        b"/P?a=%5C%25%00%0a%zz",
        b"/Patient?name=a\\,b", b"/Patient?a=../..//&b=%2e%2e", b"/Patient?ct=W3sidG9rZW4i%2B%2F%3D",
        b"/P?q={\"a\"}",
        b"/Patient?url=http://localhost:8080/x?y", b"/Patient?", b"/??", b"/Patient?a=$b&c=^<>`",
    ],
)  # fmt: skip
def test_target_of_fhir_passes(target: bytes) -> None:
    guard(head(target=target), LISTENER)


@pytest.mark.parametrize(
    "target",
    [
        # not a path
        b"", b"*", b"Patient", b"?a", b"http://localhost:8080/Patient", b"http://evil.example/",
        b"evil.example:443",
        b"@evil.example", b":80@evil.example/", b".evil.example/", b"\\\\evil.example/",
        # another server
        b"//evil.example/", b"///x", b"/\\evil.example", b"/Patient//1", b"/Patient/1//",
        # out of the base
        b"/..", b"/.", b"/../", b"/Patient/..", b"/Patient/../..", b"/Patient/.", b"/./Patient",
        b"/Patient/../?a",
        b"/%2e%2e/", b"/%2E./x", b"/.%2e", b"/%2e", b"/Patient/%2e%2E?a", b"/..;/x", b"/..;a=b/x",
        b"/.;/x", b"/..;",
        b"/..%3b/x", b"/%2e%2e;a/x", b"/..%20/x", b"/%20../x", b"/..%3Fx/y", b"/..%23/x", b"/;/x", b"/;a=b/x",
        b"/%3ba/x", b"/..\\x", b"/..%5cx", b"/..%5Cx", b"/..%2fx", b"/..%2Fx", b"/Patient%2f1",
        b"/Patient%2F1",
        b"/%252e%252e/", b"/%25", b"/%c0%ae%c0%ae/", b"/%c0%af", b"/%EF%BC%8E%EF%BC%8E/", b"/%u002e", b"/%",
        b"/%2", b"/%zz", b"/%%32e",
        # bytes that another parser might end a line or a text at
        b"/%00", b"/Patient%00.json", b"/%0d%0aX:1", b"/%1F", b"/%7f", b"/a b", b"/\t", b"/\x00",
        b"/\r\nX: 1",
        b"/\x7f", b"/\xc3\xa4", b"/P?a=\xc3\xa4", b"/P?a=b c", b"/P?a=\x00", b"/P?a=\r\nX: 1", b"/#a",
        b"/P?a#b",
        b"/Patient\n",
    ],
)  # fmt: skip
def test_target_that_is_not_plain_is_refused(target: bytes) -> None:
    assert type(refusal(head(target=target))) is BadRequest


path_bytes = st.lists(
    st.sampled_from(
        [b"/", b".", b"..", b"%2e", b"%2E", b";", b"%3b", b"%20", b"%2f", b"%5C", b"\\", b"%25", b"%", b"a",
         b"Patient",
         b"%3f", b"?", b"#", b"%00", b"%c0%ae", b"*", b"$op", b"=", b"\xff", b"|", b"%7C"]
    ),
    max_size=12,
).map(lambda parts: b"/" + b"".join(parts))  # fmt: skip


@given(path_bytes | st.binary(max_size=40).map(lambda tail: b"/" + tail))
@example(b"/Patient/1")
def test_no_accepted_path_leaves_its_base(target: bytes) -> None:
    if reason(head(target=target)):
        return
    path = target.split(b"?")[0]
    segments = path.removeprefix(b"/").split(b"/")
    decoded = [unquote_to_bytes(segment) for segment in segments]
    cut = [re.split(rb"[;?#]", segment)[0].strip() for segment in decoded]

    assert not {b".", b".."} & set(cut)
    assert b"" not in segments[:-1]
    assert not re.search(rb"[/\\%\x00-\x1f\x7f-\xff]", b"".join(decoded))


@given(
    st.text(max_size=8) | st.sampled_from(METHODS),
    st.binary(max_size=60) | path_bytes,
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"Host",
                    b"origin",
                    b"Content-Length",
                    b"Transfer-Encoding",
                    b"Upgrade",
                    b"Sec-Fetch-Site",
                    b"X",
                ]
            )
            | st.binary(max_size=8),
            st.sampled_from([b"localhost:8080", b"1", b"chunked", b"none"]) | st.binary(max_size=30),
        ),
        max_size=8,
    ),
)
def test_nothing_but_a_refusal_is_raised(method: str, target: bytes, lines: list[Line]) -> None:
    for fields in (Fields(tuple(lines)), Fields(((b"Host", b"localhost:8080"), *lines))):
        message = reason(RequestHead(method, target, fields))

        assert message == "" or message.isprintable()
        assert len(message) < 250


def test_target_up_to_the_bound_passes() -> None:
    longest = b"/Patient?_id=".ljust(LONGEST_TARGET, b"x")

    guard(head(target=longest), LISTENER)
    assert isinstance(refusal(head(target=longest + b"x")), TargetTooLong)


def test_header_section_up_to_the_bound_passes() -> None:
    rest = len(b"Host" + b"localhost:8080" + b"X") + 8

    guard(head((b"X", b"x" * (LARGEST_FIELDS - rest))), LISTENER)
    assert isinstance(refusal(head((b"X", b"x" * (LARGEST_FIELDS - rest + 1)))), FieldsTooLarge)


@pytest.mark.parametrize(
    "lines",
    [
        ((b"Content-Length", b"0"),),
        ((b"content-length", b"123456789012"),),
        ((b"Transfer-Encoding", b"chunked"),),
        ((b"transfer-encoding", b"Chunked"),),
        ((b"Expect", b"100-continue"), (b"Content-Length", b"5")),
    ],
)
def test_ordinary_framing_passes(lines: tuple[Line, ...]) -> None:
    guard(head(*lines, method="POST"), LISTENER)


@pytest.mark.parametrize(
    "lines",
    [
        ((b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")),
        ((b"Transfer-Encoding", b"identity"), (b"Content-Length", b"5")),
        ((b"Content-Length", b"5"), (b"Content-Length", b"5")),
        ((b"Content-Length", b"5"), (b"content-LENGTH", b"6")),
        ((b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")),
        *(((b"Content-Length", value),) for value in (
            b"", b"-1", b"+1", b"1_0", b"0x10", b"1,1", b"1 1", b" 1", b"1.0", b"\xb2", b"1" * 19,
        )),
        *(((b"Transfer-Encoding", value),) for value in (
            b"", b"identity", b"gzip, chunked", b"chunked, chunked", b"xchunked", b"chunked ", b"\x0bchunked",
            b"'chunked'",
        )),
    ],
)  # fmt: skip
def test_odd_framing_is_refused(lines: tuple[Line, ...]) -> None:
    assert type(refusal(head(*lines, method="POST"))) is BadRequest


@pytest.mark.parametrize(
    "line",
    [
        (b"X-A", b"a\r\nX-B: b"), (b"X-A", b"a\nb"), (b"X-A", b"a\rb"), (b"X-A", b"\x00"), (b"X-A", b"\x7f"),
        (b"X-A", b"\x1b[2J"), (b"", b"a"), (b"X A", b"a"), (b"X-A ", b"a"), (b"X-A:", b"a"), (b"X\x00", b"a"),
        (b"X\r\n", b"a"), (b"\xff", b"a"), (b"(x)", b"a"),
    ],
)  # fmt: skip
def test_field_that_another_parser_would_cut_elsewhere_is_refused(line: Line) -> None:
    assert type(refusal(head(line))) is BadRequest


@pytest.mark.parametrize("line", [(b"X-A", b"a\tb"), (b"X-A", b""), (b"X-A", "ä€".encode()), (b"x_a!", b"1")])
def test_odd_but_lawful_field_passes(line: Line) -> None:
    guard(head(line), LISTENER)


@pytest.mark.parametrize(
    "lines",
    [
        ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")),
        ((b"upgrade", b"h2c, WebSocket/13"),),
        ((b"Sec-WebSocket-Key", b"x"),),
        ((b"sec-websocket-version", b"13"),),
    ],
)
def test_web_socket_is_refused(lines: tuple[Line, ...]) -> None:
    assert type(refusal(head(*lines))) is BadRequest


def test_other_upgrade_is_left_to_be_ignored() -> None:
    guard(head((b"Upgrade", b"h2c"), (b"HTTP2-Settings", b"x"), (b"Connection", b"Upgrade")), LISTENER)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head((b"Origin", b"null"), method="TRACE", target=b"//", host=b"evil"), 421),
        (head((b"Origin", b"null"), (b"Sec-Fetch-Site", b"x"), method="TRACE", target=b"//"), 403),
        (head(method="TRACE", target=b"//" + b"x" * LONGEST_TARGET), 405),
        (head((b"X", b"x" * LARGEST_FIELDS), target=b"//" + b"x" * LONGEST_TARGET), 414),
        (head((b"X", b"x" * LARGEST_FIELDS), target=b"//"), 400),
        (head((b"X", b"\x00" * LARGEST_FIELDS), (b"Content-Length", b"x")), 431),
    ],
)
def test_guards_stand_in_their_order(request_head: RequestHead, status: int) -> None:
    assert refusal(request_head).status == status


@pytest.mark.parametrize(
    "request_head",
    [
        head(target=b"/Patient/smith-1/..?family=smith"),
        head(target=b"/Patient?family=smith #"),
        head(target=b"http://a/Patient/smith?family=smith"),
        head(target=b"/Patient/smith?" + b"smith" * LONGEST_TARGET),
        head((b"X-Provenance", b"smith\x00")),
        head((b"X", b"smith" * LARGEST_FIELDS)),
    ],
)
def test_refusal_tells_no_patient_data(request_head: RequestHead) -> None:
    error = refusal(request_head)

    assert "smith" not in error.message + error.hint


def test_refusal_names_what_is_wrong() -> None:
    assert refusal(head(host=b"evil.example")).message == "Host 'evil.example' is not this proxy"
    assert refusal(head(method="TRACE")).message == "Method 'TRACE' is not one that FHIR uses"
    assert refusal(head(target=b"/a/..%3Bx")).message == "The path holds a dot segment: '/..'"


def test_refusal_of_a_name_does_not_tell_the_right_ones() -> None:
    error = refusal(head(host=b"evil.example"))

    assert "fhir-proxy" not in error.message + error.hint
