"""Every failure that the proxy itself can tell: its status, its FHIR issue code, the way out.

They are sorted by who must act. What the upstream answers, 4xx and 5xx too, is its own answer and is not
an error of the proxy. Issue codes are those of FHIR's IssueType (http://hl7.org/fhir/issue-type).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class ProxyError(Exception):
    """A failure that the proxy answers for.

    `message` says what happened and names the thing and its value, `hint` what to do about it. Neither ever
    holds a secret, a token or patient data, since both are logged and sent to the tool.
    """

    status: ClassVar[int] = 500
    issue_code: ClassVar[str] = "exception"
    ends_connection: ClassVar[bool] = False
    """Whether the tool's connection may not be read any further."""

    def __init__(self, message: str, *, hint: str = "", retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry_after = retry_after
        """Seconds until another try makes sense (RFC 9110 section 10.2.3), None where nobody can tell."""


class InternalError(ProxyError):
    """The proxy's own fault; its log says where."""


class ConfigError(ProxyError):
    """The operator must act: a setting is missing, wrong, or in conflict with another."""

    @classmethod
    def joined(cls, errors: Sequence[ConfigError]) -> ConfigError:
        """Several as one, a line each; one alone stays what it is."""
        if len(errors) == 1:
            return errors[0]
        return cls("\n".join(f"{error.message} {error.hint}".strip() for error in errors))


class RequestRefused(ProxyError):
    """The client must act: the request is one that this proxy never forwards."""

    status = 403
    issue_code = "forbidden"


class BadRequest(RequestRefused):
    """The request is not one that HTTP or FHIR allows, so where it ends is in doubt (RFC 9112 section 6.1)."""

    status = 400
    issue_code = "structure"
    ends_connection = True


class NotFound(RequestRefused):
    """What the request names is hidden by this proxy, or is not in the storage account that it names."""

    status = 404
    issue_code = "not-found"


class MethodNotAllowed(RequestRefused):
    """The method is not one that FHIR uses."""

    status = 405
    issue_code = "not-supported"


class UploadTimeout(RequestRefused):
    """The client has stopped in the middle of its body (RFC 9110 section 15.5.9)."""

    status = 408
    issue_code = "timeout"


class BodyTooLarge(RequestRefused):
    """The body is larger than the configured bound."""

    status = 413
    issue_code = "too-long"


class TargetTooLong(RequestRefused):
    """The request target is longer than the proxy takes."""

    status = 414
    issue_code = "too-long"


class CodingNotSupported(RequestRefused):
    """The body's content coding is one that the proxy has to read and cannot (RFC 9110 section 15.5.16)."""

    status = 415
    issue_code = "not-supported"


class Misdirected(RequestRefused):
    """The `Host` names another server (RFC 9110 section 15.5.20)."""

    status = 421
    issue_code = "forbidden"


class FieldsTooLarge(RequestRefused):
    """The header section is larger than the proxy takes (RFC 6585 section 5)."""

    status = 431
    issue_code = "too-long"


class SignInRequired(ProxyError):
    """The signed-in user must act: a person has to sign in, and none has."""

    status = 503
    issue_code = "login"


class AuthenticationFailed(ProxyError):
    """The administrator must act: Entra ID, or the server after a sign-in, says no.

    Answered as 502 and never as 401: a tool that sees a 401 starts a sign-in of its own.
    """

    status = 502
    issue_code = "login"


class StorageForbidden(AuthenticationFailed):
    """The administrator must act: a storage account does not let the signed-in identity read."""

    status = 403
    issue_code = "forbidden"


class UpstreamUnreachable(ProxyError):
    """The network: no connection to the server, or one that broke before its answer."""

    status = 502
    issue_code = "transient"


class UpstreamProtocolError(ProxyError):
    """The server's answer is not valid HTTP/1.1, or not one that can be passed on safely."""

    status = 502
    issue_code = "exception"


class UpstreamTimeout(ProxyError):
    """The network: the server did not answer in time."""

    status = 504
    issue_code = "timeout"


class IdentityProviderUnavailable(ProxyError):
    """The network: Entra ID cannot be reached or asks for patience, and no valid token is left."""

    status = 503
    issue_code = "transient"


class ProxyUnavailable(ProxyError):
    """The proxy itself: it is stopping, or at its bounds."""

    status = 503
    issue_code = "transient"
