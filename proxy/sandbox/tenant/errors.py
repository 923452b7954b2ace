"""The errors of Entra ID, in the shape in which Entra tells them.

Codes and causes: Microsoft, "Microsoft Entra authentication and authorization error codes". The texts say the
same in words of our own: programs must match on the codes, never on the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

ERROR_PAGE = "https://login.microsoftonline.com/error?code="
"""Where Microsoft explains each code."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The OAuth error of a code (RFC 6749 section 5.2), its text, its HTTP status and Entra's suberror."""

    error: str
    text: str
    status: int = 400
    suberror: str = ""


def _invalid_client(text: str) -> Kind:
    return Kind("invalid_client", text, 401)


def _invalid_grant(text: str, suberror: str = "") -> Kind:
    return Kind("invalid_grant", text, suberror=suberror)


def _interaction(text: str, suberror: str = "basic_action") -> Kind:
    return Kind("interaction_required", text, suberror=suberror)


KINDS: dict[int, Kind] = {
    # The request itself.
    900144: Kind("invalid_request", "The request must contain the parameter '{}'."),
    9002313: Kind("invalid_request", "Invalid request. The request is malformed or invalid: {}."),
    70003: Kind("unsupported_grant_type", "The application asked for the grant type '{}', it may not."),
    70005: Kind("unsupported_response_type", "The response type '{}' is not supported."),
    70007: Kind("invalid_request", "'{}' is not a supported value of response_mode."),
    50011: Kind(
        "invalid_request", "The redirect URI '{}' matches none of the application's registered ones."
    ),
    500112: _invalid_grant("The redirect URI '{}' is not the one with which the code was requested."),
    500117: Kind("invalid_request", "The redirect URI '{}' does not have a secure scheme."),
    50149: Kind("invalid_request", "Invalid code_challenge_method '{}': only S256 is taken."),
    501491: Kind("invalid_request", "Invalid size of the code_challenge parameter."),
    9002325: Kind("invalid_request", "Proof Key for Code Exchange is required to redeem the code."),
    50196: _invalid_grant("The server ended the operation since it met a client request loop."),
    # Tenant.
    90002: Kind(
        "invalid_request", "Tenant '{}' not found. Check that you have the right tenant id and cloud."
    ),
    90038: Kind("invalid_request", "Tenant '{}' belongs to another national cloud."),
    900382: Kind("invalid_request", "A confidential client cannot reach into another cloud."),
    50059: Kind("invalid_request", "No tenant-identifying information found in the request."),
    90019: Kind("invalid_request", "No tenant-identifying information found in the request."),
    50194: Kind("invalid_request", "Application '{}' is not multi-tenant. Use a tenant-specific endpoint."),
    90124: Kind("invalid_request", "Resource '{}' is not supported over /common or /consumers."),
    9001023: Kind("invalid_request", "The grant type is not supported over /common or /consumers."),
    # Client.
    700016: Kind("unauthorized_client", "Application with identifier '{}' was not found in the directory."),
    700025: _invalid_client("Client '{}' is public: neither client_assertion nor client_secret may be sent."),
    7000215: _invalid_client("Invalid client secret provided for '{}'. Send the secret value, not its id."),
    7000216: _invalid_client("client_assertion or client_secret is required for this grant type."),
    7000218: _invalid_client("The request body must contain client_assertion or client_secret."),
    7000222: _invalid_client("The client secret keys provided for '{}' are expired."),
    700021: _invalid_client("The client assertion's application identifier doesn't match '{}'."),
    700023: _invalid_client("The client assertion's audience '{}' is not this tenant's token endpoint."),
    700024: _invalid_client("The client assertion is not within its valid time range: {}."),
    700027: _invalid_client("The client assertion could not be verified: {}."),
    50013: _invalid_client("The assertion is not valid: {}."),
    700211: _invalid_client("No matching federated identity record found for assertion issuer '{}'."),
    700212: _invalid_client("No matching federated identity record found for assertion audience '{}'."),
    700213: _invalid_client("No matching federated identity record found for assertion subject '{}'."),
    70021: _invalid_client("No matching federated identity record found for the assertion."),
    # Scope and resource.
    70011: Kind("invalid_scope", "The scope '{}' is not valid."),
    28002: Kind("invalid_scope", "The scope '{}' is not valid when an access token is requested."),
    700022: Kind("invalid_scope", "The scope '{}' holds more than one resource."),
    650053: Kind(
        "invalid_scope", "The application asked for the scope '{}', which the resource doesn't have."
    ),
    1002012: Kind("invalid_scope", "The scope '{}' must end in /.default with the client credentials grant."),
    500011: Kind("invalid_resource", "The resource principal named '{}' was not found in the tenant."),
    650057: Kind("invalid_resource", "The resource '{}' is not listed in the application's permissions."),
    65005: Kind("invalid_resource", "The application needs access to '{}' and has not listed it."),
    # Consent and assignment.
    65001: _invalid_grant("No user or administrator has consented to application '{}'.", "consent_required"),
    65002: _invalid_grant("Application '{}' must be pre-authorized by the owner of the API."),
    65004: Kind(
        "access_denied", "The user declined to consent to access the application.", suberror="cancel"
    ),
    90094: Kind("access_denied", "Administrator consent is needed for '{}'."),
    50105: _invalid_grant("The user '{}' is not assigned to a role for the application."),
    501051: _invalid_grant("Application '{}' is not assigned to a role for the resource."),
    # Account.
    50020: Kind("invalid_request", "User account '{}' does not exist in the tenant and is no guest there."),
    500200: Kind("invalid_request", "User account '{}' is a personal account, which is not supported here."),
    500208: Kind("invalid_request", "The domain of '{}' is not a valid login domain for the account type."),
    500212: Kind("access_denied", "The home tenant's outbound policy blocks '{}'."),
    500213: Kind("access_denied", "The resource tenant's inbound policy blocks '{}'."),
    50014: Kind("invalid_request", "The guest user '{}' is not ready yet."),
    50034: Kind("invalid_request", "The user account '{}' does not exist. Sign in with another account."),
    50053: _invalid_grant("The account '{}' is locked after too many sign-ins."),
    50055: _invalid_grant("The password of '{}' is expired.", "user_password_expired"),
    50057: _invalid_grant("The user account '{}' is disabled."),
    50058: Kind("login_required", "A silent sign-in request was sent but no user is signed in."),
    50126: _invalid_grant("Invalid user name or password."),
    51004: Kind("invalid_request", "The user account '{}' does not exist in the directory."),
    90072: Kind("invalid_request", "User account '{}' from an external provider is not in the tenant."),
    16000: _interaction("Several or unknown identities: choose an account, '{}' is not in the tenant."),
    # Conditional Access and multi-factor authentication.
    50072: _interaction("'{}' must enrol in multi-factor authentication."),
    50074: _interaction("Strong authentication is required of '{}'."),
    50076: _interaction("'{}' must use multi-factor authentication to access the resource."),
    50078: _interaction("The multi-factor authentication of '{}' has expired."),
    50079: _interaction("'{}' must enrol in multi-factor authentication."),
    50005: _interaction("'{}' signed in from a platform that Conditional Access does not support."),
    50097: _interaction("Device authentication is required."),
    53000: _interaction("The device must be compliant.", "additional_action"),
    53001: _interaction("The device must be joined to the domain.", "additional_action"),
    53002: _interaction("The application is not an approved one for Conditional Access."),
    53003: _interaction("Conditional Access policies block '{}'.", "message_only"),
    530032: _interaction("A security policy of the tenant blocks '{}'.", "message_only"),
    530036: _invalid_grant("The refresh token is refused by a check of authentication flows.", "bad_token"),
    # Codes, device codes and refresh tokens.
    54005: _invalid_grant("The authorization code was already redeemed. Retry with a new one."),
    501481: _invalid_grant("The code_verifier does not match the code_challenge of the request."),
    70000: _invalid_grant(
        "The provided grant is invalid, expired, revoked or was already used.", "bad_token"
    ),
    70008: _invalid_grant("The authorization code or refresh token has expired due to inactivity."),
    70043: _invalid_grant("The refresh token has expired by the sign-in frequency policy.", "bad_token"),
    700082: _invalid_grant("The refresh token has expired due to inactivity.", "bad_token"),
    700084: _invalid_grant("The refresh token was issued to a single page application and has expired."),
    50173: _invalid_grant(
        "The grant was revoked: a fresh one is needed, the user must sign in again.", "bad_token"
    ),
    50132: _invalid_grant("The session is not valid: the password has expired or was changed.", "bad_token"),
    50133: _invalid_grant("The session is not valid: the password has expired or was changed.", "bad_token"),
    70016: Kind("authorization_pending", "The user has not yet signed in. Continue polling."),
    70018: Kind("bad_verification_code", "The code is wrong or was used already."),
    70019: Kind("expired_token", "The verification code has expired."),
    90119: Kind("invalid_request", "The user code is null or empty."),
    # Transient.
    50033: Kind("temporarily_unavailable", "A retryable error has occurred.", 503),
    90006: Kind("temporarily_unavailable", "The service is temporarily unavailable.", 503),
    90033: Kind("temporarily_unavailable", "A transient error has occurred. Please try again.", 503),
    90055: Kind("temporarily_unavailable", "The tenant is throttled: too many requests.", 429),
}


OTHER_KIND = Kind("invalid_request", "The request for '{}' was refused.")
"""What the tenant says under a code that it has no reason of its own for, when a fault asks for it."""


class EntraError(Exception):
    """A refusal of the tenant: its AADSTS code and what it is about (an application, a user, a URI)."""

    def __init__(self, code: int, subject: str = "(none)", *, error: str = "") -> None:
        super().__init__(f"AADSTS{code}")
        self.code = code
        self.kind = KINDS.get(code, OTHER_KIND)
        self.error = error or self.kind.error
        """The OAuth error; the device code grant tells some codes under errors of its own."""
        self.text = f"AADSTS{code}: {self.kind.text.replace('{}', subject)}"
        """The code and its text, without the lines of identifiers that follow it in an answer."""

    def answer(self, now: float, correlation_id: str = "") -> dict[str, object]:
        """The body of a token endpoint's refusal; `now` is in seconds since the epoch."""
        timestamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        trace_id, correlation_id = str(uuid4()), correlation_id or str(uuid4())
        lines = (
            self.text,
            f"Trace ID: {trace_id}",
            f"Correlation ID: {correlation_id}",
            f"Timestamp: {timestamp}",
        )
        answer: dict[str, object] = {
            "error": self.error,
            "error_description": "\r\n".join(lines),
            "error_codes": [self.code],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": f"{ERROR_PAGE}{self.code}",
        }
        return answer | ({"suberror": self.kind.suberror} if self.kind.suberror else {})
