"""Each case runs whole, byte by byte, and cut in two at every point."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote

import pytest

from proxy.errors import RequestRefused
from proxy.model import BaseUrl
from proxy.rules.called_by_server import MOST_PATCH
from proxy.rules.rewriting import Rewriter, request_rewriter, response_rewriter
from proxy.rules.urls import UrlMap

URL_MAP = UrlMap(
    BaseUrl.parse("https://fhir.example.org/fhir"),
    aliases=(BaseUrl.parse("http://fhir-server:8080/fhir"),),
    authorities=("localhost:8080", "127.0.0.1:8080", "[::1]:8080"),
)
LOCAL = b"http://localhost:8080/fhir"
PATCH = "application/json-patch+json"
JSON, NDJSON, XML, FORM = (
    "application/fhir+json",
    "application/fhir+ndjson",
    "application/fhir+xml",
    "application/x-www-form-urlencoded",
)


def fed(rewriter: Rewriter | None, *chunks: bytes) -> bytes:
    assert rewriter is not None
    return b"".join([*(rewriter.feed(chunk) for chunk in chunks), rewriter.flush()])


def cuts(body: bytes) -> list[tuple[bytes, ...]]:
    return [
        (body,),
        tuple(body[at : at + 1] for at in range(len(body))),
        *((body[:at], body[at:]) for at in range(1, len(body))),
    ]


def outcomes(make: Callable[[], Rewriter | None], body: bytes) -> set[bytes]:
    return {fed(make(), *chunks) for chunks in cuts(body)}


def down(body: str, media_type: str) -> set[str]:
    made = outcomes(lambda: response_rewriter(media_type, URL_MAP, LOCAL), body.encode())
    return {result.decode() for result in made}


def up(body: str, media_type: str) -> set[str]:
    made = outcomes(lambda: request_rewriter(media_type, URL_MAP), body.encode())
    return {result.decode() for result in made}


U = "https://fhir.example.org/fhir"
B = "http://localhost:8080/fhir"

# Each holds `URL` where the URL goes.
JSON_ADDRESSES = [
    # Bundle
    '{"link":[{"relation":"self","url":"URL/Patient"}]}',
    '{"link":[{"relation":"self","url":"https://other.example"},{"url":"URL?_getpages=1"}]}',
    '{"entry":[{"fullUrl":"URL/Patient/1"}]}',
    '{"entry":[{"link":[{"url":"URL/x"}],"response":{"status":"201","location":"URL/Patient/1/_history/2"}}]}',
    '{"entry":[{"request":{"method":"PUT","url":"URL/Patient/1"}}]}',
    # references
    '{"subject":{"reference":"URL/Patient/1/_history/3","type":"Patient"}}',
    '{"subject" :\n\t{\r\n "display" : "a\\"{[", "reference" :  "URL/Patient/1" }}',
    '{"extension":[{"url":"http://x","valueReference":{"reference":"URL"}}]}',
    '{"resourceType":"Requirements","reference":["https://other.example","URL/x",\n"URL/y"]}',
    # attachments
    '{"photo":[{"contentType":"image/png","url":"URL/Binary/1"}]}',
    '{"content":[{"attachment":{"url":"URL/Binary/1"}}]}',
    '{"valueAttachment":{"data":"aaaa","url":"URL/Binary/1"}}',
    '{"presentedForm":[{"extension":[{"url":"http://x","valueCode":"y"}],"url":"URL/Binary/1"}]}',
    # parameters
    '{"parameter":[{"name":"a","valueUri":"URL/x"},{"name":"b","part":[{"valueUri":"URL"}]}]}',
    '{"parameter":[{"name":"a","valueUrl":"URL/x"}]}',
    # capabilities
    '{"implementation":{"description":"x","url":"URL"}}',
    '{"rest":[{"operation":[{"name":"export","definition":"URL/OperationDefinition/e"}]}]}',
    # bulk data
    '{"request":"URL/$export","requiresAccessToken":true,"output":[{"type":"Patient","url":"URL/f/1"}]}',
    '{"error":[{"url":"URL/f/2"}],"deleted":[{"url":"URL/f/3"}],"link":[{"relation":"next","url":"URL/f"}]}',
    '{"output":[{"url":"https://a.blob.core.windows.net/x"},[],{},{"n":[{"a":"]"}],"url":"URL/f/2"}]}',
    # R5 paging of an expansion
    '{"expansion":{"identifier":"urn:x","next":"URL/page"}}',
    # a key with escapes; text with brackets, quotes and backslashes
    '{"\\u0072eference":"URL"}',
    '{"a":"\\\\","b":"[\\"{\\\\\\"","reference":"URL"}',
    '{"link":[{"a":"\\\\","b":"[\\"{\\\\\\"]","url":"URL"}]}',
    '{"text":{"div":"<div>\\n\\"</div>"},"link":[{"url":"URL"}]}',
]

JSON_IDENTITIES = [
    '"URL"',
    '["URL/x"]',
    '{"URL":"URL"}',
    '{"a":1,"URL/x":2}',
    '{"resourceType":"ValueSet","url":"URL/ValueSet/1"}',
    '{"entry":[{"resource":{"resourceType":"ValueSet","url":"URL/ValueSet/1"}}]}',
    '{"contained":[{"url":"URL/ValueSet/1"}]}',
    '{"link":[{"url":"x"}],"url":"URL/ValueSet/1"}',
    '{"photo":[{"extension":[{"url":"URL/StructureDefinition/x","valueString":"y"}]}]}',
    '{"identifier":[{"system":"URL/mrn","value":"URL"}]}',
    '{"code":{"coding":[{"system":"URL/CodeSystem/x"}]}}',
    '{"meta":{"profile":["URL/StructureDefinition/x"],"source":"URL","tag":[{"system":"URL"}]}}',
    '{"instantiatesCanonical":["URL/PlanDefinition/1|2"],"implicitRules":"URL"}',
    '{"text":{"div":"<div><a href=\\"URL/Patient/1\\">\\"reference\\":\\"URL\\"</a></div>"}}',
    '{"note":"see URL/Patient/1","description":"URL"}',
    '{"parameter":[{"name":"a","valueCanonical":"URL"},{"extension":[{"url":"x","valueUri":"URL"}]}]}',
    '{"searchParam":[{"name":"a","definition":"URL/SearchParameter/a"}]}',
    '{"item":[{"definition":"URL/StructureDefinition/a#b"}]}',
    '{"resourceType":"Endpoint","address":"URL"}',
    '{"resourceType":"Subscription","channel":{"endpoint":"URL"}}',
    '{"resourceType":"Subscription","endpoint":"URL"}',
    '{"source":{"endpoint":"URL"},"destination":[{"endpoint":"URL"}]}',
    '{"issue":[{"location":["URL"],"diagnostics":"URL not found"}]}',
    '{"reference":" URL"}',
    '{"reference":"https%3A%2F%2Ffhir.example.org%2Ffhir"}',
    '{"reference":"https://other.example/?x=URL"}',
    '{"reference_":"URL","Reference":"URL","refer\\"reference":"URL"}',
]

XML_ADDRESSES = [
    '<Bundle xmlns="http://hl7.org/fhir"><link><relation value="self"/><url value="URL?a=1&amp;b=2"/></link></Bundle>',
    "<Bundle><entry><fullUrl id='x' value='URL/Patient/1'/></entry></Bundle>",
    '<Bundle><entry><response><location value="URL/Patient/1"/></response></entry></Bundle>',
    '<f:subject><f:reference\n  value = "URL/Patient/1" ></f:reference></f:subject>',
    '<photo><!-- > " <a> --><data value="AA/=="/><url value="URL/Binary/1"/></photo>',
    '<photo><![CDATA[<a>]]><?x <b> ?><br/><url value="URL/Binary/1"/></photo>',
    '<photo title="a > b / c"><url other="value=\'" value="URL/Binary/1"/></photo>',
    '<parameter><name value="a"/><valueUri value="URL"/></parameter>',
]

XML_IDENTITIES = [
    '<ValueSet xmlns="URL"><url value="URL/ValueSet/1"/></ValueSet>',
    '<photo><extension url="URL"><valueUri value="URL"/></extension></photo>',
    '<identifier><system value="URL"/><value value="URL"/></identifier>',
    '<text><div xmlns="http://www.w3.org/1999/xhtml"><a href="URL/x">URL</a><li value="URL"/></div></text>',
    '<link><!-- <url value="URL"/> --></link>',
    '<link><!-- a --><!-- <url value="URL"/> --></link>',
    '<link><![CDATA[<url value="URL"/>]]></link>',
    '<link><url/></link><url value="URL"/>',
    '<reference value="https://other.example/?URL"/>',
    '<reference>"URL"</reference>',
    '<Endpoint><address value="URL"/></Endpoint>',
]


def marked(url: str) -> str:
    """The local base that stands for a base in an odd spelling."""
    return f"{B}/u/{urlsafe_b64encode(url.encode()).decode().rstrip('=')}"


ODD = [
    "HTTPS://FHIR.Example.org/fhir",
    "https://fhir.example.org:443/fhir",
    "https://fhir.example.org:443:443/fhir",
    "http://fhir-server:8080/fhir",
    "http://fhir-server:8080:8080/fhir",
]
# How U is written, and how it must be written when local; all but the first column's spelling of it stays.
SPELLINGS = [("https://fhir.example.org/fhir", B), *((url, marked(url)) for url in ODD)]
JSON_SPELLINGS = [
    *SPELLINGS,
    *((url.replace("/", r"\/"), marked(url).replace("/", r"\/")) for url in ODD),
    *((url.replace("/", r"\u002f"), marked(url).replace("/", r"\u002f")) for url in ODD[:1]),
    (r"https:\/\/fhir.example.org\/fhir", r"http:\/\/localhost:8080\/fhir"),
    (r"https:\u002f\u002Ffhir.example.org\u002ffhir", r"http:\u002f\u002Flocalhost:8080\u002ffhir"),
    (r"https\u003a\/\u002ffhir.example.org/fhir", r"http\u003a\/\u002flocalhost\u003a8080/fhir"),
]
XML_SPELLINGS = [
    *SPELLINGS,
    *((url.replace("/", "&#x2F;"), marked(url).replace("/", "&#x2F;")) for url in ODD),
    ("https:&#x2F;&#x2f;fhir.example.org&#47;fhir", "http:&#x2F;&#x2f;localhost:8080&#47;fhir"),
    ("https&#58;//fhir.example.org/fhir", "http&#58;//localhost&#58;8080/fhir"),
]
FOREIGN = [
    "https://fhir.example.org/fhir2",
    "https://fhir.example.org/fhir-test",
    "https://fhir.example.org/fhir_old",
    "https://fhir.example.org/fhir.bak",
    "https://fhir.example.org/fhir%20x",
    "https://fhir.example.org/Fhir",
    "https://fhir.example.org:8443/fhir",
    "https://fhir.example.org.evil.example/fhir",
    "https://fhir.example.org@evil.example/fhir",
    "https://evil.fhir.example.org/fhir",
    "http://fhir.example.org/fhir",
    "xhttps://fhir.example.org/fhir",
    "https://fhir.example.org",
    "https://a.blob.core.windows.net/x?u=https://fhir.example.org/fhir",
    "urn:uuid:7b8b4d7a-0c0b-4e0e-8b0a-fhir.example.org",
    "#fhir.example.org",
    "Patient/fhir.example.org",
]


@pytest.mark.parametrize("document", JSON_ADDRESSES)
@pytest.mark.parametrize("media_type", [JSON, NDJSON])
def test_addresses_in_json_become_local(document: str, media_type: str) -> None:
    if media_type == NDJSON:
        document = document.replace("\n", " ")
        document = f"{document}\n{document}\n"

    assert {document.replace("URL", B)} == down(document.replace("URL", U), media_type)


@pytest.mark.parametrize("document", JSON_IDENTITIES)
def test_identities_in_json_stay(document: str) -> None:
    body = document.replace("URL", U)

    assert {body} == down(body, JSON)


@pytest.mark.parametrize("document", XML_ADDRESSES)
def test_addresses_in_xml_become_local(document: str) -> None:
    assert {document.replace("URL", B)} == down(document.replace("URL", U), XML)


@pytest.mark.parametrize("document", XML_IDENTITIES)
def test_identities_in_xml_stay(document: str) -> None:
    body = document.replace("URL", U)

    assert {body} == down(body, XML)


@pytest.mark.parametrize(("written", "local"), JSON_SPELLINGS)
@pytest.mark.parametrize("rest", ["", "/Patient/1", "/", "?a=1", "#x", r"\/Patient", r"\u002fPatient", "|2"])
def test_spellings_in_json(written: str, local: str, rest: str) -> None:
    sent, shown = f'{{"reference":"{written}{rest}"}}', f'{{"reference":"{local}{rest}"}}'

    assert {shown} == down(sent, JSON)
    assert {sent} == up(shown, JSON)


@pytest.mark.parametrize(("written", "local"), XML_SPELLINGS)
@pytest.mark.parametrize("rest", ["", "/Patient/1", "?a=1&amp;b", "&#x2F;Patient"])
def test_spellings_in_xml(written: str, local: str, rest: str) -> None:
    sent, shown = f'<reference value="{written}{rest}"/>', f'<reference value="{local}{rest}"/>'

    assert {shown} == down(sent, XML)
    assert {sent} == up(shown, XML)


@pytest.mark.parametrize("url", FOREIGN)
@pytest.mark.parametrize(
    ("template", "media_type"), [('{{"reference":"{}"}}', JSON), ('<reference value="{}"/>', XML)]
)
def test_other_urls_stay(url: str, template: str, media_type: str) -> None:
    body = template.format(url)

    assert {body} == down(body, media_type)


@pytest.mark.parametrize(
    ("query", "local"),
    [
        ("u=https%3A%2F%2Ffhir.example.org%2Ffhir%2FPatient", "u=http%3A%2F%2Flocalhost%3A8080%2Ffhir%2FPatient"),
        ("u=https%3a//fhir.example.org/fhir&b", "u=http%3a//localhost%3a8080/fhir&b"),
        ("u=https%253A%252F%252Ffhir.example.org%252Ffhir%26", "u=http%253A%252F%252Flocalhost%253A8080%252Ffhir%26"),
        ("u=https://fhir.example.org/fhir,https://fhir.example.org/fhir", f"u={B},{B}"),
        ("u=https://fhir.example.org/fhir%2FPatient%2F1&v=https://fhir.example.org/fhir%252FPatient", f"u={B}%2FPatient%2F1&v={B}%252FPatient"),
        ("u=https://fhir.example.org/fhir%2Dx", "u=https://fhir.example.org/fhir%2Dx"),
        ("u=https%3A%2F%2Ffhir.example.org%2Ffhir2", "u=https%3A%2F%2Ffhir.example.org%2Ffhir2"),
        (f"u={ODD[1]}/x&v={quote(ODD[0], safe='')}", f"u={marked(ODD[1])}/x&v={quote(marked(ODD[0]), safe='')}"),
        (f"u={quote(quote(ODD[3], safe=''))}", f"u={quote(quote(marked(ODD[3]), safe=''))}"),
        ("ct=W3sidG9rZW4iOiIrUklEOn5%2BIn1d", "ct=W3sidG9rZW4iOiIrUklEOn5%2BIn1d"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("template", "media_type"), [('{{"reference":"{}?{}","a":"{}"}}', JSON), ('<reference value="{}?{}"/>{}', XML)]
)  # fmt: skip
def test_urls_in_the_query_of_a_local_link_are_local(
    query: str, local: str, template: str, media_type: str
) -> None:
    assert {template.format(B, local, query)} == down(template.format(U, query, query), media_type)


@pytest.mark.parametrize("media_type", [JSON, NDJSON, XML, FORM])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'{{"system":"{B}/x","div":"<a href=\\"{B}/y\\">{B}</a>"}}', f'{{"system":"{U}/x","div":"<a href=\\"{U}/y\\">{U}</a>"}}'),
        ('<a url="http://127.0.0.1:8080/x">http://[::1]:8080</a>', f'<a url="{U}/x">{U}</a>'),
        (r'"http:\/\/localhost:8080\/Patient"', r'"https:\/\/fhir.example.org\/fhir\/Patient"'),
        ("subject=http%3A%2F%2Flocalhost%3A8080%2FPatient%2F1&_count=5", "subject=https%3A%2F%2Ffhir.example.org%2Ffhir%2FPatient%2F1&_count=5"),
        ("subject=http://localhost:8080%2FPatient%2F1&x=http://127.0.0.1:8080/fhir%252FPatient", f"subject={U}%2FPatient%2F1&x={U}%252FPatient"),
        (r'"a:\nhttp://localhost:8080\n"', rf'"a:\n{U}\n"'),
        ("http://localhost:10000/x http://localhost:80801 xhttp://localhost:8080", "http://localhost:10000/x http://localhost:80801 xhttp://localhost:8080"),
        ("http://localhost:8080/fhir2 http://localhost:8080/fhi", f"{U}/fhir2 {U}/fhi"),
        ('{"op":"replace","path":"/subject/reference","value":"http://localhost:8080/Patient/1"}', f'{{"op":"replace","path":"/subject/reference","value":"{U}/Patient/1"}}'),
        (f"{marked(ODD[4])}/x {marked('https://other.example')}/y {B}/u/A*", f"{ODD[4]}/x {U}/u/aHR0cHM6Ly9vdGhlci5leGFtcGxl/y {U}/u/A*"),
        ("", ""),
        ("http://localhost:8080", U),
        ("http://localhost:808", "http://localhost:808"),
    ],
)  # fmt: skip
def test_own_addresses_go_up_as_the_upstreams(text: str, expected: str, media_type: str) -> None:
    assert {expected} == up(text, media_type)


REFUSED = [
    ('{"resourceType":"Subscription","channel":{"type":"rest-hook","endpoint":"http://localhost:8080/x"}}', JSON),
    ('{"resourceType":"Subscription","endpoint" : "http:\\/\\/127.0.0.1:8080"}', JSON),
    ('{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Subscription","channel":{"endpoint":"http://localhost:8080/x"}}}]}', JSON),
    ('<Parameters><parameter><name value="r"/><resource><Endpoint><address value="http:&#x2F;&#x2F;localhost:8080/x"/></Endpoint></resource></parameter></Parameters>', XML),
    ('{"resourceType":"Endpoint","address":"http://[::1]:8080/fhir/x"}', JSON),
    ('{"resourceType":"Endpoint"}\n{"resourceType":"Endpoint","address":"http://localhost:8080"}\n', NDJSON),
    ('[{"op":"replace","path":"/channel/endpoint","value":"http://localhost:8080/x"}]', PATCH),
    ('[{"value":"http:\\/\\/localhost:8080\\/x","path":"/channel/endpoint","op":"replace"}]', PATCH),
    ('{"parameter":[{"name":"operation","part":[{"name":"path","valueString":"Subscription.channel.endpoint"},{"name":"value","valueUrl":"http://localhost:8080/x"}]}]}', JSON),
    ('{"part":[{"name":"path","valueString": "Endpoint.address"}, {"valueUri":"http://localhost:8080/x","name":"value"}]}', JSON),
    ('<part><name value="path"/><valueString value="Subscription.endpoint"/></part><part><name value="value"/><valueUrl value="http://localhost:8080/x"/></part>', XML),
    ('{"resourceType":"MessageHeader","destination":[{"endpointUrl":"http://localhost:8080/x"}]}', JSON),
    ('<Subscription><channel><endpoint value="http://localhost:8080/x"/></channel></Subscription>', XML),
    ("<f:Endpoint><f:address id='a' value='http://localhost:8080/x'/></f:Endpoint>", XML),
]  # fmt: skip


@pytest.mark.parametrize(("body", "media_type"), REFUSED)
def test_body_that_makes_the_server_call_the_proxy_is_refused(body: str, media_type: str) -> None:
    for chunks in cuts(body.encode()):
        with pytest.raises(RequestRefused, match=r"endpoint|address"):
            fed(request_rewriter(media_type, URL_MAP), *chunks)


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        ('{"endpoint":[{"reference":"http://localhost:8080/Endpoint/1"}]}', JSON),
        ('{"endpoint":"https://tool.example/hook"}', JSON),
        ('{"address":[{"line":["http://localhost:8080/x"]}]}', JSON),
        ('{"op":"test","path":"/endpoint/0/reference","value":"http://localhost:8080/Endpoint/1"}', JSON),
        ('<endpoint><reference value="http://localhost:8080/Endpoint/1"/></endpoint>', XML),
        ('[{"value":"http://localhost:8080/x","path":"/photo/0/url","op":"add"},7]', PATCH),
        ('[{"value":"http://localhost:8080/x","path":"/channel/endpoint"', PATCH),
        (
            '[{"value":"https://tool.example/x","path":"/channel/endpoint"},{"value":["http://localhost:8080"],"path":"/address"}]',
            PATCH,
        ),
        (
            '{"part":[{"name":"path","valueString":"Patient.address"},{"name":"value","valueString":"http://localhost:8080/x"}]}',
            JSON,
        ),
    ],
)
def test_body_that_does_not_is_not_refused(body: str, media_type: str) -> None:
    assert {body.replace("http://localhost:8080", U)} == up(body, media_type)


def test_patch_of_any_size_passes() -> None:
    patch = b'[{"value":"http://localhost:8080/x","path":"/channel/endpoint"},%b]' % (b" " * MOST_PATCH)
    half = len(patch) // 2

    made = fed(request_rewriter(PATCH, URL_MAP), patch[:half], patch[half:])

    assert made == patch.replace(b"http://localhost:8080", U.encode())


@pytest.mark.parametrize(
    ("media_type", "down_expected", "up_expected"),
    [
        ("application/fhir+json", True, True),
        ("Application/FHIR+JSON; fhirVersion=4.0; charset=UTF-8", True, True),
        ('application/json;charset="utf-8"', True, True),
        ("application/json+fhir", True, True),
        ("application/json-patch+json", True, True),
        ("application/fhir+ndjson", True, True),
        ("application/ndjson", True, True),
        ("application/x-ndjson", True, True),
        ("application/fhir+xml", True, True),
        ("application/xml+fhir", True, True),
        ("text/xml", True, True),
        ("application/x-www-form-urlencoded", False, True),
        ("application/json; charset=utf-16", False, False),
        ("application/pdf", False, False),
        ("application/octet-stream", False, False),
        ("text/plain", False, False),
        ("image/svg+xml", False, False),
        ("", False, False),
    ],
)
def test_which_types_are_rewritten(media_type: str, down_expected: bool, up_expected: bool) -> None:
    downwards = response_rewriter(media_type, URL_MAP, LOCAL)
    upwards = request_rewriter(media_type, URL_MAP)

    assert (down_expected, up_expected) == (downwards is not None, upwards is not None)


@pytest.mark.parametrize("media_type", [JSON, NDJSON, XML])
def test_chunk_without_the_url_is_passed_on_itself(media_type: str) -> None:
    rewriter = response_rewriter(media_type, URL_MAP, LOCAL)
    chunks = [b'{"a":"b"},\n' * 9999, b"<c/>" * 9999]
    assert rewriter is not None

    assert all(chunk is rewriter.feed(chunk) for chunk in chunks)
