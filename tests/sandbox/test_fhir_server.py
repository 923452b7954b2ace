from __future__ import annotations

import gzip
import io
import json
import ssl
from urllib.parse import urlsplit

import aiohttp
import pytest
import trustme
from fhirpy import AsyncFHIRClient

from proxy.sandbox.fhir import THROTTLED, Answer, Cut, FhirServer, Record
from proxy.sandbox.fhir.server import accepts_gzip

from .fhir_running import PATIENTS, running


async def test_requests_are_recorded_without_the_token() -> None:
    async with running(patients=1) as ask:
        await ask("GET", "Patient?name=%C3%BC|a&name=b+c", Authorization="Bearer secret")
        await ask("GET", "Nonsense")
        record = ask.server.requests[0]

        assert [one.target for one in ask.server.requests] == ["/Patient?name=%C3%BC|a&name=b+c", "/Nonsense"]
        assert (record.method, record.status, record.authorized) == ("GET", 200, True)
        assert {"Host", "Authorization", "Accept-Encoding"} <= set(record.fields)
        assert "secret" not in repr(ask.server.requests)
        assert Record("GET", "/Nonsense", 404, False, ask.server.requests[1].fields) == ask.server.requests[1]


async def test_links_follow_the_host_that_was_asked() -> None:
    async with running(base_path="/fhir/r4", patients=1) as ask:
        answer = await ask("GET", "Patient", Host="fhir.example:8443", X_Forwarded_Host="evil.example")

        assert answer.json["entry"][0]["fullUrl"] == "http://fhir.example:8443/fhir/r4/Patient/patient-0001"
        assert "evil.example" not in answer.body.decode()


async def test_outside_the_base_path_there_is_nothing() -> None:
    async with running(base_path="/fhir/r4", patients=1) as ask:
        origin = ask.server.base_url.removesuffix("/fhir/r4")
        targets = (
            "/Patient",
            "/fhir/r4-test/Patient",
            "/fhir/r4/Patient",
            "/fhir/r4?_type=Patient",
            "/fhir/r4/",
        )

        assert [(await ask("GET", origin + target)).status for target in targets] == [404, 404, 200, 200, 200]


async def test_metadata_advertises_oauth_and_absolute_addresses() -> None:
    async with running(verify=lambda *_: None, authority="https://login.example/t", base_path="/fhir") as ask:
        base = ask.server.base_url
        statement = (await ask("GET", "metadata")).json
        security = statement["rest"][0]["security"]
        smart = (await ask("GET", ".well-known/smart-configuration")).json

        assert (f"{base}/metadata", base) == (statement["url"], statement["implementation"]["url"])
        assert security["service"][0]["coding"][0]["code"] == "OAuth"
        assert {one["url"]: one["valueUri"] for one in security["extension"][0]["extension"]} == {
            "authorize": "https://login.example/t/oauth2/v2.0/authorize",
            "token": "https://login.example/t/oauth2/v2.0/token",
        }
        assert all(one["definition"].startswith(f"{base}/Oper") for one in statement["rest"][0]["operation"])
        assert f"{base}/connect/introspect" == smart["introspection_endpoint"]
        assert security["extension"][0]["extension"][1]["valueUri"] == smart["token_endpoint"]


async def test_an_open_server_advertises_no_oauth() -> None:
    async with running(patients=1) as ask:
        statement = (await ask("GET", "metadata")).json

        assert "security" not in statement["rest"][0]
        assert (await ask("GET", ".well-known/smart-configuration")).status == 400


ACCEPTED = (
    ("gzip", True), ("gzip, deflate, br", True), ("*", True), ("gzip;q=0.5", True), ("GZIP", True),
    ("", False), ("identity", False), ("gzip;q=0", False), ("gzip;q=0.000, *", False), ("br", False),
)  # fmt: skip


@pytest.mark.parametrize(("field", "expected"), ACCEPTED)
def test_gzip_is_used_where_it_is_accepted(field: str, expected: bool) -> None:
    assert expected == accepts_gzip(field)


async def test_a_compressed_answer_is_the_plain_one() -> None:
    async with running() as ask:
        plain = await ask("GET", "Patient")
        small = await ask("GET", "Patient", Accept_Encoding="gzip")

        assert (small.fields["Content-Encoding"], small.fields["Vary"]) == ("gzip", "Accept-Encoding")
        assert plain.body == gzip.decompress(small.body)
        assert "Content-Encoding" not in plain.fields
    async with running(compress=False) as ask:
        assert "Content-Encoding" not in (await ask("GET", "Patient", Accept_Encoding="gzip")).fields


async def test_a_compressed_request_is_understood() -> None:
    async with running() as ask:
        body = gzip.compress(b'{"resourceType":"Patient","id":"new"}')
        answer = await ask(
            "PUT", "Patient/new", body, Content_Encoding="gzip", Content_Type="application/fhir+json"
        )

        assert answer.status == 201


async def test_long_targets_and_large_bodies_are_taken_up_to_the_limit() -> None:
    async with running(continuation_size=8192) as ask:
        ids = ",".join(f"patient-{number:04}" for number in range(2500))
        long = await ask("GET", f"Patient?_id={ids}&_count=4")
        following = await ask("GET", long.link("next"))
        large = {"resourceType": "Binary", "id": "b", "contentType": "a/b", "data": "AAAA" * 1_000_000}
        body = io.BytesIO(json.dumps(large).encode())
        stored = await ask("PUT", "Binary/b", body, Prefer="return=minimal")
        refused = await ask("PUT", "Binary/c", io.BytesIO(bytes(30_000_001)), Content_Type="a/b")

        assert len(long.link("next")) > 32_768 + 8_192
        assert following.ids == (["patient-0005", "patient-0006", "patient-0007", "patient-0008"])
        assert (stored.status, refused.status) == (201, 413)
        assert refused.json["issue"][0]["code"] == "too-long"


async def test_request_ids_are_given_and_echoed() -> None:
    async with running(patients=1) as ask:
        answer = await ask("GET", "Patient", X_Request_Id="mine")

        assert (answer.fields["X-Correlation-Id"], answer.fields["X-Request-Id"] != "mine") == ("mine", True)


async def test_faults_are_used_up_in_order() -> None:
    async with running(patients=1) as ask:
        ask.server.faults.extend([THROTTLED, Answer(503, (("Retry-After", "2"),), b"busy")])
        answers = [await ask("GET", "Patient") for _ in range(3)]

        assert [answer.status for answer in answers] == [429, 503, 200]
        assert (answers[0].fields["Retry-After"], answers[0].fields["x-ms-retry-after-ms"]) == ("1", "1000")
        assert (answers[0].json["issue"][0]["code"], answers[1].body) == ("throttled", b"busy")


@pytest.mark.parametrize("after", [0, 100])
async def test_a_body_is_cut_short(after: int) -> None:
    async with running() as ask:
        ask.server.faults.append(Cut(after))
        async with ask.session.get(f"{ask.server.base_url}/Patient") as response:
            received = await response.content.readexactly(after)
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.content.read()

        assert (response.status, len(received)) == (200, after)
        assert (await ask("GET", "Patient")).status == 200


async def test_tls_and_a_name_make_the_base_url() -> None:
    authority = trustme.CA()
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(certificate)
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trust)
    server = FhirServer(patients=1)
    await server.start(ssl_context=certificate, name="localhost")
    try:
        parts = urlsplit(server.base_url)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{server.base_url}/Patient", ssl=trust) as response,
        ):
            found = json.loads(await response.read())

        assert (parts.scheme, parts.hostname) == ("https", "localhost")
        assert f"{server.base_url}/Patient/patient-0001" == found["entry"][0]["fullUrl"]
    finally:
        await server.close()


async def test_fhirpy_pages_counts_writes_and_deletes() -> None:
    async with running() as ask:
        client = AsyncFHIRClient(ask.server.base_url)
        patients = await client.resources("Patient").limit(7).fetch_all()
        men = await client.resources("Patient").search(gender="male").count()
        observed = (
            await client.resources("Observation").include("Observation", "subject").limit(1).fetch_raw()
        )
        patient = client.resource("Patient", name=[{"family": "Ångström"}])
        await patient.save()
        patient["active"] = True
        await patient.save()
        found = await client.resources("Patient").search(family="angstrom").first()
        await found.delete()

        assert len({one.id for one in patients}) == PATIENTS
        assert men == 14
        assert [one["resource"]["resourceType"] for one in observed["entry"]] == ["Observation", "Patient"]
        assert (patient.id, True) == (found.id, found["active"])
        assert (await ask("GET", f"Patient/{patient.id}")).status == 410
