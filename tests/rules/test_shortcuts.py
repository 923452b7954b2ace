"""What is taken on the usual way says the same as the whole way would."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import BaseUrl, Fields, RequestHead
from proxy.rules.guards import _ODD_IN_PATH, _PLAIN_PATH, LONGEST_TARGET, guard_line
from proxy.rules.interactions import classify
from proxy.rules.json_places import JsonPlaces, usual_writing
from proxy.rules.listener import Listener
from proxy.rules.rewriting import response_rewriter
from proxy.rules.spellings import AddressPattern
from proxy.rules.urls import UrlMap
from proxy.rules.usual_targets import UsualTargets

BASE = BaseUrl.parse("http://fhir.example:8080/r4")
OTHER = BaseUrl.parse("https://other.example:9443/other")
UNUSED = BaseUrl.parse("https://unused.invalid:9444/unused")

paths = st.lists(
    st.sampled_from(
        [
            b"/",
            b".",
            b"..",
            b"%2e",
            b"%20",
            b";",
            b"%3b",
            b"%23",
            b"\\",
            b"%",
            b"Patient",
            b"$x",
            b"a-1",
            b"*",
            b"_",
        ]
    ),
    max_size=8,
).map(lambda parts: b"/" + b"".join(parts))


@given(paths)
def test_nothing_odd_is_in_a_plain_path(path: bytes) -> None:
    odd = any(pattern.search(path) for pattern, _ in _ODD_IN_PATH)

    assert not (odd and _PLAIN_PATH(path))


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
LISTENER = Listener.of("localhost", 9000)
targets = st.lists(
    st.sampled_from(
        [
            *(b"/r4", b"/", b"Patient", b"/Patient", b"P", b"/patient", b"X" * 64, b"X" * 65, b"Observation"),
            *(
                b"/1",
                b"1",
                b"-a.b",
                b"/.",
                b"/..",
                b".",
                b"0" * 64,
                b"%2e",
                b"%2F",
                b"_",
                b"\\",
                b";",
                b"\xff",
            ),
            *(b"/_history", b"/$everything", b"$x", b"/*", b"metadata", b"/.fhir-auth-proxy/storage/a"),
            *(b"?", b"_id=1", b"http://localhost:9000/r4/Patient/1", b"#", b" ", b"\n", b"?a=%", b"&b=<"),
        ]
    ),
    max_size=6,
).map(b"".join)


@given(
    st.sampled_from([b"", b"/r4", b"/r4/Patient", b"/a%20b;c", b"/a%2Fb"]),
    targets,
    st.sampled_from((*METHODS, "TRACE", "get")),
)
def test_usual_target_is_what_the_guards_the_map_and_the_interactions_say(
    base_path: bytes, below: bytes, method: str
) -> None:
    target = base_path + below
    usual = UsualTargets(base_path).find(method, target)
    if usual is None:
        return
    base = BaseUrl.parse(f"http://fhir.example{base_path.decode()}")
    mount, upstream_target = UrlMap(base, authorities=["localhost:9000"]).mount(target)

    guard_line(RequestHead(method, target, Fields()), LISTENER)
    assert base_path == mount
    assert usual.has_query is (b"?" in target)
    assert usual.has_query or target == upstream_target
    assert classify(method, below.partition(b"?")[0]) == usual.classified


@pytest.mark.parametrize("base_path", [b"", b"/fhir", b"/a.b/r4"])
@pytest.mark.parametrize(
    "below", [b"/Patient", b"/Patient/1", b"/Patient?_count=5", b"/Patient/a-1.b?_format=xml"]
)
@pytest.mark.parametrize("method", METHODS)
def test_usual_target_is_known_at_once(base_path: bytes, below: bytes, method: str) -> None:
    found = UsualTargets(base_path)

    assert found.find(method, base_path + below) is found.find(method, base_path + below) is not None


def test_types_that_are_made_up_are_not_all_remembered() -> None:
    found = UsualTargets(b"")
    for first, second, third in product("abcdefgh", repeat=3):
        target = f"/X{first}{second}{third}".encode()
        usual = found.find("GET", target)

        assert usual is not None
        assert classify("GET", target) == usual.classified

    assert found.find("GET", b"/Xhhh") is not found.find("GET", b"/Xhhh")


def test_base_that_the_guards_refuse_is_for_them() -> None:
    assert UsualTargets(b"/a%2Fb").find("GET", b"/a%2Fb/Patient") is None


def test_target_that_is_too_long_is_for_the_guards() -> None:
    assert UsualTargets(b"").find("GET", b"/Patient?a=" + b"x" * LONGEST_TARGET) is None


texts = st.lists(
    st.sampled_from(
        [
            b"http://fhir.example:8080/r4",
            b"http://fhir.example:8080",
            b"HTTP:\\/\\/FHIR.example:8080:8080\\/r4",
            b"http%3A%2F%2Ffhir.example%3A8080%2Fr4",
            b"https://other.example:9443/other",
            b"http://fhir.example/r4",
            b"https://fhir.example",
            b"https://example/r4",
            b"/more",
            b"http://",
            b"fhir.example",
            b":8080",
            b"8080",
            b"/r4",
            b"/",
            b'"',
            b"?",
            b"-x",
            b" ",
            b"&",
        ]
    ),
    max_size=12,
).map(b"".join)


BASES = st.sampled_from(
    [
        [BASE],
        [BaseUrl.parse("https://fhir.example")],
        [BaseUrl.parse("http://10.0.0.1/r4")],
        [BaseUrl.parse("http://fhir/fhir")],
        [BASE, OTHER],
        [BASE, BaseUrl.parse("http://fhir.example:8080/r4/more"), OTHER],
        [BaseUrl.parse("http://fhir.example/r4"), BaseUrl.parse("https://fhir.example/r4")],
        [BaseUrl.parse("https://fhir.example/r4"), BaseUrl.parse("https://example/r4")],
        [BaseUrl.parse("https://example/r4"), BaseUrl.parse("https://fhir.example")],
    ]
)


@given(texts, BASES)
def test_what_is_usual_is_found_as_all_else(text: bytes, bases: list[BaseUrl]) -> None:
    first = bases[0]
    text = text.replace(str(BASE).encode(), str(first).encode()).replace(b":8080", b":%d" % first.port)
    # The first base is the usual one; here it is none that stands in the text.
    plainly = [match.span() for match in AddressPattern([UNUSED, *bases]).matches(text)]
    pattern = AddressPattern(bases)
    found = pattern.around_usual(text, (b'"', b" "))
    around, others = found or ([], [])
    spans = []
    at = 0
    for before in around[:-1]:
        spans.append((at + len(before), at + len(before) + len(pattern.usual)))
        at = spans[-1][1]

    assert plainly == [match.span() for match in pattern.matches(text)]
    assert found is None or (plainly == spans and pattern.usual.join(around) == text)
    assert [i for i, before in enumerate(around[:-1]) if not before.endswith((b'"', b" "))] == others


def test_the_usual_spelling_needs_no_other_look() -> None:
    base = str(BASE).encode()
    body = b'"%s/Patient/1", "%s?a' % (base, base)

    for bases in ([BASE], [BASE, OTHER]):
        texts = [b'"', b'/Patient/1", "', b"?a"]
        assert (texts, [0, 1]) == AddressPattern(bases).around_usual(body)
        assert (texts, [0]) == AddressPattern(bases).around_usual(body, [b' "'])


documents = st.lists(
    st.sampled_from(
        [
            *[b'{"%s":"' % name for name in (b"fullUrl", b"reference", b"url", b"system")],
            b'{"link":[{"url": "',
            b", ",
            b'"',
            b"}",
            *[
                b"%s%s" % (str(BASE).encode(), rest)
                for rest in (b'"', b'"},', b"/x", b"/x?u=", b"?a,", b"-x")
            ],
        ]
    ),
    max_size=20,
).map(b"".join)


def local(body: bytes, media_type: str, size: int) -> bytes:
    url_map = UrlMap(BASE, authorities=["localhost:9000"])
    rewriter = response_rewriter(media_type, url_map, b"http://localhost:9000")
    assert rewriter is not None
    pieces = [rewriter.feed(body[at : at + size]) for at in range(0, len(body), size)]
    return b"".join([*pieces, rewriter.flush()])


@given(documents, st.sampled_from(["application/json", "text/xml"]), st.sampled_from([10, 50, 1 << 30]))
def test_what_is_usual_is_replaced_as_all_else(body: bytes, media_type: str, size: int) -> None:
    made = local(body, media_type, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AddressPattern, "around_usual", lambda _self, _data, _endings: None)

        assert local(body, media_type, size) == made


names = st.sampled_from([b"A", b"a", b"B", b"c"])


@given(st.lists(st.tuples(names, st.binary(max_size=2))))
def test_values_by_name_are_those_of_the_lines(lines: list[tuple[bytes, bytes]]) -> None:
    fields = Fields(tuple(lines))

    for name in (b"a", b"b", b"c", b"d"):
        values = tuple(value for line, value in lines if line.lower() == name)

        assert values == fields.get_all(name)
        assert (name in fields) is bool(values)
        assert fields.holds_any(frozenset({name})) is bool(values)


# No backslash: what it escapes depends on the white space after it, and only valid JSON has one name.
keys = st.lists(
    st.sampled_from([b'"', b"key", b"{", b"[", b",", b":", b"\n", b"\xff", b" "]), max_size=6
).map(b"".join)


@given(keys, st.sampled_from([b'":"', b'": "']))
def test_name_in_the_usual_writing_is_the_name_in_any(before: bytes, usual: bytes) -> None:
    text = b'{"a": "b", "' + before
    named = JsonPlaces().name(text + usual, len(text + usual))
    # Two spaces are as good as one, and no shortcut is taken.
    unusual = text + b'":  "'

    assert JsonPlaces().name(unusual, len(unusual)) == named


@given(keys, st.sampled_from(["reference", "fullUrl", "x"]), st.data())
def test_key_in_the_usual_writing_is_the_name(before: bytes, key: str, data: st.DataObject) -> None:
    text = b'{"a": "b", ' + before + data.draw(st.sampled_from(usual_writing(key)))

    assert JsonPlaces().name(text, len(text)) == key
