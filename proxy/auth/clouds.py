"""Microsoft's clouds: which sign-in hosts belong to each, and which FHIR services."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class Cloud(Enum):
    """A Microsoft cloud; its value is what people call it."""

    PUBLIC = "the Azure public cloud"
    US_GOVERNMENT = "Azure US Government"
    CHINA = "Azure China"
    GERMANY_CLOSED = "Microsoft Cloud Germany (closed in 2021)"
    FRANCE = "the sovereign cloud in France"
    GERMANY = "the sovereign cloud in Germany"
    SINGAPORE = "the sovereign cloud in Singapore"


# MSAL 1.39, msal.authority.WELL_KNOWN_AUTHORITY_HOSTS, which is not part of its documented interface.
# Compared whole: Microsoft's own old pages print login.window.net, which is not Microsoft's.
AUTHORITY_HOSTS: Mapping[str, Cloud] = MappingProxyType(
    {
        "login.microsoftonline.com": Cloud.PUBLIC,
        "login.microsoft.com": Cloud.PUBLIC,
        "login.windows.net": Cloud.PUBLIC,
        "sts.windows.net": Cloud.PUBLIC,
        "login.microsoftonline.us": Cloud.US_GOVERNMENT,
        "login.usgovcloudapi.net": Cloud.US_GOVERNMENT,
        "login-us.microsoftonline.com": Cloud.US_GOVERNMENT,
        "login.partner.microsoftonline.cn": Cloud.CHINA,
        "login.chinacloudapi.cn": Cloud.CHINA,
        "login.microsoftonline.de": Cloud.GERMANY_CLOSED,
        "login.sovcloud-identity.fr": Cloud.FRANCE,
        "login.sovcloud-identity.de": Cloud.GERMANY,
        "login.sovcloud-identity.sg": Cloud.SINGAPORE,
    }
)

SIGN_IN_HOSTS: Mapping[Cloud, str] = MappingProxyType(
    {cloud: next(host for host, of in AUTHORITY_HOSTS.items() if of is cloud) for cloud in Cloud}
)
"""The host of each cloud that a sign-in uses: the first listed, whichever alias a challenge names, so that
a person's accounts and tokens are found again."""

FHIR_HOST_SUFFIXES: Mapping[str, Cloud] = MappingProxyType(
    {
        ".azurehealthcareapis.com": Cloud.PUBLIC,
        ".azurehealthcareapis.us": Cloud.US_GOVERNMENT,
        ".azurehealthcareapis.cn": Cloud.CHINA,
    }
)
"""The hosts of Azure's managed FHIR services; all of them take tokens of their own cloud's Entra ID alone."""


def cloud_of(host: str) -> Cloud | None:
    """The cloud that runs a managed FHIR service, by its host; None for every other server."""
    return next((cloud for suffix, cloud in FHIR_HOST_SUFFIXES.items() if host.endswith(suffix)), None)
