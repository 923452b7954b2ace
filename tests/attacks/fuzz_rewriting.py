"""A fuzzer guided by coverage for the rewriting of bodies, JSON and XML, down and up: as `fuzz_requests`.

It fuzzes arbitrary bytes, and the documents that the properties of `tests.rules` are about.

python -m tests.attacks.fuzz_rewriting FOLDER -max_total_time=600
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

from .fuzz_requests import dictionary, seed

SEEDS = [
    b'\0\5{"resourceType":"Bundle","link":[{"url":"https://fhir.example.org/fhir/Patient?u=https%3A%2F%2Ffhir.example.org%2Ffhir"}]}',
    b'\0\1{"photo":[{"url":"https:\\/\\/fhir.example.org\\/fhir\\/Binary\\/1"}],"reference":"HTTPS://Fhir.Example.Org:443/fhir"}',
    b'\0\7{"\\u0075rl":"http://localhost:8080/fhir/x","next":"http://127.0.0.1:8080/fhir?_page=\xc3\xa9"}',
    b'\1\3<Bundle><link><url value="https://fhir.example.org/fhir?a=1&amp;b=2"/></link><!-- < --><![CDATA[<url>]]></Bundle>',
    b"\1\2<a><?p x?><reference value = 'https:&#x2F;&#47;fhir.example.org/fhir'/><url value=\"http://localhost:8080/fhir\"/></a>",
]

WORDS = [
    *(
        b"https://fhir.example.org/fhir",
        b"http://localhost:8080/fhir",
        b"\\/",
        b"%2F",
        b"%253A",
        b"&#x2F;",
        b":443",
    ),
    *(
        b'"url":"',
        b'"reference":"',
        b'"link":[{',
        b"\\u002f",
        b'<url value="',
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
    ),
    *(b"<?", b"?>", b"/>", b'\\"', b"}]", b"&quot;", b"<photo>", b"</photo>"),
]


def main() -> None:
    """Fuzz by libFuzzer until told to stop."""
    with atheris.instrument_imports(include=["proxy"]):
        from tests.rules import test_rewriting_properties as properties

        from .rewriting import check
    attempts = [
        check,
        *(one.hypothesis.fuzz_one_input for one in vars(properties).values() if hasattr(one, "hypothesis")),
    ]

    def attempt(data: bytes) -> None:
        """Let the first byte say what is tried."""
        if data:
            attempts[data[0] % len(attempts)](data[1:])

    seed(Path(sys.argv[1]), [b"\0" + one for one in SEEDS])
    atheris.Setup([*sys.argv, dictionary(Path(sys.argv[1]), WORDS)], attempt)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
