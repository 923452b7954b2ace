"""Who signs in, with what token, and what the server does with it."""

from __future__ import annotations

from dataclasses import replace

from ..auth import authenticator
from ..auth.answers import cleaned
from ..auth.authorities import authority
from ..config import ServerConfig
from ..errors import ConfigError, ProxyError, SignInRequired
from ..model import ResponseHead
from ..rules.challenges import parse_challenges
from ..rules.claims import account_name, claims_of, shown
from ..rules.rejections import refused_after_sign_in
from ..rules.scopes import other_scopes_listed
from ..rules.tokens import Claims, claim_text, token_findings
from .answers import WRONG_BASE
from .asking import ask_server, request
from .state import State
from .verdicts import Status, Verdict, failed, skipped

READ = "Patient?_summary=count"
"""A read that brings no patient's data."""

WITHOUT_SERVER = frozenset({"anonymous", "client-secret", "token"})
"""Ways to sign in that need no word of the server's."""


async def sign_in(state: State) -> tuple[State, Verdict]:
    """Credentials, obtained as `run` obtains them."""
    config, seams = state.config, state.seams
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        seams.tell(line)

    async def probe() -> ResponseHead:
        assert state.unsigned is not None  # noqa: S101  held by `_obstacle`
        return state.unsigned.head

    if obstacle := _obstacle(state):
        return state, obstacle
    # Nobody else waits here: the person gets all the time of a sign-in, and the request with them.
    patient = config.replace(sign_in_wait=config.sign_in_timeout + 1)
    own = authenticator(patient, replace(seams, tell=tell, probe=probe))
    state = replace(state, authenticator=own)
    try:
        credentials = await own.credentials()
    except ProxyError as error:
        return state, failed(error, "Check the settings of the sign-in, or take another --auth.")
    state = replace(state, credentials=credentials)
    if credentials is None:
        return state, Verdict(
            Status.OK, "nobody: requests go without a token", details={"method": "anonymous"}
        )
    claims = claims_of(credentials)
    return replace(state, claims=claims), _signed_in(config, claims, told)


async def token(state: State) -> tuple[State, Verdict]:
    """The token's claims beside what the server asked for."""
    if state.credentials is None:
        return state, skipped("there is no token")
    if not state.claims:
        return state, Verdict(Status.OK, "an opaque token, which says nothing of itself")
    details = shown(state.claims)
    off = token_findings(
        state.claims,
        state.config,
        now=state.seams.clock.time(),
        challenges=state.challenges,
        tenant=_servers_tenant(state),
    )
    found = ", ".join(
        f"{name} {details[name]}" for name in ("aud", "tid", "scp", "roles", "exp") if name in details
    )
    if not off:
        return state, Verdict(Status.OK, found, details=details)
    cause, fix = " ".join(one.message for one in off), " ".join(one.fix for one in off)
    return state, Verdict(Status.WARNING, found, cause, fix, details)


async def read(state: State) -> tuple[State, Verdict]:
    """A read with the credentials, as a tool would make it through the proxy."""
    config = state.config
    head = request(config.base_url, READ, state.credentials)
    reply = await ask_server(config, head, state.seams.clock)
    state = replace(state, replies=(*state.replies, reply))
    status, said = reply.head.status, reply.diagnostics()
    details = {"status": str(status)}
    if 200 <= status < 300:
        total = reply.object().get("total")
        count = f", {total} patients" if isinstance(total, int) else ""
        return state, Verdict(Status.OK, f"GET {READ}: {status}{count}", details=details)
    if status == 401 and state.credentials is not None:
        refusal = refused_after_sign_in(config, parse_challenges(reply.head.fields))
        return state, failed(refusal, WRONG_BASE, details)
    words, fix = _REFUSALS.get(status, ("does not answer a read", WRONG_BASE))
    scopes = await _scopes_of_smart(state) if status == 403 else ""
    return state, Verdict(
        Status.FAILED,
        cause=f"{config.base_url} {words}: {status}"
        + (f", {said} {scopes}" if said else f". {scopes}").rstrip(),
        fix=fix.format(account=_who(state)),
        details=details,
    )


async def _scopes_of_smart(state: State) -> str:
    """What the server's SMART configuration says of scopes that are not requested; empty without one."""
    head = request(state.config.base_url, ".well-known/smart-configuration")
    try:
        reply = await ask_server(state.config, head, state.seams.clock)
    except ProxyError:
        return ""  # the read has its verdict, and this would only have added to it
    return other_scopes_listed(reply.object())


# Status -> what it says, and what to do.
_REFUSALS = {
    401: (
        "asks for a sign-in, and none was made",
        "Leave out --auth anonymous: --auth auto finds out how to sign in.",
    ),
    403: (
        "knows who signed in and forbids the read",
        (
            "On Azure's managed service, an administrator opens the FHIR service in the Azure portal > Access "
            "control (IAM) > Add role assignment > FHIR Data Reader (or Contributor) > {account}; it takes some "
            "minutes to count. On Microsoft's open-source server: Enterprise applications > the FHIR API > Users "
            "and groups > Add, with an app role such as globalReader, then sign in again."
        ),
    ),
    429: ("has too much to do", "Try again later."),
    503: ("is not available", "Try again later."),
}


def _obstacle(state: State) -> Verdict | None:
    """Why there is nothing to sign in with, or nobody."""
    config = state.config
    base = config.base_url
    if config.auth != "anonymous" and base.scheme != "https" and not base.is_loopback:
        error = ConfigError(f"{base} is not https, and a token sent to it could be read on the way.")
        return failed(
            error, "Use the server's https:// address, or --auth anonymous if it asks for no token."
        )
    if state.unsigned is None and config.auth not in WITHOUT_SERVER:
        return skipped("the server could not be asked how to sign in")
    if config.auth == "interactive" and not state.seams.attended:
        required = SignInRequired("A person has to sign in, and nobody is at this terminal.")
        return failed(
            required,
            "Run the doctor at a terminal; or take --auth device-code, whose link and code appear on stderr and "
            "work on any device; for an app, AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET with --auth "
            "client-secret; for a token from elsewhere, --token-file.",
        )
    return None


def _servers_tenant(state: State) -> str:
    """The tenant that the server names, whatever is configured; empty where it names none to be trusted."""
    try:
        named = authority(state.config.replace(tenant="", authority=None), state.challenges, secret=False)
    except ProxyError:
        return ""
    return named.tenant if named.discovered else ""


def _signed_in(config: ServerConfig, claims: Claims, told: list[str]) -> Verdict:
    details: dict[str, str] = {"method": config.auth}
    if config.auth == "auto" and told:
        details["chosen"] = cleaned(told[0])
    if not claims:
        return Verdict(Status.OK, f"a token by --auth {config.auth}", details=details)
    details |= {"account": account_name(claims), "tenant": claim_text(claims, "tid")}
    found = f"{details['account'] or 'an account without name'} in the tenant {details['tenant'] or '?'}"
    return Verdict(Status.OK, f"{found}, by --auth {config.auth}", details=details)


def _who(state: State) -> str:
    """Whom a role has to be assigned to."""
    if not state.claims:
        return "the account"
    identifier = claim_text(state.claims, "oid")
    return account_name(state.claims) + (f" (object id {identifier})" if identifier else "")
