"""The decisions of one request and its answer, in order.

An `Exchange` is to this proxy what h11's `Connection` is to HTTP/1.1: it holds the state of one conversation,
decides everything and never waits. What depends on the configuration alone is built once, in `ServerRules`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

from .. import __version__
from ..config import ServerConfig
from ..errors import (
    AuthenticationFailed,
    BadRequest,
    BodyTooLarge,
    CodingNotSupported,
    ConfigError,
    InternalError,
    NotFound,
    ProxyError,
    UpstreamProtocolError,
)
from ..model import Credentials, Fields, Interaction, Rejection, RequestHead, ResponseHead
from .binaries import answer_is_fhir, sparing_content
from .bodies import BodyPath
from .capabilities import security_remover
from .challenges import parse_challenges, wanted_claims
from .coding import accept_encoding, acceptable, decoder
from .correlation import id_lines
from .echoes import without_token
from .guards import guard, guard_line
from .headers import (
    ATTEMPTS_FIELD,
    REQUEST_URL_FIELDS,
    RESOURCE_FIELDS,
    RESPONSE_LINK_FIELDS,
    RESPONSE_URL_FIELDS,
    REWRITE_FIELD,
    crossing_of,
    request_fields,
)
from .interactions import classify, is_smart_configuration
from .known_fields import KnownFields, Memory
from .listener import Listener
from .origins import shared
from .outcome import outcome
from .policy import Policy
from .rejections import refused_after_sign_in
from .representations import (
    DECODED_VOUCHING_FIELDS,
    VOUCHING_FIELDS,
    not_modified,
    transformed,
    varying,
)
from .retries import is_repeatable
from .rewriting import Rewriter, request_rewriter, response_rewriter
from .urls import UrlMap
from .usual_targets import UsualTarget, UsualTargets

BODILESS_STATUSES: Final = frozenset({204, 304})
"""Answers without a body whatever their fields say (RFC 9110 section 6.4.1)."""

PARTIAL_CONTENT: Final = 206
NOT_MODIFIED: Final = 304
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403

_MAY_BE_DISCOVERY: Final = frozenset({Interaction.CAPABILITIES, Interaction.OTHER})
_CAPABILITIES: Final = Interaction.CAPABILITIES  # by name it is looked up by a function in Python, until 3.12


class ServerRules:
    """What one server's settings and its listener's address decide for every exchange."""

    def __init__(self, config: ServerConfig, listener: Listener) -> None:
        self.config = config
        self.listener = listener
        self.authority = config.base_url.authority
        self.host = self.authority.encode("ascii")
        self.base_path = config.base_url.path.encode("ascii")
        self.url_map = UrlMap(
            config.base_url,
            aliases=config.aliases,
            authorities=[authority.decode("ascii") for authority in listener.authorities],
            key_path=listener.key_path.decode("ascii"),
            accounts=config.export_storage,
        )
        self.policy = Policy(config.base_url, read_only=config.policy == "read-only", allow=config.allow)
        self.usual_targets = UsualTargets(self.base_path)
        self.rewrites = config.rewrite == "on"
        self.hides_auth = config.advertise_auth == "hide"
        self.accept_encoding = accept_encoding()
        self.memory = Memory()
        self.is_confidential = config.base_url.scheme == "https" or config.base_url.is_loopback

    @staticmethod
    def probe(config: ServerConfig) -> RequestHead:
        """One read that only a server without sign-in answers: /metadata would be answered by every server."""
        fields = Fields.of(
            [
                ("Host", config.base_url.authority),
                ("Accept", "application/fhir+json"),
                ("User-Agent", f"fhir-auth-proxy/{__version__}"),
            ]
        )
        return RequestHead("GET", f"{config.base_url.path}/Patient?_summary=count".encode("ascii"), fields)


class Exchange:
    """One request with its answer; the methods stand in the order in which they are called.

    Creating one runs the guards: RequestRefused means that nothing may be sent.
    """

    account = ""
    """The storage account that the request goes to, as its host and port; empty for the server."""
    needs_credentials = True
    """Whether it is to be sent with the authenticator's credentials, where that has some."""
    _is_for_storage = False

    def __init__(self, head: RequestHead, rules: ServerRules, request_id: bytes = b"") -> None:
        known = rules.memory.get(head.fields)
        usual: UsualTarget | None = None
        if known is None:
            guard(head, rules.listener)
            rewrites = rules.rewrites and not _asks_for_untouched_bodies(head.fields)
            known = KnownFields(head.fields, rewrites_bodies=rewrites)
            rules.memory.keep(known)
        else:
            if head.is_http_1_1 and not rules.listener.key:
                usual = rules.usual_targets.find(head.method, head.target)
            if usual is None:
                guard_line(head, rules.listener)
        self._head = head
        self._rules = rules
        self._known = known
        self._request_id = request_id
        self._credentials: Credentials | None = None
        self._is_renewed = False
        self._changes_body = False
        self._rewrites_bodies = known.rewrites_bodies
        self.attempts = 0
        """How often the request has been made up for the server."""
        if usual is None:
            self._key_path, target = (
                rules.listener.without_key(head.target) if rules.listener.key else (b"", head.target)
            )
            self._mount = self._address(target)
        else:
            self._key_path, self._mount, self.classified = b"", rules.base_path, usual.classified
            self._target = rules.url_map.mount(head.target)[1] if usual.has_query else head.target
        rules.policy.check(head, self.classified)

    @property
    def _local_base(self) -> bytes:
        """The proxy's base URL as this tool knows it."""
        host = self._head.fields.get(b"host") or b""
        return self._rules.url_map.local_base(host, self._key_path + self._mount)

    @property
    def _path(self) -> bytes:
        """What the target names below the base, without the query."""
        return self._target.partition(b"?")[0].removeprefix(self._rules.base_path)

    def _address(self, target: bytes) -> bytes:
        """Find out what a target names; the path at which it addresses the proxy's base."""
        mount, self._target = self._rules.url_map.mount(target)
        self.classified = classify(self._head.method, self._path)
        return mount

    def check(self, credentials: Credentials | None) -> None:
        """Refuse what depends on whether the proxy signs in for the tool."""
        if credentials is None:
            return
        if not self._rules.is_confidential:
            raise ConfigError(
                f"{self._rules.config.base_url} wants a token, and http:// would show it to the network.",
                hint="Use the server's https:// address.",
            )
        if (
            self._rules.hides_auth
            and self.classified.interaction in _MAY_BE_DISCOVERY
            and is_smart_configuration(self._path)
        ):
            raise NotFound(
                "The server's own sign-in is hidden, since this proxy signs in.",
                hint='Use the server without signing in, or set advertise_auth = "pass".',
            )

    def request_path(self) -> BodyPath | None:
        """What the request's body goes through; None where it passes as it is."""
        if not (self._head.body_exists and self._rewrites_bodies):
            return None
        fields = self._head.fields
        media_type = fields.text(b"content-type")
        rewriter = request_rewriter(media_type, self._rules.url_map)
        if rewriter is not None:
            rewriter = sparing_content(self.classified, media_type, rewriter)
        coding = _coding(fields)
        self._changes_body = rewriter is not None
        if rewriter is None:
            return None
        if not coding:
            return BodyPath((rewriter,))
        decoding = decoder(coding, BadRequest, BodyTooLarge)
        if decoding is None:
            raise CodingNotSupported(
                f"The body's Content-Encoding is {coding[:40]!r}, which this proxy cannot read.",
                hint="Send the body as it is, or compressed by gzip.",
            )
        return BodyPath((rewriter,), decoding)

    def upstream_request(self, credentials: Credentials | None, *, length: int | None) -> RequestHead:
        """The request as the server gets it.

        `length` is the size in bytes of the body as it goes up where all of it is at hand; None where it streams.
        """
        self._take(credentials)
        known = self._known.to_server
        if known is not None and known[0] is credentials:
            fields = known[1]
        else:
            fields = self._fields_to_server(credentials)
            self._known.to_server = (credentials, fields)
        if self._head.body_exists:
            fields = self._framed(fields, length)
        fields = fields.added(id_lines(fields, self._request_id))
        return RequestHead(self._head.method, self._target, fields, self._head.body_exists)

    def _fields_to_server(self, credentials: Credentials | None) -> Fields:
        """Those of the tool as they cross, and ours; what depends on this one request is still to be added."""
        rules = self._rules
        # A range counts bytes of the coded representation (RFC 9110 section 14.1.2): there the tool decides.
        decodes = self._rewrites_bodies and b"range" not in self._head.fields
        fields = request_fields(
            self._head.fields,
            host=rules.host,
            keep_authorization=credentials is None,
            accept_encoding=rules.accept_encoding if decodes else None,
        )
        if rules.rewrites and self._head.fields.holds_any(REQUEST_URL_FIELDS):
            names = REQUEST_URL_FIELDS if self._rewrites_bodies else REQUEST_URL_FIELDS - RESOURCE_FIELDS
            fields = _mapped(fields, names, rules.url_map.text_up)
        if credentials is not None:
            fields = fields.adding((b"Authorization", credentials.authorization))
        return fields

    def _take(self, credentials: Credentials | None) -> None:
        """Count an attempt with credentials; InternalError for those of another place: they are not sent."""
        if credentials is not None and credentials.for_storage != self._is_for_storage:
            raise InternalError("Credentials were to be sent to a place that they are not for.")
        self._credentials = credentials
        self.attempts += 1

    @property
    def reads_body(self) -> bool:
        """Whether `check_body` has to see the body before it is sent."""
        return self._rules.policy.reads_body(self.classified)

    def check_body(self, body: bytes | None) -> None:
        """Refuse a body, as it goes up, that asks for what is not allowed; None is one too large to be held."""
        fields = self._framed(self._head.fields, None)
        self._rules.policy.check_batch(fields, body)

    def rejection(self, head: ResponseHead) -> Rejection | None:
        """What to tell the authenticator about a 401, None where the answer goes on to the tool.

        A 403 counts where it asks for other claims in the token, as services did before there was a 401 for it;
        where it remains, it is the server's answer. Raises AuthenticationFailed where renewed credentials have
        been refused as well.
        """
        if head.status not in {UNAUTHORIZED, FORBIDDEN}:
            return None
        if self._credentials is None and b"authorization" in self._head.fields:
            return None  # What was refused is the tool's own, before a server that gets nothing from us.
        challenges = parse_challenges(without_token(head, self._credentials).fields)
        if head.status == FORBIDDEN and (self._is_renewed or not wanted_claims(challenges)):
            return None
        if self._is_renewed:
            raise refused_after_sign_in(self._rules.config, challenges)
        self._is_renewed = True
        return Rejection(self._credentials, challenges)

    def check_resending(self, *, is_spent: bool) -> None:
        """Refuse to send a request again whose body is gone."""
        if is_spent:
            raise AuthenticationFailed(
                f"{self._rules.config.base_url} refused the token in the middle of an upload, "
                "which is too large to be held and sent again.",
                hint="A new token has been obtained: send the request again.",
            )

    @property
    def is_repeatable(self) -> bool:
        """Whether the request may be sent again although the server may have acted on it."""
        return is_repeatable(self._head, self.classified, self._path)

    def body_follows(self, head: ResponseHead) -> bool:
        """Whether the answer has a body (RFC 9110 section 6.4.1)."""
        return self._head.method != "HEAD" and head.status not in BODILESS_STATUSES

    def client_response(self, head: ResponseHead) -> tuple[ResponseHead, BodyPath | None]:
        """The answer's head as the tool gets it, and what its body goes through on the way."""
        rules = self._rules
        head = without_token(head, self._credentials)
        coding = _coding(head.fields)
        path = self._response_path(head, coding)
        dropped = None
        if path is not None:
            dropped = DECODED_VOUCHING_FIELDS if coding else VOUCHING_FIELDS
        crossing = crossing_of(head.fields, keep_challenges=self._credentials is None, dropped=dropped)
        fields = crossing.crossed(head.fields)
        if crossing.holds_urls and rules.rewrites:
            fields = _mapped(fields, RESPONSE_URL_FIELDS, self._location_down)
            fields = _mapped(fields, RESPONSE_LINK_FIELDS, self._link_down)
        if path is not None:
            fields = transformed(fields)
        elif head.status == NOT_MODIFIED and self._rewrites_bodies:
            fields = not_modified(fields, self._head.fields.text(b"if-none-match"))
        if coding:
            fields = varying(fields)
        fields = fields.added(id_lines(head.fields, self._request_id))
        fields = shared(fields, self._head.fields, rules.listener)
        return _counted(ResponseHead(head.status, head.reason, fields), self.attempts), path

    def _response_path(self, head: ResponseHead, coding: str) -> BodyPath | None:
        if head.status == PARTIAL_CONTENT or head.status in BODILESS_STATUSES:
            return None
        rules = self._rules
        stages: list[Rewriter] = []
        if self._credentials is not None and rules.hides_auth and self._is_metadata():
            remover = security_remover(self._media_type(head))
            if remover is not None:
                stages.append(remover)
        if self._rewrites_bodies:
            media_type = self._media_type(head)
            if self._is_fhir(media_type):
                mapping = response_rewriter(media_type, rules.url_map, self._local_base)
                if mapping is not None:
                    stages.append(mapping)
        if coding and (stages or not self._client_accepts(coding)):
            decoding = decoder(coding, UpstreamProtocolError)
            if decoding is not None:
                return BodyPath(stages, decoding)
            if stages:
                # Passing it on would leave links that lead past the proxy.
                raise UpstreamProtocolError(
                    f"{rules.config.base_url} sent a Content-Encoding that was not asked for: {coding[:40]!r}."
                )
        return BodyPath(stages) if stages else None

    def _framed(self, fields: Fields, length: int | None) -> Fields:
        """Fields about the body as it goes up, which is not always what the tool sent."""
        if self._changes_body:
            fields = fields.without(DECODED_VOUCHING_FIELDS)
        if length is not None:
            # All of it is at hand: nothing is left to wait for, and its length is known.
            fields = fields.without({b"content-length", b"expect"}).adding(
                (b"Content-Length", b"%d" % length)
            )
        return fields

    def _client_accepts(self, coding: str) -> bool:
        wishes = (
            self._head.fields.text(b"accept-encoding") if b"accept-encoding" in self._head.fields else None
        )
        return acceptable(wishes, coding)

    def _media_type(self, head: ResponseHead) -> str:
        return head.fields.text(b"content-type")

    def _is_fhir(self, media_type: str) -> bool:
        return answer_is_fhir(self._head, self.classified, media_type)

    def _is_metadata(self) -> bool:
        return self.classified.interaction is _CAPABILITIES

    def _location_down(self, value: bytes) -> bytes:
        return self._rules.url_map.location_down(value, self._local_base)

    def _link_down(self, value: bytes) -> bytes:
        return self._rules.url_map.link_down(value, self._local_base)


def failure(
    error: ProxyError,
    head: RequestHead,
    listener: Listener,
    attempts: int = 0,
    request_id: bytes = b"",
) -> tuple[ResponseHead, bytes]:
    """The answer to a request that failed here, in the format that the tool asked for."""
    answer, body = outcome(error, accept=head.fields.text(b"accept"), query=head.target.partition(b"?")[2])
    fields = answer.fields.adding(*id_lines(answer.fields, request_id))
    answer = replace(answer, fields=shared(fields, head.fields, listener))
    return _counted(answer, attempts), body


def _counted(head: ResponseHead, attempts: int) -> ResponseHead:
    """An answer that tells how often its request was sent, where that is more than once."""
    if attempts < 2:
        return head
    return replace(head, fields=head.fields.adding((ATTEMPTS_FIELD, b"%d" % attempts)))


def _mapped(fields: Fields, names: Collection[bytes], change: Callable[[bytes], bytes]) -> Fields:
    return Fields(
        tuple((name, change(value)) if name.lower() in names else (name, value) for name, value in fields)
    )


def _asks_for_untouched_bodies(fields: Fields) -> bool:
    """What the tool says about this one exchange; a wish that is not understood would break a signature."""
    if REWRITE_FIELD not in fields:
        return False
    wish = fields.text(REWRITE_FIELD)
    if wish.strip().lower() != "off":
        raise BadRequest(
            f"X-Fhir-Auth-Proxy-Rewrite is {wish[:40]!r}.",
            hint="Its only value is off; without the field the proxy does as it is set.",
        )
    return True


def _coding(fields: Fields) -> str:
    if b"content-encoding" not in fields.shape.places:
        return ""
    coding = fields.text(b"content-encoding").strip().lower()
    return "" if coding == "identity" else coding
