"""The decisions about a file in a storage account that the settings name, and which exchanges are for one.

The account gets as little as it needs: a few fields, and a token of its own or, where the URL is signed, none.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from ..errors import BadRequest, InternalError, MethodNotAllowed, RequestRefused
from ..model import Classified, Credentials, Fields, Interaction, Rejection, RequestHead, ResponseHead
from .bodies import BodyPath
from .exchange import Exchange, ServerRules
from .headers import request_fields
from .storage_refusals import refusal

STORAGE_VERSION: Final = b"2020-04-08"
"""`x-ms-version`, without which an account takes no bearer token; they came with 2017-11-09 (Microsoft,
"Authorize with Microsoft Entra ID")."""

_METHODS: Final = frozenset({"GET", "HEAD"})

_TO_STORAGE: Final = frozenset(
    {  # what "Get Blob" understands (Microsoft, Blob service REST API); audit fields of FHIR stay here
        b"accept",
        b"accept-encoding",
        b"host",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"range",
        b"user-agent",
    }
)

_NO_FILE: Final = frozenset({"comp", "restype"})
"""Parameters that ask for something else than a file's content: lists, properties, permissions."""

_SIGNATURE: Final = "sig"
"""The parameter of every shared access signature (Microsoft, "Create a service SAS")."""

_UNTOLD_TYPES: Final = frozenset({"", "application/octet-stream"})
"""What an account says of a file whose writer has not named its type."""


def exchange_of(head: RequestHead, rules: ServerRules, request_id: bytes = b"") -> Exchange:
    """The exchange that a request begins: with the server, or with a storage account.

    RequestRefused means that nothing may be sent.
    """
    if rules.config.export_storage:
        _, target = rules.listener.without_key(head.target)
        if rules.url_map.storage_target(target) is not None:
            return StorageExchange(head, rules, request_id)
    return Exchange(head, rules, request_id)


class StorageExchange(Exchange):
    """One request for a file in a storage account and its answer."""

    _is_for_storage = True

    def _address(self, target: bytes) -> bytes:
        """Find out which file is meant; RequestRefused for what is none of a listed account."""
        found = self._rules.url_map.storage_target(target)
        if found is None or found.account not in self._rules.config.export_storage:
            raise RequestRefused(
                "The storage account in the path is not one whose files this proxy serves.",
                hint="Name its host in the setting export_storage, as in account.blob.core.windows.net.",
            )
        if self._head.method not in _METHODS:
            raise MethodNotAllowed(
                "Files in a storage account can be read here, and nothing else.", hint="Use GET or HEAD."
            )
        if self._head.body_exists:
            raise BadRequest("A request for a file has no body.")
        path, _, query = found.target.partition(b"?")
        names = {name.lower() for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)}
        if path == b"/" or names & _NO_FILE:
            raise RequestRefused(
                "Files in a storage account can be read here, and nothing else.",
                hint="Take the URLs as they are in the server's list of files.",
            )
        self.account = found.account
        self.needs_credentials = _SIGNATURE not in names
        self._target = found.target
        self.classified = Classified(Interaction.FILE)
        return found.mount

    @property
    def _path(self) -> bytes:
        """The path of the file, which begins with its container."""
        return self._target.partition(b"?")[0]

    def check(self, credentials: Credentials | None) -> None:
        """Nothing more: an account is reached over https alone."""

    def request_path(self) -> BodyPath | None:
        """None: there is no body."""
        return None

    def upstream_request(self, credentials: Credentials | None, *, length: int | None) -> RequestHead:  # noqa: ARG002
        """The request as the account gets it."""
        self._take(credentials)
        if credentials is not None and not self.needs_credentials:
            raise InternalError("A signed URL was to be sent with a token.")
        fields = request_fields(
            self._head.fields, host=self.account.encode("ascii"), keep_authorization=False
        )
        lines = [line for line in fields.lines if line[0].lower() in _TO_STORAGE]
        lines.append((b"x-ms-version", STORAGE_VERSION))
        request_id = self._head.fields.get(b"x-request-id") or self._request_id
        if request_id:
            lines.append((b"x-ms-client-request-id", request_id))
        if credentials is not None:
            lines.append((b"Authorization", credentials.authorization))
        return RequestHead(self._head.method, self._target, Fields(tuple(lines)))

    def rejection(self, head: ResponseHead) -> Rejection | None:
        """What to tell the authenticator about the first 401 to a token."""
        return None if self._credentials is None or self._is_renewed else super().rejection(head)

    def client_response(self, head: ResponseHead) -> tuple[ResponseHead, BodyPath | None]:
        """The answer as the tool gets it; a ProxyError explains one that gives no file."""
        error = refusal(self.account, head, is_signed=not self.needs_credentials)
        if error is not None:
            raise error
        return super().client_response(head)

    def _media_type(self, head: ResponseHead) -> str:
        media_type = super()._media_type(head)
        is_untold = media_type.partition(";")[0].strip().lower() in _UNTOLD_TYPES
        return "application/fhir+ndjson" if is_untold and self._path.endswith(b".ndjson") else media_type

    def _is_fhir(self, media_type: str) -> bool:
        """Whether the file is one of an export: all others are somebody's document, and pass as they are."""
        return media_type.partition(";")[0].strip().lower().endswith("ndjson")
