from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from proxy.config import ServerConfig
from proxy.doctor import ROAD, Status
from proxy.sandbox import Sandbox
from proxy.sandbox.fhir import Answer, FhirServer, RejectToken
from proxy.sandbox.tenant import CLINIC, DESKTOP, MEMBER, SECRET, SERVICE, Lifetime, Resource

from ..fakes.browser import ScriptedBrowser
from ..fakes.byte_server import Peer, byte_server
from ..fakes.clock import FakeClock
from ..running import proxy_before, unattended
from .walking import FAILED, OK, SKIPPED, WARNING, anonymous, app, attended, settled, taken_port, walked

STEPS = [stretch.name for stretch in ROAD]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with settled(Sandbox(patients=3)) as sandbox:
        yield sandbox


async def test_all_is_well(sandbox: Sandbox, tmp_path: Path) -> None:
    walk = await walked(app(sandbox, tmp_path))

    assert (walk.statuses(), walk.report.exit_status) == ({}, 0)
    assert [finding.step for finding in walk.shown] == STEPS
    assert "Microsoft's FHIR server" in walk["challenge"].verdict.found
    assert "FHIR 4.0.1" in walk["metadata"].verdict.found
    assert SERVICE.client_id in walk["sign-in"].verdict.found
    assert CLINIC.id == walk["token"].verdict.details["tid"]
    assert "3 patients" in walk["read"].verdict.found
    assert "next page" in walk["links"].verdict.found
    assert "421" in walk["listener"].verdict.found


async def test_all_is_well_over_tls(tmp_path: Path) -> None:
    async with settled(Sandbox(patients=3, is_tls=True, base_path="/fhir/r4")) as sandbox:
        walk = await walked(app(sandbox, tmp_path))

    assert walk.statuses() == {}
    assert "fhir-auth-proxy sandbox CA" in walk["tls"].verdict.found
    assert walk["tls"].verdict.details["public_authority"] == "no"


async def test_open_server_needs_nobody() -> None:
    async with settled(Sandbox(patients=3, is_open=True)) as sandbox:
        config = ServerConfig.of({"base_url": sandbox.fhir.base_url, "listen": "127.0.0.1:0"})
        walk = await walked(config)

    assert walk.statuses() == {"token": SKIPPED}
    assert "open" in walk["challenge"].verdict.found


async def test_neither_secret_nor_token_is_in_any_text(sandbox: Sandbox, tmp_path: Path) -> None:
    told: list[str] = []
    tokens: list[str] = []
    verify = sandbox.fhir.access.verify
    assert verify is not None

    def noting(token: str, audience: str) -> object:
        tokens.append(token)
        return verify(token, audience)

    sandbox.fhir.access.verify = noting  # type: ignore[assignment]
    walk = await walked(app(sandbox, tmp_path), unattended(told))
    everything = walk.text + "".join(told) + repr(walk.report)

    assert tokens
    assert [text for text in (SECRET, *tokens, *tokens[0].split(".")) if text in everything] == []


async def test_token_that_the_server_writes_into_its_answers_is_not_shown() -> None:
    token = f"eyJhbGciOiJub25lIn0.{'a' * 40}.{'b' * 40}"
    body = f'{{"resourceType":"OperationOutcome","issue":[{{"diagnostics":"no {token}"}}]}}'.encode()
    async with settled(Sandbox(patients=1, is_open=True)) as sandbox:
        sandbox.fhir.faults.extend([Answer(500, body=body)] * 2)
        walk = await walked(anonymous(sandbox.fhir.base_url))

    assert walk["challenge"].verdict.cause.endswith("no […]")
    assert token not in walk.text


async def test_wrong_audience_is_named_with_the_one_to_use(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.tenant.register(Resource("https://another.example"))
    walk = await walked(app(sandbox, tmp_path, audience="https://another.example"))

    assert walk.statuses() == {
        "challenge": WARNING,
        "token": WARNING,
        "read": FAILED,
        "links": SKIPPED,
    }
    assert walk.report.exit_status == 17
    for step in ("challenge", "token", "read"):
        assert f"--audience {sandbox.fhir.base_url}" in walk[step].verdict.fix


REFUSED = [
    ({"client_secret": "not the secret"}, "AADSTS7000215", "AZURE_CLIENT_SECRET to the secret's Value"),
    ({"client_id": "00000000-0000-0000-0000-00000000dead"}, "AADSTS700016", "--client-id"),
    ({"audience": "https://nobody.example"}, "AADSTS500011", "Application ID URI"),
]


@pytest.mark.parametrize(("settings", "code", "fix"), REFUSED, ids=[code for _, code, _ in REFUSED])
async def test_refusal_of_entra_is_explained(
    sandbox: Sandbox, tmp_path: Path, settings: dict[str, str], code: str, fix: str
) -> None:
    walk = await walked(app(sandbox, tmp_path, **settings))

    assert (walk["sign-in"].verdict.status, walk.report.exit_status) == (FAILED, 15)
    assert code in walk["sign-in"].verdict.cause
    assert fix in walk["sign-in"].verdict.fix
    assert [walk[step].verdict.status for step in ("token", "read", "links")] == [SKIPPED] * 3
    assert [walk[step].verdict.status for step in ("clock", "listener")] == [OK] * 2
    assert "not the secret" not in walk.text


async def test_unknown_tenant_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    nowhere = f"{sandbox.tenant.origin}/nowhere.example"
    walk = await walked(app(sandbox, tmp_path, authority=nowhere))

    assert (walk["sign-in"].verdict.status, walk.report.exit_status) == (FAILED, 15)
    assert "nowhere.example" in walk["sign-in"].verdict.cause
    assert "--tenant" in walk["sign-in"].verdict.fix


async def test_consent_that_a_person_refuses_is_explained(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.tenant.register(Resource(sandbox.fhir.base_url))
    browser = ScriptedBrowser(sandbox.tenant.ca_pem)
    browser.consent = "refuse"
    config = app(sandbox, tmp_path, auth="interactive", client_id=DESKTOP.client_id, client_secret=None)
    try:
        walk = await walked(config, replace(attended(unattended()), browser=browser))
        page = await browser.pages.get()
    finally:
        await browser.close()

    assert page.status == 200
    assert (walk["sign-in"].verdict.status, walk.report.exit_status) == (FAILED, 15)
    assert "AADSTS65004" in walk["sign-in"].verdict.cause
    assert "accept" in walk["sign-in"].verdict.fix


async def test_person_signs_in_once_for_all_steps(sandbox: Sandbox, tmp_path: Path) -> None:
    browser = ScriptedBrowser(sandbox.tenant.ca_pem)
    config = app(sandbox, tmp_path, auth="interactive", client_id=DESKTOP.client_id, client_secret=None)
    try:
        walk = await walked(config, replace(attended(unattended()), browser=browser))
    finally:
        await browser.close()

    assert (walk.statuses(), len(browser.opened)) == ({}, 1)
    assert MEMBER.username in walk["sign-in"].verdict.found
    assert walk["token"].verdict.details["scp"] == "user_impersonation"


async def test_without_a_person_the_doctor_tells_the_other_ways(sandbox: Sandbox, tmp_path: Path) -> None:
    config = app(sandbox, tmp_path, auth="interactive", client_id=DESKTOP.client_id, client_secret=None)
    walk = await walked(config)

    assert walk["sign-in"].verdict.status is FAILED
    assert "--auth device-code" in walk["sign-in"].verdict.fix
    assert "AZURE_CLIENT_SECRET" in walk["sign-in"].verdict.fix


async def test_auto_tells_what_it_chose(sandbox: Sandbox, tmp_path: Path) -> None:
    walk = await walked(app(sandbox, tmp_path, auth="auto"))

    assert walk.statuses() == {}
    assert "asks for Entra ID" in walk["sign-in"].verdict.details["chosen"]


async def test_server_that_is_down_keeps_nothing_else_from_being_looked_at(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    config = app(sandbox, tmp_path)
    await sandbox.fhir.close()
    walk = await walked(config)

    assert walk.report.exit_status == 11
    assert walk.statuses() == {
        "connection": FAILED,
        **dict.fromkeys(("tls", "metadata", "challenge", "read", "links", "clock"), SKIPPED),
    }
    assert walk["connection"].verdict.fix


async def test_sign_in_that_needs_the_server_waits_for_it(sandbox: Sandbox, tmp_path: Path) -> None:
    config = app(sandbox, tmp_path, auth="auto")
    await sandbox.fhir.close()
    walk = await walked(config)

    assert walk["sign-in"].verdict.status is SKIPPED
    assert sandbox.tenant.token_requests == ()


async def test_host_that_nobody_knows_is_named() -> None:
    config = anonymous("https://fhir.invalid")
    walk = await walked(config)

    assert (walk["name"].verdict.status, walk.report.exit_status) == (FAILED, 10)
    assert "fhir.invalid" in walk["name"].verdict.cause
    assert walk["connection"].verdict.status is SKIPPED


async def test_certificate_that_is_not_trusted_names_its_issuer(tmp_path: Path) -> None:
    async with settled(Sandbox(patients=1, is_tls=True)) as sandbox:
        walk = await walked(app(sandbox, tmp_path, ca_bundle=""))

    assert (walk["tls"].verdict.status, walk.report.exit_status) == (FAILED, 12)
    assert "fhir-auth-proxy sandbox CA" in walk["tls"].verdict.cause
    assert "--ca-bundle" in walk["tls"].verdict.fix
    assert walk["metadata"].verdict.status is SKIPPED


@asynccontextmanager
async def server_with(leaf: trustme.LeafCert) -> AsyncIterator[FhirServer]:
    """An open server at https://localhost with that certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)
    server = FhirServer(patients=1)
    await server.start(ssl_context=context, name="localhost")
    try:
        yield server
    finally:
        await server.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


async def test_certificate_that_ends_soon_is_remarked(authority: trustme.CA, bundle: str) -> None:
    leaf = authority.issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=3))
    async with server_with(leaf) as server:
        walk = await walked(anonymous(server.base_url).replace(ca_bundle=bundle))

    assert walk.statuses() == {"tls": WARNING, "token": SKIPPED}
    assert "days" in walk["tls"].verdict.cause


UNFIT = [
    ({"identities": ("other.example",), "common_name": "other.example"}, "belongs to another name"),
    ({"identities": ("localhost",), "not_after": datetime(2020, 1, 1, tzinfo=UTC)}, "has expired"),
]


@pytest.mark.parametrize(("made", "fix"), UNFIT, ids=[fix for _, fix in UNFIT])
async def test_certificate_that_does_not_hold_is_shown_with_the_reason(
    authority: trustme.CA, bundle: str, made: dict[str, object], fix: str
) -> None:
    identities = made["identities"]
    others = {name: value for name, value in made.items() if name != "identities"}
    async with server_with(authority.issue_cert(*identities, **others)) as server:  # type: ignore[misc,arg-type]
        walk = await walked(anonymous(server.base_url).replace(ca_bundle=bundle))

    assert (walk["tls"].verdict.status, walk.report.exit_status) == (FAILED, 12)
    assert fix in walk["tls"].verdict.fix
    assert {"issuer", "subject", "until"} == set(walk["tls"].verdict.details)


async def test_bundle_that_cannot_be_read_fails_the_configuration_and_tls(tmp_path: Path) -> None:
    async with settled(Sandbox(patients=1, is_tls=True)) as sandbox:
        walk = await walked(app(sandbox, tmp_path, ca_bundle=str(tmp_path / "none.pem")))

    assert walk.report.exit_status == 2
    assert [walk[step].verdict.status for step in ("configuration", "connection", "tls", "sign-in")] == [
        FAILED,
        OK,
        FAILED,
        SKIPPED,
    ]


async def test_what_is_no_fhir_server_is_told_at_metadata() -> None:
    async with settled(Sandbox(patients=1, is_open=True)) as sandbox:
        elsewhere = f"{sandbox.fhir.base_url}/nothing/here"
        walk = await walked(ServerConfig.of({"base_url": elsewhere, "listen": "127.0.0.1:0"}))

    assert (walk["metadata"].verdict.status, walk.report.exit_status) == (FAILED, 13)
    assert "path" in walk["metadata"].verdict.fix


async def test_page_of_a_portal_is_not_a_server() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(
            b"HTTP/1.1 302 Found\r\nLocation: https://portal.example/x?secret=1\r\nContent-Length: 0\r\n\r\n"
        )

    async with byte_server(script) as server:
        config = anonymous(f"http://127.0.0.1:{server.port}")
        walk = await walked(config)

    assert "a redirect to portal.example" in walk["metadata"].verdict.cause
    assert "secret" not in walk.text


async def test_role_that_is_missing_is_told_with_the_object_id(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.fhir.access.role = "globalReader"
    walk = await walked(app(sandbox, tmp_path))
    oid = walk["token"].verdict.details["oid"]

    assert (walk["read"].verdict.status, walk.report.exit_status) == (FAILED, 17)
    assert "Its SMART configuration lists the scopes 'fhirUser launch" in walk["read"].verdict.cause
    assert "FHIR Data Reader" in walk["read"].verdict.fix
    assert oid in walk["read"].verdict.fix


async def test_token_that_the_server_refuses_is_told_with_its_reason(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    server = sandbox.fhir
    config = app(sandbox, tmp_path)
    sandbox.tenant.faults.always(Lifetime(-60))
    walk = await walked(config)

    assert server.requests
    assert walk["sign-in"].verdict.status is FAILED
    assert "expired" in walk["sign-in"].verdict.cause


async def test_link_that_leads_past_the_proxy_is_offered_as_alias(tmp_path: Path) -> None:
    alias = "http://10.0.0.4:8080/internal/fhir"
    async with settled(Sandbox(patients=3, spelling="alias", alias=alias)) as sandbox:
        walk = await walked(app(sandbox, tmp_path))
        healed = await walked(app(sandbox, tmp_path, aliases=[alias]))

    assert (walk["links"].verdict.status, walk.report.exit_status) == (FAILED, 18)
    assert f"--alias {alias}." in walk["links"].verdict.fix
    assert "/Patient" not in walk.text.replace("Patient?", "")
    assert healed.statuses() == {}


async def test_links_are_not_looked_at_where_they_are_not_mapped(sandbox: Sandbox, tmp_path: Path) -> None:
    walk = await walked(app(sandbox, tmp_path, rewrite="off"))

    assert walk.statuses() == {"links": SKIPPED}


@pytest.mark.parametrize(
    ("seconds", "status", "direction"),
    [
        (-400, FAILED, "behind"),
        (400, FAILED, "ahead of"),
        (-100, WARNING, "behind"),
        (100, WARNING, "ahead of"),
    ],
)
async def test_clock_that_is_off_is_told(seconds: float, status: Status, direction: str) -> None:
    clock = FakeClock(datetime.now(UTC).timestamp() + seconds)
    async with settled(Sandbox(patients=3, is_open=True)) as sandbox:
        config = ServerConfig.of({"base_url": sandbox.fhir.base_url, "listen": "127.0.0.1:0"})
        walk = await walked(config, replace(unattended(), clock=clock))

    assert status is walk["clock"].verdict.status
    assert direction in walk["clock"].verdict.cause
    assert walk.report.exit_status == (19 if status is FAILED else 0)


async def test_listener_of_another_program_is_told(sandbox: Sandbox, tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with byte_server(script) as server:
        walk = await walked(app(sandbox, tmp_path, listen=f"127.0.0.1:{server.port}"))

    assert (walk.statuses(), walk.report.exit_status) == ({"listener": FAILED}, 20)
    assert f"port {server.port} is taken" in walk["listener"].verdict.cause


async def test_listener_that_says_nothing_is_another_program_too(sandbox: Sandbox, tmp_path: Path) -> None:
    with taken_port() as port:
        walk = await walked(app(sandbox, tmp_path, listen=f"127.0.0.1:{port}", read_timeout=0.2))

    assert walk["listener"].verdict.status is FAILED


async def test_running_proxy_at_the_address_is_recognized(sandbox: Sandbox, tmp_path: Path) -> None:
    async with proxy_before(sandbox.fhir.base_url) as running:
        walk = await walked(app(sandbox, tmp_path, listen=running.url.removeprefix("http://")))

    assert walk.statuses() == {}
    assert "a fhir-auth-proxy answers" in walk["listener"].verdict.found


async def test_listener_for_other_machines_is_remarked(sandbox: Sandbox, tmp_path: Path) -> None:
    remote = {"listen": "0.0.0.0:0", "allow_remote": True, "allowed_hosts": ["proxy.example"]}
    walk = await walked(app(sandbox, tmp_path, **remote))

    assert walk.statuses() == {"listener": WARNING}


async def test_server_in_trouble_is_told_and_the_read_goes_on() -> None:
    async with settled(Sandbox(patients=1, is_open=True)) as sandbox:
        sandbox.fhir.faults.extend([Answer(503), Answer(503)])
        walk = await walked(anonymous(sandbox.fhir.base_url))

    assert walk.statuses() == {"metadata": FAILED, "challenge": FAILED, "token": SKIPPED}
    assert "Try again" in walk["challenge"].verdict.fix
    assert walk.report.exit_status == 13


async def test_refusal_by_the_server_after_sign_in_is_told(sandbox: Sandbox, tmp_path: Path) -> None:
    config = app(sandbox, tmp_path)
    sandbox.fhir.faults.extend([RejectToken("the issuer is unknown")] * 5)
    walk = await walked(config)

    assert walk["read"].verdict.status is FAILED
    assert "the issuer is unknown" in walk["read"].verdict.cause


async def test_challenge_for_an_anonymous_method_is_remarked_and_the_read_fails(sandbox: Sandbox) -> None:
    config = anonymous(sandbox.fhir.base_url)
    walk = await walked(config)

    assert walk.statuses() == {"challenge": WARNING, "token": SKIPPED, "read": FAILED, "links": SKIPPED}
    assert "--auth auto" in walk["read"].verdict.fix
