"""What the server says before anybody has signed in: of itself, of the sign-in it wants, of the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from ..auth.answers import cleaned
from ..auth.authorities import AUTHORITY_PARAMETERS, authority
from ..auth.clouds import cloud_of
from ..errors import ProxyError
from ..model import Challenge
from ..rules.audiences import AUDIENCE_PARAMETERS, audience_mismatch
from ..rules.challenges import bearer_parameter, one_line, parse_challenges
from ..rules.exchange import ServerRules
from ..rules.scopes import other_scopes
from ..rules.tokens import Finding
from .asking import Reply, ask_server, request
from .state import State
from .verdicts import Status, Verdict, skipped

WRONG_BASE = (
    "Check the base URL: its path, such as /fhir or /r4, belongs to it, and a portal or a gateway before the "
    "server is not the server."
)

STATEMENTS = ("CapabilityStatement", "Conformance")
"""What FHIR calls a server's description of itself, from R3 on and before."""

SKEW_REMARKED = 60.0
"""Seconds between the clocks from which it is remarked."""
SKEW_REFUSED = 300.0
"""Seconds between the clocks from which tokens are refused: the tolerance of Entra ID and of ASP.NET's
JwtBearer (Microsoft.IdentityModel, TokenValidationParameters.DefaultClockSkew)."""


async def metadata(state: State) -> tuple[State, Verdict]:
    """The server describes itself (FHIR R4 section 3.1.0.11), which asks for no sign-in."""
    config = state.config
    reply = await ask_server(config, request(config.base_url, "metadata"), state.seams.clock)
    state = replace(state, replies=(*state.replies, reply))
    status, statement = reply.head.status, reply.object()
    if status in {401, 403}:
        return state, Verdict(
            Status.WARNING,
            f"{status}",
            "The server, or a gateway before it, hides /metadata from whoever has not signed in.",
            "Nothing has to be done if the steps below succeed.",
        )
    if status != 200 or statement.get("resourceType") not in STATEMENTS:
        what = _redirect(reply) if 300 <= status < 400 else cleaned(reply.head.fields.text(b"content-type"))
        return state, Verdict(
            Status.FAILED,
            cause=f"{config.base_url}/metadata is answered by {status} ({what or 'no type'}) and not by a "
            "CapabilityStatement.",
            fix=WRONG_BASE,
            details={"status": str(status)},
        )
    software, version = _software(statement), cleaned(str(statement.get("fhirVersion", "")))
    found = f"{software or 'a server that does not say its name'}, FHIR {version or 'of an unknown version'}"
    details = {"software": software, "fhir_version": version}
    return replace(state, software=software), Verdict(Status.OK, found, details=details)


async def challenge(state: State) -> tuple[State, Verdict]:
    """A read without credentials: an open server answers it, another says how to sign in."""
    config = state.config
    reply = await ask_server(config, ServerRules.probe(config), state.seams.clock)
    challenges = parse_challenges(reply.head.fields)
    status = reply.head.status
    state = replace(state, replies=(*state.replies, reply), unsigned=reply, challenges=challenges)
    details = {"status": str(status), **_wanted(challenges), "server": _kind(state)}
    details = {name: text for name, text in details.items() if text}
    if 200 <= status < 300:
        return state, Verdict(Status.OK, "the server is open: it answers without a sign-in", details=details)
    if status != 401:
        said = reply.diagnostics()
        return state, Verdict(
            Status.FAILED,
            cause=f"A read without credentials is answered by {status}"
            + (f": {said}" if said else ", which is neither an answer nor a question for a sign-in."),
            fix=f"Try again, if the server is in trouble. {WRONG_BASE}" if status >= 500 else WRONG_BASE,
            details=details,
        )
    found = "401, " + ", ".join(
        part
        for part in (
            details.get("server", "no server that is known here"),
            f"authority {details['authority']}" if "authority" in details else "no authority named",
            f"audience {details['audience']}" if "audience" in details else "no audience named",
        )
    )
    off = _off(state)
    if off is None:
        return state, Verdict(Status.OK, found, details=details)
    return state, Verdict(Status.WARNING, found, off.message, off.fix, details)


async def clock(state: State) -> tuple[State, Verdict]:
    """The clocks of this machine and the server agree, by the `Date` of its answers (RFC 9110 section 6.6.1)."""
    skews = [skew for reply in state.replies if (skew := reply.skew()) is not None]
    if not skews:
        return state, skipped("no answer of the server tells the time")
    skew = min(skews, key=abs)  # a slow or cached answer only looks older
    details = {"skew_seconds": f"{skew:.0f}"}
    if abs(skew) < SKEW_REMARKED:
        return state, Verdict(Status.OK, f"{abs(skew):.0f} s from the server's", details=details)
    direction = "behind" if skew > 0 else "ahead of"
    return state, Verdict(
        Status.FAILED if abs(skew) >= SKEW_REFUSED else Status.WARNING,
        cause=f"This machine's clock is {abs(skew):.0f} s {direction} the server's; tokens are refused from "
        f"{SKEW_REFUSED:.0f} s on.",
        fix="Set the clock by the network's time (NTP); in WSL or a virtual machine that slept, restart it.",
        details=details,
    )


def _off(state: State) -> Finding | None:
    """Where the server's challenge and the settings do not fit."""
    config, challenges = state.config, state.challenges
    if config.auth == "anonymous":
        return Finding(
            "method",
            "The server asks for a sign-in, and --auth anonymous makes none.",
            "Leave it out: --auth auto finds out how to sign in.",
        )
    if not challenges:
        return Finding(
            "challenge",
            "The 401 does not say how to sign in: its WWW-Authenticate is missing or cannot be read.",
            "Name the tenant with --tenant (AZURE_TENANT_ID), and the audience with --audience.",
        )
    if mismatch := audience_mismatch(config, challenges):
        return Finding.parted("audience", mismatch, "Check --audience.")
    if others := other_scopes(challenges):
        return Finding.parted("scope", others, "")
    try:
        chosen = authority(config, challenges)
    except ProxyError as error:
        return Finding("authority", error.message, error.hint)
    warning = chosen.wrong_cloud
    return Finding.parted("cloud", warning, "Check --authority-host.") if warning else None


def _wanted(challenges: Sequence[Challenge]) -> dict[str, str]:
    """What a challenge names: its scheme, the authority and its tenant, the audience."""
    uri = bearer_parameter(challenges, AUTHORITY_PARAMETERS)
    try:
        tenant = next((part for part in urlsplit(uri).path.split("/") if part), "")
    except ValueError:
        tenant = ""
    return {
        "scheme": ", ".join(dict.fromkeys(one_line(one.scheme) for one in challenges)),
        "authority": one_line(uri),
        "tenant": one_line(tenant),
        "audience": one_line(bearer_parameter(challenges, AUDIENCE_PARAMETERS)),
    }


def _kind(state: State) -> str:
    """Which server of Microsoft's it is; empty for every other.

    Startup.cs of microsoft/fhir-server writes authority, audience, and the audience again as realm.
    """
    cloud = cloud_of(state.config.base_url.host)
    if cloud is not None:
        return f"Azure's managed FHIR service in {cloud.value}"
    uri, resource, realm = (
        bearer_parameter(state.challenges, [key]) for key in ("authorization_uri", "resource_id", "realm")
    )
    is_microsofts = uri and resource and resource == realm
    return "Microsoft's FHIR server" if is_microsofts or "microsoft" in state.software.lower() else ""


def _software(statement: Mapping[str, object]) -> str:
    software = statement.get("software")
    if not isinstance(software, dict):
        return ""
    return cleaned(" ".join(str(software[key]) for key in ("name", "version") if software.get(key)))


def _redirect(reply: Reply) -> str:
    """Where a redirect leads, without path and query, which may hold more than a screen should."""
    try:
        host = urlsplit(reply.head.fields.text(b"location")).hostname or ""
    except ValueError:
        host = ""
    return f"a redirect to {one_line(host)}" if host else "a redirect"
