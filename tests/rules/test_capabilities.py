import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Interaction
from proxy.rules.capabilities import security_remover
from proxy.rules.guards import METHODS
from proxy.rules.interactions import classify, is_smart_configuration


def run(media_type: str, chunks: Iterable[bytes]) -> bytes:
    remover = security_remover(media_type)
    assert remover is not None
    return b"".join([*(remover.feed(chunk) for chunk in chunks), remover.flush()])


def bytewise(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def check_every_cut(media_type: str, document: str, expected: str) -> None:
    data = document.encode()

    assert run(media_type, [data]).decode() == expected
    assert run(media_type, bytewise(data)).decode() == expected
    for cut in range(len(data) + 1):
        assert run(media_type, [data[:cut], b"", data[cut:]]).decode() == expected


JSON_CASES = [
    # first, between, last, alone
    ('{"rest":[{"security":{"cors":true},"mode":"server"}]}', '{"rest":[{"mode":"server"}]}'),
    ('{"rest":[{"a":1,"security":{"cors":true},"mode":"server"}]}', '{"rest":[{"a":1,"mode":"server"}]}'),
    ('{"rest":[{"mode":"server","security":{"cors":true}}]}', '{"rest":[{"mode":"server"}]}'),
    ('{"rest":[{"security":{"cors":true}}]}', '{"rest":[{}]}'),
    # white space
    (
        '{\n  "rest" : [ {\n    "mode" : "server",\n    "security" : {\n"a":1\n    },\n    "x" : 1 } ]\n}\n',
        '{\n  "rest" : [ {\n    "mode" : "server",\n    "x" : 1 } ]\n}\n',
    ),
    (
        '{\n  "rest": [\n    {\n      "security": {},\n      "mode": "server"\n    }\n  ]\n}',
        '{\n  "rest": [\n    {\n      "mode": "server"\n    }\n  ]\n}',
    ),
    ('{"rest":[{ "a":1 ,\t"security":[]\r\n}]}', '{"rest":[{ "a":1 \r\n}]}'),
    # every kind of value
    ('{"rest":[{"security":"a\\"}],","b":null}]}', '{"rest":[{"b":null}]}'),
    ('{"rest":[{"security":null,"b":-1.10e5}]}', '{"rest":[{"b":-1.10e5}]}'),
    ('{"rest":[{"b":false,"security":12.50}]}', '{"rest":[{"b":false}]}'),
    ('{"rest":[{"security":[[{"a":"]"}],"{"],"b":[]}]}', '{"rest":[{"b":[]}]}'),
    # more than one
    (
        '{"rest":[{"security":1,"security":2,"b":3,"security":4,"c":5,"security":6}]}',
        '{"rest":[{"b":3,"c":5}]}',
    ),
    (
        '{"rest":[{"security":1},{"b":1,"security":2},3,[{"security":4}],{}]}',
        '{"rest":[{},{"b":1},3,[{"security":4}],{}]}',
    ),
    ('{"rest":[{"security":1}],"rest":[{"security":2}]}', '{"rest":[{}],"rest":[{}]}'),
    # names in escapes
    ('{"r\\u0065st":[{"\\u0073ecurity":1,"b":2}]}', '{"r\\u0065st":[{"b":2}]}'),
    # after long members
    (
        '{"text":{"div":"{\\"rest\\":[{\\"security\\":1}]}"},"rest":[{"security":1}],"z":[1.10, 2]}',
        '{"text":{"div":"{\\"rest\\":[{\\"security\\":1}]}"},"rest":[{}],"z":[1.10, 2]}',
    ),
    # cut off inside
    ('{"rest":[{"a":1 , "security"', '{"rest":[{"a":1 '),
    ('{"rest":[{"a":1 , "security":{"b":"', '{"rest":[{"a":1 '),
    # a byte order mark, and what follows the root
    (
        '\ufeff{"rest":[{"security":1}]} {"rest":[{"security":1}]}',
        '\ufeff{"rest":[{}]} {"rest":[{"security":1}]}',
    ),
]

JSON_UNTOUCHED = [
    # other places
    '{"security":{}}',
    '{"rest":{"security":{}}}',
    '{"rest":[[{"security":{}}]]}',
    '{"rest":[{"resource":[{"security":{}}]}]}',
    '{"rest":[{"x":{"security":{}}}]}',
    '{"rest":[{"_security":{},"Security":{},"securitys":{},"securit":{},"":{}}]}',
    '{"resourceType":"Bundle","entry":[{"resource":{"rest":[{"security":{}}]}}]}',
    '[{"rest":[{"security":{}}]}]',
    '{"a":"rest","b":["rest",[{"security":{}}]]}',
    '{"a":"\\\\","b":"\\"rest\\":[{\\"security\\":1}]"}',
    "{}", "[]", '""', '"rest"', "1", "null", "", " ",
    '{"rest":[]}', '{"rest":[ ]}', '{"rest":null}', '{"rest":"security"}',
    '{"rest":[1,"security",null]}', "{ }",
    # not JSON, or not yet at its end
    "<html>", "\x00", "{", '{"', '{"rest', '{"rest":', '{"rest":[', '{"rest":[{',
    '{"rest":[{"a":1', '{"rest":[{"a":1,',
    '{"rest":[{"a":1 , "secur', '{"a":1,}', '{"a" 1}', '{a:1}', '{"rest":[{"a":1}}',
    '{"rest":[{"a":1,,"security":1}]}', '{"rest":[{1:2,"security":1}]}', '{"rest":[{"a":1;"security":1}]}',
    '{"rest":[{"a\n":1,"security":1}]}', '{"rest":[{"\\ud8":1,"security":1}]}', "}", "]", '{"a":]', '{"a":}',
]  # fmt: skip


@pytest.mark.parametrize(("document", "expected"), JSON_CASES)
def test_member_is_cut_out_of_json(document: str, expected: str) -> None:
    check_every_cut("application/fhir+json", document, expected)


@pytest.mark.parametrize("document", JSON_UNTOUCHED)
def test_other_json_passes_as_it_is(document: str) -> None:
    check_every_cut("application/fhir+json", document, document)


XML_CASES = [
    (
        "<C><rest><mode value='s'/><security><cors value='true'/></security><r/></rest></C>",
        "<C><rest><mode value='s'/><r/></rest></C>",
    ),
    ("<C>\n <rest>\n  <security/>\n  <r/>\n </rest>\n</C>\n", "<C>\n <rest>\n  \n  <r/>\n </rest>\n</C>\n"),
    ("<C><rest><security a='>' b=\"/>\" /><r/></rest></C>", "<C><rest><r/></rest></C>"),
    ("<C><rest><security a='/'><x/></security ><r/></rest></C>", "<C><rest><r/></rest></C>"),
    (
        "<C><rest><security></security><security/></rest><rest><security/></rest></C>",
        "<C><rest></rest><rest></rest></C>",
    ),
    (
        "<f:C xmlns:f='x'><f:rest><f:security>a</f:security></f:rest></f:C>",
        "<f:C xmlns:f='x'><f:rest></f:rest></f:C>",
    ),
    (
        "<C><rest><security><security><x a='</security>'/></security></security>b</rest></C>",
        "<C><rest>b</rest></C>",
    ),
    (
        "<C><rest><security><!-- </security> --><![CDATA[</security>]]><?</security>?></security></rest></C>",
        "<C><rest></rest></C>",
    ),
    (
        "\ufeff<?xml ?><!-- <rest><security> --><C><a b='<rest>'/><rest ><security\n></security></rest></C>",
        "\ufeff<?xml ?><!-- <rest><security> --><C><a b='<rest>'/><rest ></rest></C>",
    ),
    (
        "<C><rest/><x><security/></x><rest><security/></rest></C>",
        "<C><rest/><x><security/></x><rest></rest></C>",
    ),
]  # fmt: skip

XML_UNTOUCHED = [
    "<C><security/></C>",
    "<C><rest><x><security/></x></rest></C>",
    "<C><x><rest><security/></rest></x></C>",
    "<rest><security/></rest>",
    "<C><restx><security/></restx><rest><securityx/><xsecurity/><Security/></rest></C>",
    "<C><rest/><security/></C>",
    "<C><rest></rest><security/></C>",
    "<C><rest><![CDATA[<security/>]]><!--<security/>--><!----><?security x?></rest></C>",
    "<C><rest><x a='<security/>' b=\"'<security/>\"/></rest></C>",
    "<!DOCTYPE C [<!ENTITY e '<'>]><C><rest><security/></rest></C>",
    "", "<", "<C", "<C><rest><secur", "<C><rest><security", "text", "<C><rest><!-- x",
    '{"rest":[{"security":1}]}', "<>", "</>",
    "<C><rest></rest", "<C a='", "<!", "<!-", "<?",
]  # fmt: skip


@pytest.mark.parametrize(("document", "expected"), XML_CASES)
def test_element_is_cut_out_of_xml(document: str, expected: str) -> None:
    check_every_cut("application/fhir+xml", document, expected)


@pytest.mark.parametrize("document", XML_UNTOUCHED)
def test_other_xml_passes_as_it_is(document: str) -> None:
    check_every_cut("application/fhir+xml", document, document)


@pytest.mark.parametrize(
    ("media_type", "found"),
    [
        ("application/fhir+json; charset=utf-8", True),
        ("application/json", True),
        ("Application/FHIR+JSON;fhirVersion=4.0", True),
        ("application/fhir+xml", True),
        ("text/xml ; charset=utf-8", True),
        ("application/fhir+ndjson-x", False),
        ("text/html", False),
        ("text/html; a=json", False),
        ("", False),
    ],
)
def test_remover_by_media_type(media_type: str, found: bool) -> None:
    assert (security_remover(media_type) is not None) is found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b".well-known/smart-configuration", True),
        (b"/.well-known/smart-configuration/", True),
        (b"/.well-known/smart%2Dconfiguration", True),
        (b"/.Well-Known/SMART-configuration", True),
        (b"/.well-known/smart-configuration/x", False),
        (b"/Patient/.well-known/smart-configuration", False),
        (b"/metadata", False),
        (b"", False),
    ],
)
def test_path_of_smart_discovery(path: bytes, found: bool) -> None:
    assert is_smart_configuration(path) is found
    # Only for these it is asked.
    if found:
        assert {classify(method, path).interaction for method in METHODS} <= {
            Interaction.CAPABILITIES,
            Interaction.OTHER,
        }


spaces = st.text(" \t\r\n", max_size=3)
scalars = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["}", '"', "\\", "],{"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab") | st.just("security"), inner)
    ),
    max_leaves=8,
)
names = st.sampled_from(["security", "security", "mode", "rest", "Security", "a"])


@st.composite
def spelled(draw: st.DrawFn, name: str) -> str:
    """A name as JSON may write it."""
    letters = [f"\\u{ord(letter):04x}" if draw(st.integers(0, 9)) == 0 else letter for letter in name]
    return '"' + "".join(letters) + '"'


@st.composite
def objects(draw: st.DrawFn) -> tuple[str, str]:
    """A `rest` element, and what is to be left of it."""
    members = draw(st.lists(st.tuples(names, spaces, spaces, spaces, spaces, values), max_size=5))
    if not members:
        return "{ }", "{ }"
    texts: list[str] = []
    left = "{" + members[0][1]
    one_is_kept = False
    for name, before, after_name, before_value, after, value in members:
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
        member = f"{draw(spelled(name))}{after_name}:{before_value}{text}"
        texts.append(before + member + after)
        if name != "security":
            left += ("," + before if one_is_kept else "") + member + after
            one_is_kept = True
        elif one_is_kept:
            left += after
    return "{" + ",".join(texts) + "}", left + "}"


@st.composite
def statements(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A statement, and what is to be left of it."""
    elements = draw(
        st.lists(st.tuples(spaces, objects() | st.just(("1", "1")), spaces), min_size=1, max_size=3)
    )
    name, value, space = draw(names.filter("rest".__ne__)), draw(values), draw(spaces)
    other = f'{space}"{name}":{space}{json.dumps(value, indent=draw(st.none() | st.just(2)))}{space}'
    both = []
    for which in (0, 1):
        rest = ",".join(before + element[which] + after for before, element, after in elements)
        both.append(f'{space}{{{other},{space}"rest"{space}:{space}[{rest}]{space},{other}}}{space}'.encode())
    return both[0], both[1]


@st.composite
def cut_up(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(statements(), st.data())
def test_nothing_but_the_member_is_removed_wherever_cut(
    statement: tuple[bytes, bytes], data: st.DataObject
) -> None:
    document, expected = statement

    assert run("json", data.draw(cut_up(document))) == expected
    assert run("json", bytewise(document)) == expected


def without_security(value: object) -> object:
    """What is left of a parsed document."""
    if not isinstance(value, dict) or not isinstance(value.get("rest"), list):
        return value
    rest = [
        {name: member for name, member in element.items() if name != "security"}
        if isinstance(element, dict)
        else element
        for element in value["rest"]
    ]
    return {**value, "rest": rest}


@given(statements())
def test_what_is_left_is_the_document_without_the_member(statement: tuple[bytes, bytes]) -> None:
    assert json.loads(run("json", [statement[0]])) == without_security(json.loads(statement[0]))


json_parts = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "\\",
    " ",
    "1",
    "a",
    '"rest":[{',
    '"security":',
    '"a":{}',
    ',"b":1',
]
xml_parts = [
    "<", ">", "/", "</", "/>", "<C>", "<rest>", "<security>", "</security>", "</rest>", "'", '"', "=", " ",
    "a", "<!--", "-->", "<![CDATA[", "]]>", "<?", "?>",
]  # fmt: skip


@pytest.mark.parametrize(("media_type", "parts"), [("json", json_parts), ("xml", xml_parts)])
@given(data=st.data())
def test_any_bytes_are_read_alike_wherever_cut(
    media_type: str, parts: list[str], data: st.DataObject
) -> None:
    some = st.lists(st.sampled_from(parts).map(str.encode) | st.binary(max_size=3), max_size=20).map(b"".join)
    document = data.draw(some)
    whole = run(media_type, [document])

    assert run(media_type, data.draw(cut_up(document))) == run(media_type, bytewise(document)) == whole
    assert whole == document or b"security" in document


@pytest.mark.parametrize(
    ("media_type", "start", "repeated", "end", "expected"),
    [
        ("json", b'{"a":"', b"x" * 1000, b'"}', None),
        ("json", b'{"a":"\\', b"\\" * 1000, b'"}', None),
        ("json", b'{"rest":[{"a":"', b"x" * 1000, b'","security":1}]}', None),
        ("json", b'{"rest":[{"a":[', b"[]," * 300, b"1]}]}", None),
        ("json", b'{"rest":[{"a":[1],"security":["', b"x" * 1000, b'"]}]}', b'{"rest":[{"a":[1]}]}'),
        ("xml", b"<C><a b='", b"x" * 1000, b"'/></C>", None),
        ("xml", b"<C><!--", b"x" * 1000, b"--></C>", None),
        ("xml", b"<C>", b"<a/>x" * 200, b"</C>", None),
        ("xml", b"<C><rest><security>", b"<a/>x" * 200, b"</security></rest></C>", b"<C><rest></rest></C>"),
    ],
)
def test_nothing_long_is_held_back(
    media_type: str, start: bytes, repeated: bytes, end: bytes, expected: bytes | None
) -> None:
    remover = security_remover(media_type)
    assert remover is not None
    sent = remover.feed(start)
    for _ in range(50):
        more = remover.feed(repeated)
        assert len(more) == (len(repeated) if expected is None else 0)
        sent += more
    sent += remover.feed(end) + remover.flush()

    if expected is not None:
        assert sent == expected


@pytest.mark.parametrize("length", [4000, 5000])
def test_long_indentation_is_read_alike_wherever_cut(length: int) -> None:
    document = b'{"rest":[{"a":1,' + b" " * length + b'"security":1}]}'
    expected = b'{"rest":[{"a":1}]}' if length == 4000 else document

    assert run("json", [document]) == run("json", bytewise(document)) == expected
    assert run("json", [document[:2000], document[2000:]]) == expected


@pytest.mark.parametrize("start", [b'{"a":1,', b'{"a":1, "'])
def test_comma_that_no_name_follows_is_let_go(start: bytes) -> None:
    remover = security_remover("json")
    assert remover is not None
    spaces_or_letters = b" " * 1000
    sent = remover.feed(start) + b"".join(remover.feed(spaces_or_letters) for _ in range(10))

    assert sent == start + spaces_or_letters * 10
