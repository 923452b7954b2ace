"""Real clients and real servers: what works through this proxy, and what is lost through one that only adds a token."""

from __future__ import annotations

import pytest

from proxy.sandbox.fhir.spellings import SPELLINGS

from .conftest import Reports
from .tours import CLIENTS, STEPS, Report
from .world import HAPI, PLAIN, PROXY, SANDBOX, World

PAIRS = [(client, server) for client in CLIENTS for server in (SANDBOX, HAPI)]

EXPECTED: dict[str, object] = {
    "sign_in": False,
    "reference": "patient-0007",
    "write": ["Updated", "Created"],
    "once": True,
    "transaction": ["Patient", "Observation", "Observation"],
    "search": 3,
}

# HAPI's client puts an absolute URL into If-None-Exist, where FHIR R4 section 3.1.0.8.1 has parameters alone.
# HAPI's server takes that, others refuse it, with a proxy or without.
REFUSED = {("HAPI client", SANDBOX, "once")}
# The sandbox writes XML, but takes JSON alone.
WRITES = ("write", "once", "transaction")
REFUSED |= {("HAPI client, gzipped XML", SANDBOX, step) for step in WRITES}

# What is lost behind a proxy that only adds the token: whatever the server answers with addresses of its own,
# and what is searched by an address of the proxy. HAPI's server advertises no OAuth here, and writes references
# and what became of a transaction's entries without its base.
LOST = {SANDBOX: {"sign_in", "pages", "reference", "transaction", "search"}, HAPI: {"pages", "search"}}
# HAPI's client reads a created resource at its Location.
LOST_BY_LOCATION = {("HAPI client", "write"), ("HAPI client, gzipped XML", "write")}

# Paging by links without a host is not in these clients, with a proxy or without: one refuses them, the other
# puts them behind the base.
UNABLE = {
    ("fhirclient (Python)", "relative", "pages"): "Invalid URL scheme in `next` link",
    ("SMART JS client", "relative", "pages"): "/fhir/r4/fhir/r4/Patient",
}

# Absolute references that a tour leaves: an observation's, and a patient's, which HAPI's server has made relative
# in what the client read and then updated.
ABSOLUTE = {SANDBOX: 2, HAPI: 1}


def outcome(report: Report, step: str) -> object:
    return report[step].get("value", report[step].get("error"))


def expected(report: Report, step: str) -> object:
    return report["patients"]["value"] if step == "pages" else EXPECTED[step]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_works_through_the_proxy(reports: Reports, client: str, server: str, step: str) -> None:
    report = reports(client, server, PROXY)

    if (client, server, step) in REFUSED:
        assert "is not supported" in str(outcome(report, step))
    else:
        assert expected(report, step) == outcome(report, step)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("client", ["fhirpy", "fhirclient (Python)", "SMART JS client"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_however_the_server_spells_its_address(
    reports: Reports, spelling: str, client: str, step: str
) -> None:
    report = reports(client, spelling, PROXY)

    if (client, spelling, step) in UNABLE:
        assert UNABLE[client, spelling, step] in str(outcome(report, step))
    else:
        assert expected(report, step) == outcome(report, step)


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_plain_proxy_loses(reports: Reports, client: str, server: str) -> None:
    report = reports(client, server, PLAIN)

    lost = {step for step in STEPS if outcome(report, step) != expected(report, step)}
    by_location = {step for name, step in LOST_BY_LOCATION if name == client}
    refused = {step for name, at, step in REFUSED if (name, at) == (client, server)}
    assert LOST[server] | by_location | refused == lost


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_plain_proxy_finds_nothing_and_does_not_say_so(reports: Reports, client: str, server: str) -> None:
    assert outcome(reports(client, server, PLAIN), "search") == 0


@pytest.mark.parametrize("server", [SANDBOX, HAPI])
def test_record_holds_the_servers_address(reports: Reports, world: World, server: str) -> None:
    for client, at in PAIRS:
        if at == server:
            reports(client, server, PROXY)
    running = world.server(server)
    stored = world.stored(running)

    assert port_of(running.ways[PROXY]) not in stored
    tours = sum(at == server and (client, at, "write") not in REFUSED for client, at in PAIRS)
    reference = f'"reference":"{running.base_url}/Patient/patient-0001"'
    assert stored.count(reference) == tours * ABSOLUTE[server]


@pytest.mark.parametrize("server", [SANDBOX, HAPI])
def test_plain_proxy_leaves_its_address_in_the_record(reports: Reports, world: World, server: str) -> None:
    reports("fhirpy", server, PLAIN)
    running = world.server(server)

    assert port_of(running.ways[PLAIN]) in world.stored(running)


def port_of(url: str) -> str:
    """The port with its colon: under whatever name an address stands, it has this."""
    return f":{url.split(':')[2].partition('/')[0]}"
