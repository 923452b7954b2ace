from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .fuzzing import ANSWERS, SEEDS, Fuzzing

ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n ", b"\r\r\n", b"\0\r\n"])
TOKENS = st.sampled_from(
    [
        b"x",
        b"chunked",
        b"identity",
        b"2",
        b"0",
        b"-1",
        b"close",
        b"keep-alive",
        b"Authorization",
        b"100-continue",
        b"websocket",
        b"http://%h",
        b"null",
        b"cross-site",
        b"gzip",
        b"application/fhir+json",
        b"%h",
        b"evil.example",
    ]
)
NAMES = st.sampled_from(
    [
        b"Host",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"Expect",
        b"Origin",
        b"Upgrade",
        b"TE",
        b"Content-Encoding",
        b"Content-Type",
        b"Authorization",
        b"Cookie",
        b"X_Y",
        b"X-Forwarded-Host",
        b"Range",
    ]
)
ANY = st.binary(max_size=12)
VALUES = st.one_of(
    TOKENS, ANY, st.tuples(TOKENS, st.sampled_from([b",", b", ", b";", b"\t"]), TOKENS).map(b"".join)
)
LINES = st.builds(
    lambda name, colon, value: name + colon + value,
    NAMES,
    st.sampled_from([b": "] * 8 + [b":", b" :", b""]),
    VALUES,
)
TARGETS = st.one_of(
    st.sampled_from(
        [b"/", b"/Patient", b"/fhir/Patient/1", b"*", b"http://evil.example/", b"/..;/x", b"//x", b"/%2e%2e/"]
    ),
    st.binary(max_size=20).map(lambda data: b"/" + data),
    st.text(alphabet="/.;%2ef5c\\?#@:abc", max_size=20).map(lambda text: b"/" + text.encode()),
)
VERSIONS = st.sampled_from([b"HTTP/1.1"] * 10 + [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b""])
METHODS = st.sampled_from(
    [b"GET", b"POST", b"PUT", b"DELETE", b"PATCH"] * 3 + [b"OPTIONS", b"CONNECT", b"TRACE", b"get"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something like one or two requests."""
    parts = []
    for _ in range(draw(st.integers(1, 2))):
        parts += [draw(METHODS), b" ", draw(TARGETS), b" ", draw(VERSIONS), draw(ENDS)]
        if draw(st.integers(0, 9)):
            parts += [b"Host: %h", draw(ENDS)]
        for line in draw(st.lists(LINES, max_size=4)):
            parts += [line, draw(ENDS)]
        parts += [
            draw(ENDS),
            draw(
                st.sampled_from([b"", b"{}", b"2\r\n{}\r\n0\r\n\r\n", b"0\r\n\r\n", b"GET /x HTTP/1.1\r\n"])
            ),
        ]
    return b"".join(parts)


@st.composite
def damaged(draw: st.DrawFn, whole: list[bytes]) -> bytes:
    """A sound message with one part replaced."""
    message = draw(st.sampled_from(whole))
    start = draw(st.integers(0, len(message)))
    end = draw(st.integers(start, min(len(message), start + 6)))
    return message[:start] + draw(ANY) + message[end:]


many = settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow], deadline=None)


@pytest.fixture(scope="module")
def fuzzing() -> Iterator[Fuzzing]:
    running = Fuzzing()
    yield running
    running.close()


@many
@given(data=st.one_of(requests(), damaged(SEEDS), st.binary(max_size=200)))
@example(data=SEEDS[0])
@example(data=SEEDS[1])
@example(data=SEEDS[2])
@example(data=SEEDS[3])
def test_whatever_a_tool_sends_the_server_gets_sound_requests_or_nothing(
    fuzzing: Fuzzing, data: bytes
) -> None:
    fuzzing.from_tool(data)


@many
@given(
    data=st.one_of(
        damaged(ANSWERS), st.binary(max_size=200), st.binary(max_size=60).map(lambda d: b"HTTP/1.1 200 " + d)
    )
)
@example(data=ANSWERS[0])
@example(data=ANSWERS[1])
@example(data=ANSWERS[2])
@example(data=ANSWERS[3])
def test_whatever_a_server_sends_the_tool_gets_one_sound_answer_or_none(
    fuzzing: Fuzzing, data: bytes
) -> None:
    fuzzing.from_server(data)
