"""The table of Entra ID's error numbers: data alone, which `aadsts` reads.

Numbers are those of Microsoft's page "Microsoft Entra authentication and authorization error codes", with a
few that are known from issue threads alone. One row explains one situation; what Entra adds in words changes
without notice and is never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class Actor(StrEnum):
    """Who has to act before a sign-in can succeed."""

    USER = "user"
    """Whoever signs in: again, differently, or as somebody else."""
    ADMINISTRATOR = "administrator"
    """Whoever may change the tenant: consent, accounts, policies."""
    OPERATOR = "operator"
    """Whoever runs this proxy: its settings or its app registration."""
    NETWORK = "network"
    """Nobody: it passes by itself."""


class Row(NamedTuple):
    """Numbers that mean the same situation, who ends it, its cause and its fix."""

    codes: tuple[int, ...]
    who: Actor
    cause: str
    fix: str


_Text = tuple[Actor, str, str]

_USER, _ADMIN, _OPERATOR, _NETWORK = Actor.USER, Actor.ADMINISTRATOR, Actor.OPERATOR, Actor.NETWORK

_REGISTRATION = "In the Azure portal, Microsoft Entra ID > App registrations > {client_id} > "
_ENTERPRISE = "In the Azure portal, Microsoft Entra ID > Enterprise applications > "

POWER_BI = "a672d62c-fc7b-4e81-a576-e60dc46e951d"
"""Power BI's own client id, which signs in for it where it reaches a FHIR server without this proxy (Microsoft,
"Power Query FHIR connector: authentication"); a server that serves both pre-authorizes both."""

_PREAUTHORIZE = (
    "the FHIR API's registration lists the app: App registrations > the FHIR API > Expose an API > Authorized "
    "client applications > Add a client application > {client_id} > user_impersonation (Power BI's own client "
    f"id, where it shall get in without this proxy, is {POWER_BI})."
)
"""How the owner of the API agrees for everybody, so that nobody is asked."""

# Who, cause and fix stand together like a paragraph, which the formatter would spread over seven lines a row.
# fmt: off
ROWS = (
    # Consent and permissions
    Row((65001, 650051, 90008), _ADMIN,
     "Nobody has agreed yet that the app {client_id} may use the FHIR API {audience}.",
     "Sign in once with --auth interactive and accept; or an administrator grants consent: " + _REGISTRATION +
     "API permissions > Grant admin consent; or " + _PREAUTHORIZE),
    Row((65004,), _USER,
     "The question whether the app {client_id} may use the FHIR API was answered with no.",
     "Sign in again and accept, or ask an administrator to consent for everybody."),
    Row((90094, 90095, 90093), _ADMIN,
     "The tenant lets only administrators agree to an app's permissions.",
     "Ask an administrator: " + _REGISTRATION + "API permissions > Grant admin consent."),
    Row((65002,), _OPERATOR,
     "The app {client_id} is Microsoft's own and is not cleared for the FHIR API {audience}.",
     "Register an app of your own, give it the API's permission user_impersonation, and name it with "
     "--client-id (AZURE_CLIENT_ID); or " + _PREAUTHORIZE),
    Row((650057, 65005, 650056), _OPERATOR,
     "The FHIR API {audience} is not among the permissions that the app {client_id} asks for.",
     _REGISTRATION + "API permissions > Add a permission > APIs my organization uses > the FHIR API > "
     "user_impersonation, then grant consent; or " + _PREAUTHORIZE),
    Row((650052, 650054), _ADMIN,
     "The tenant has no service for the FHIR API {audience}, or it was removed.",
     "Check --tenant and --audience; an administrator may have to enable the service: az ad sp create --id "
     "with the API's application id."),
    Row((90099,), _ADMIN,
     "The app {client_id} has not been approved in the tenant {tenant}.",
     "An administrator of that tenant grants consent to the app before a partner's account can use it."),
    Row((50105,), _ADMIN,
     "The account or app is not assigned to the enterprise application, which demands it.",
     _ENTERPRISE + "the FHIR API > Users and groups > Add; or Properties > Assignment required? > No."),
    # The FHIR API as a resource
    Row((500011, 50001), _OPERATOR,
     "The tenant {tenant} knows no resource by the name {audience}.",
     "Look for a wrong tenant (--tenant), a misspelt base URL or a slash too many; a server whose audience "
     "is not its base URL {base_url} needs --audience, as its administrator or its 401 (resource_id) says. In "
     "that tenant the audience has to be the Application ID URI of a registration: App registrations > the "
     "FHIR API > Expose an API > Application ID URI; and of an enterprise application, which az ad sp create "
     "--id with the API's application id makes."),
    Row((500014,), _ADMIN,
     "The FHIR API {audience} is switched off in the tenant.",
     _ENTERPRISE + "the FHIR API > Properties > Enabled for users to sign in? > Yes."),
    Row((70011, 28002, 28003, 700022, 700023), _OPERATOR,
     "The scope made from the audience {audience} is not one that Entra ID takes.",
     "Check --audience: one resource, as https://…, api://… or an application id, without a scope at its "
     "end."),
    Row((1002012,), _OPERATOR,
     "An app must ask for all its permissions at once, as {audience}/.default.",
     "Check --audience: it is the resource alone; the proxy adds /.default itself."),
    Row((90009,), _OPERATOR,
     "The app {client_id} asks for a token for itself, and its audience is not its GUID.",
     "Use the server's own application as --audience and another app as --client-id, or --audience "
     "{client_id}."),
    # The app
    Row((700016, 700011, 70001), _OPERATOR,
     "The tenant {tenant} has no app {client_id}.",
     "Check --client-id (AZURE_CLIENT_ID): the application id, not the object id; and --tenant "
     "(AZURE_TENANT_ID)."),
    Row((7000112, 1000031), _ADMIN,
     "The app {client_id} is switched off.",
     _ENTERPRISE + "{client_id} > Properties > Enabled for users to sign in? > Yes."),
    Row((7000215, 70002, 50012), _OPERATOR,
     "The app's secret or certificate is not one of the app {client_id}.",
     "Set AZURE_CLIENT_SECRET to the secret's Value, not its Secret ID; the portal shows it only once, "
     "right after it was made: " + _REGISTRATION + "Certificates & secrets."),
    Row((7000222,), _OPERATOR,
     "The secret of the app {client_id} has expired.",
     _REGISTRATION + "Certificates & secrets > New client secret; set AZURE_CLIENT_SECRET to its Value."),
    Row((7000218, 7000216), _OPERATOR,
     "The app {client_id} is registered as one with a secret, and a person's sign-in sends none.",
     _REGISTRATION + "Authentication > Allow public client flows > Yes, with http://localhost under Mobile "
     "and desktop applications."),
    Row((700025,), _OPERATOR,
     "The app {client_id} is registered without secrets, and one was sent.",
     "Use --auth interactive or device-code without AZURE_CLIENT_SECRET, or an app with a secret."),
    Row((700027, 700030, 50048), _OPERATOR,
     "The signature does not belong to a certificate of the app {client_id}.",
     _REGISTRATION + "Certificates & secrets > Certificates > Upload the one that is used here."),
    Row((700024, 50013, 500133), _OPERATOR,
     "The app's signed statement is not valid at this time.",
     "Set the clock of this machine; a federated token must be renewed by whatever writes its file."),
    Row((70021, 700211, 700212, 700213, 700229), _OPERATOR,
     "No federated credential of the app {client_id} fits the token of this workload.",
     _REGISTRATION + "Certificates & secrets > Federated credentials: compare issuer, subject and audience "
     "(api://AzureADTokenExchange), letter by letter."),
    Row((70003, 70005, 700054), _OPERATOR,
     "The app {client_id} does not allow this way to sign in.",
     _REGISTRATION + "Authentication > Allow public client flows > Yes; or take another --auth."),
    Row((50011, 70004, 500112, 500113, 900971), _OPERATOR,
     "The app {client_id} does not know the address to which the browser returns.",
     _REGISTRATION + "Authentication > Add a platform > Mobile and desktop applications > http://localhost "
     "(any port counts)."),
    Row((500117,), _OPERATOR,
     "The address to which the browser returns is of a kind that Entra ID does not take.",
     _REGISTRATION + "Authentication: have http://localhost under Mobile and desktop applications, not "
     "under Web."),
    Row((9002325, 9002326, 9002327, 700084), _OPERATOR,
     "The app's redirect address is registered for web pages, whose sign-ins end after 24 hours.",
     _REGISTRATION + "Authentication: move http://localhost from Single-page application to Mobile and "
     "desktop applications, then sign in again."),
    Row((70007,), _OPERATOR,
     "The app {client_id} refuses the way in which the browser hands back its answer.",
     "The proxy uses form_post; check the app's registration, or take --auth device-code."),
    Row((9002332, 90130), _OPERATOR,
     "The app {client_id} is for work and school accounts.",
     "Name your organization's tenant with --tenant, never `consumers`."),
    Row((9002346,), _OPERATOR,
     "The app {client_id} is for personal Microsoft accounts alone.",
     "Use an app of your organization: " + _REGISTRATION + "Authentication > Supported account types."),
    # The tenant and its cloud
    Row((90002, 900023, 50059, 50128, 90019), _OPERATOR,
     "Entra ID does not find the tenant {tenant} in this cloud.",
     "Check --tenant (AZURE_TENANT_ID); for another cloud than the public one, --authority-host "
     "(AZURE_AUTHORITY_HOST), such as login.microsoftonline.us."),
    Row((90038, 900382, 900432, 90043, 90051, 50049, 1000104), _OPERATOR,
     "The tenant {tenant} belongs to another Microsoft cloud than the sign-in host.",
     "Set --authority-host (AZURE_AUTHORITY_HOST) to that cloud's: login.microsoftonline.us or "
     "login.partner.microsoftonline.cn."),
    Row((50194,), _OPERATOR,
     "The app {client_id} belongs to one tenant, and none was named.",
     "Name its tenant with --tenant (AZURE_TENANT_ID)."),
    Row((90124, 9001023), _OPERATOR,
     "The FHIR API or this way to sign in does not work without a tenant.",
     "Name the tenant with --tenant (AZURE_TENANT_ID), not `common` or `consumers`."),
    Row((700005,), _USER,
     "The sign-in was made in another tenant than it was begun for.",
     "Sign in again; name the tenant with --tenant if it recurs."),
    # The account
    Row((50020, 50034, 51004, 90072, 16000, 16003, 50014, 50197), _USER,
     "The account that signed in does not exist in the tenant {tenant}.",
     "Sign in with an account of that tenant, or be invited there as a guest and name it with --tenant."),
    Row((16001, 16002, 160021), _USER,
     "The chosen account was not one of those that could be used.",
     "Sign in again and choose the account with which you may use the FHIR server."),
    Row((500208, 90027), _USER,
     "A personal Microsoft account cannot be used here.",
     "Sign in with a work or school account."),
    Row((500212,), _ADMIN,
     "Your organization does not let its accounts into the tenant {tenant}.",
     "Ask your administrator: External Identities > Cross-tenant access settings > Outbound access."),
    Row((500213,), _ADMIN,
     "The tenant {tenant} does not let accounts of your organization in.",
     "Ask its administrator: External Identities > Cross-tenant access settings > Inbound access."),
    Row((500021, 500022, 50002), _ADMIN,
     "Your network allows sign-ins to certain tenants only, and {tenant} is not among them.",
     "Ask whoever runs the network's web proxy to add the tenant to its tenant restrictions."),
    Row((50126, 50056, 50064), _USER,
     "User name or password is wrong.",
     "Sign in again."),
    Row((50055, 50144, 50125, 50135), _USER,
     "The password has expired or has to be changed.",
     "Sign in at https://myaccount.microsoft.com, change it, then sign in here again."),
    Row((50057,), _ADMIN,
     "The account is switched off.",
     "Ask an administrator to enable it: Microsoft Entra ID > Users > the account > Account status."),
    Row((50053, 53011, 530034), _ADMIN,
     "The account is locked, or blocked as a risk.",
     "Wait some minutes and sign in again; if it lasts, ask an administrator to unblock it (Sign-in logs "
     "say why)."),
    Row((500341,), _ADMIN,
     "The account has been deleted.",
     "Sign in with another account, or ask an administrator to restore it."),
    # What the tenant's policies demand
    Row((50076, 50074, 50078, 50158, 500121), _USER,
     "A second factor is needed, and it was not given or is too old.",
     "Sign in with --auth interactive and confirm; a device code may not be enough."),
    Row((50079, 50072, 53004, 53010), _USER,
     "The account needs a second factor, and none is set up.",
     "Set one up at https://aka.ms/mfasetup, then sign in again."),
    Row((50058, 700020, 50089, 50085, 50140, 50199, 51006), _USER,
     "Entra ID needs the person for this sign-in.",
     "Sign in again with --auth interactive."),
    Row((53003, 530032, 50131, 530035), _ADMIN,
     "A Conditional Access policy blocks this sign-in.",
     "Take the browser instead of a device code (--auth interactive), on a managed device; otherwise ask an "
     "administrator, who sees the policy in Sign-in logs > Conditional Access."),
    Row((53000, 53001, 50097, 50129, 50155, 50187, 135011, 50127), _ADMIN,
     "The policy lets in only devices that the organization manages, and this one was not recognized.",
     "Sign in with --auth interactive in the browser of a managed device; otherwise ask an administrator."),
    Row((53002,), _ADMIN,
     "The policy lets in only approved apps, and {client_id} is not one.",
     "Ask an administrator to approve the app in the Conditional Access policy."),
    Row((50005,), _ADMIN,
     "The policy does not support this operating system.",
     "Sign in on another machine, or ask an administrator."),
    Row((530036,), _USER,
     "A policy ended this sign-in because it began with a device code.",
     "Sign in again in the browser (--auth interactive), or ask an administrator to exempt the app from the "
     "policy's authentication flows."),
    Row((70043, 70044), _USER,
     "The tenant demands a new sign-in after a time, which is over.",
     "Sign in again."),
    # Sign-ins that end, and those that never began
    Row((70008, 700082), _USER,
     "The sign-in has expired, since it was not used for a long time.",
     "Sign in again."),
    Row((50173, 50132, 50133, 70000, 9002341), _USER,
     "The sign-in was revoked, or the password has changed since.",
     "Sign in again."),
    Row((70016,), _USER,
     "The sign-in with the device code is not finished.",
     "Open the link that the proxy shows and enter the code."),
    Row((70018, 90119), _USER,
     "The device code was not entered as shown.",
     "Start the sign-in again and enter the new code."),
    Row((70019, 90120, 50134), _USER,
     "The device code is used up or expired after 15 minutes.",
     "Start the sign-in again and enter the new code."),
    Row((54005, 501481, 50147, 501491), _USER,
     "The browser's answer was used twice, or belongs to another sign-in.",
     "Close the tab and start the sign-in again."),
    # What the proxy did wrong
    Row((90013, 90014, 900144, 9002313, 90100, 90023, 90004, 901002), _OPERATOR,
     "Entra ID could not read the request.",
     "Check --client-id, --tenant and --audience for stray characters; if they are right, please report it."),
    # What passes by itself
    Row((50196,), _NETWORK,
     "Entra ID saw the same request too often in a short time.",
     "Wait some minutes. Several proxies with one account can cause it; otherwise please report it."),
    Row((90055, 50088, 50166), _NETWORK,
     "The tenant makes more sign-ins than Entra ID allows.",
     "The proxy tries again by itself."),
    Row((50033, 50000, 50087, 90006, 90012, 90024, 90033, 90090, 90091, 70012), _NETWORK,
     "Entra ID has a disturbance.",
     "The proxy tries again by itself; https://azure.status.microsoft tells of large disturbances."),
    Row((80001, 80002, 80005, 80007, 80010, 80014), _ADMIN,
     "Entra ID cannot reach the organization's own directory to check the password.",
     "Try again later; an administrator looks at the pass-through authentication agents."),
)

BY_SUBERROR: Mapping[str, _Text] = MappingProxyType({
    "bad_token": (_USER, "The sign-in is no longer valid.", "Sign in again."),
    "token_expired": (_USER, "The sign-in has expired.", "Sign in again."),
    "basic_action": (_USER, "Entra ID needs the person for this sign-in.",
                     "Sign in with --auth interactive."),
    "additional_action": (_ADMIN, "A policy of the tenant has to be met first.",
                          "Sign in with --auth interactive on a managed device, or ask an administrator."),
    "message_only": (_ADMIN, "A policy of the tenant blocks this sign-in.",
                     "Sign in with --auth interactive to read why, or ask an administrator."),
    "consent_required": (_ADMIN, "Nobody has agreed yet that the app {client_id} may use {audience}.",
                         "Sign in with --auth interactive and accept, or ask an administrator to consent."),
    "user_password_expired": (_USER, "The password has expired.", "Change it, then sign in again."),
    "device_authentication_failed": (_ADMIN, "The device was not recognized as a managed one.",
                                     "Sign in on a managed device, or ask an administrator."),
    "protection_policy_required": (_ADMIN, "A policy wants this app to be managed (Intune).",
                                   "Ask an administrator to exempt the app {client_id}."),
})
"""Entra's own refinement of an error, from Microsoft's MSAL documentation."""

BY_ERROR: Mapping[str, _Text] = MappingProxyType({
    "interaction_required": (_USER, "Entra ID needs the person for this sign-in.",
                             "Sign in with --auth interactive."),
    "login_required": (_USER, "Nobody is signed in.", "Sign in."),
    "consent_required": BY_SUBERROR["consent_required"],
    "invalid_grant": (_USER, "The sign-in is no longer valid.", "Sign in again."),
    "access_denied": (_USER, "The sign-in was cancelled or refused.", "Sign in again and accept."),
    "authorization_declined": (_USER, "The sign-in was declined.", "Sign in again and accept."),
    "authorization_pending": (_USER, "The sign-in is not finished.", "Finish it on the page that was shown."),
    "expired_token": (_USER, "The device code has expired.", "Start the sign-in again."),
    "bad_verification_code": (_USER, "The device code is not valid.", "Start the sign-in again."),
    "invalid_client": (_OPERATOR, "The secret or certificate is not one of the app {client_id}.",
                       "Check --client-id and AZURE_CLIENT_SECRET."),
    "unauthorized_client": (_OPERATOR, "The app {client_id} may not sign in this way, or not in this tenant.",
                            "Check --client-id, --tenant and the app's registration."),
    "unsupported_grant_type": (_OPERATOR, "The authority does not support this way to sign in.",
                               "Check --authority, or take another --auth."),
    "unsupported_response_type": (_OPERATOR, "The app {client_id} does not allow a sign-in by browser.",
                                  "Check the app's registration, or take another --auth."),
    "invalid_scope": (_OPERATOR, "The scope made from the audience {audience} is not one that can be had.",
                      "Check --audience."),
    "invalid_resource": (_OPERATOR, "The tenant knows no resource by the name {audience}.",
                         "Check --audience and --tenant."),
    "invalid_request": (_OPERATOR, "Entra ID could not read the request.",
                        "Check --client-id, --tenant and --audience."),
    "temporarily_unavailable": (_NETWORK, "Entra ID is overloaded.", "The proxy tries again by itself."),
    "server_error": (_NETWORK, "Entra ID has a disturbance.", "The proxy tries again by itself."),
    "slow_down": (_NETWORK, "Entra ID asks for more time between requests.",
                  "The proxy tries again by itself."),
})
"""RFC 6749 sections 4.1.2.1 and 5.2, RFC 8628 section 3.5, OpenID Connect Core 3.1.2.6, and Entra's own."""

UNKNOWN: _Text = (
    _ADMIN, "Entra ID refuses the sign-in.",
    "Read the page on its number, or give the trace id to an administrator, who finds it in Sign-in logs.",
)
# fmt: on

BY_CODE: Mapping[int, _Text] = MappingProxyType(
    {code: (row.who, row.cause, row.fix) for row in ROWS for code in row.codes}
)

# Azure Storage's application id, and the id of its only delegated permission.
_STORAGE_CONSENT: _Text = (
    _ADMIN,
    "Nobody has agreed yet that the app {client_id} may use Azure Storage, where the files of exports lie.",
    (
        "An administrator gives it the API permission Azure Storage > user_impersonation: az ad app permission "
        "add --id {client_id} --api e406a681-f3d4-42a8-90b6-c2b029497af1 --api-permissions "
        "03e0da56-190b-40ad-a80c-ea378c433f7f=Scope, then az ad app permission admin-consent --id {client_id}"
    ),
)
STORAGE_BY_CODE: Mapping[int, _Text] = MappingProxyType(
    dict.fromkeys((65001, 65005, 650051, 650056, 650057, 90008), _STORAGE_CONSENT)
)
"""What is said otherwise where the token was to be for storage accounts."""
