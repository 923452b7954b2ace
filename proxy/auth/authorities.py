"""Where a sign-in goes: the authority, from the configuration and from a server's challenge.

A challenge comes from outside. Obeyed blindly, it would let a hostile or hijacked server send a person to a
forged sign-in page, a secret to its own machine, or make us hand over a token for another service. So what is
configured always wins; a challenge is only a hint, read when nothing is configured, held to a list of hosts,
and never followed by an app's secret. What it says of the audience is quoted to a person and never used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from ..config import ServerConfig
from ..errors import AuthenticationFailed, ConfigError
from ..model import Challenge
from ..rules.challenges import bearer_parameter, one_line
from .clouds import AUTHORITY_HOSTS, SIGN_IN_HOSTS, Cloud, cloud_of
from .identities import APP_METHODS, configured

ORGANIZATIONS = "organizations"
"""Entra's word for "the home tenant of whoever signs in, with a work or school account"."""

SHARED_TENANTS = frozenset({"common", ORGANIZATIONS, "consumers"})
"""Words that stand in a tenant's place and name none; an app cannot sign in there (AADSTS50059, 90019)."""


AUTHORITY_PARAMETERS = ("authorization_uri", "authorization")
"""The second name is Key Vault's."""

# A domain of at least two labels, so that `common` and its like are none.
_DOMAIN = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}", re.IGNORECASE
)
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# No user name, no port but 443, nothing that URL parsers read in more than one way.
_HTTPS = re.compile(r"https://([a-z0-9.-]+)(?::443)?(?:/([^/?#\\\s]*)(?:[/?#].*)?)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Authority:
    """An Entra authority: `https://host/tenant`."""

    url: str
    tenant: str
    """GUID, domain name or one of SHARED_TENANTS."""
    discovered: bool = False
    """Whether a challenge named it; never where an app's secret is used."""
    wrong_cloud: str = field(default="", compare=False)
    """What to tell a person where the server is of another cloud than the sign-in; empty where it is not."""

    @property
    def cloud(self) -> Cloud | None:
        """The Microsoft cloud that it belongs to; None for any other authority."""
        return AUTHORITY_HOSTS.get(urlsplit(self.url).hostname or "")


def holds_secret(config: ServerConfig) -> bool:
    """Whether the sign-in is an app's, with a secret or another proof, and not a person's.

    A secret that stands ready while another method is named does not count.
    """
    methods = configured(config) if config.auth == "auto" else (config.auth,)
    return not APP_METHODS.isdisjoint(methods)


def authority(
    config: ServerConfig, challenges: Sequence[Challenge] = (), *, secret: bool | None = None
) -> Authority:
    """The authority to sign in at; `secret` says whether an app's secret will go there, where it is known.

    ConfigError where the settings leave it open or contradict one another, AuthenticationFailed where the
    challenge names an authority that is not Microsoft's or is of another cloud.
    """
    if secret is None:
        secret = holds_secret(config)
    chosen = _configured(config) or (None if secret else _hinted(config, challenges))
    if chosen is None:
        chosen = Authority(f"https://{_sign_in_host(config)}/{ORGANIZATIONS}", ORGANIZATIONS)
    if secret and chosen.tenant.lower() in SHARED_TENANTS:
        raise _tenant_needed(config, challenges)
    return replace(chosen, wrong_cloud=_wrong_cloud(config, chosen, challenges))


def asks_for_entra(config: ServerConfig, challenges: Sequence[Challenge]) -> bool:
    """Whether a 401 with these challenges is about Entra ID: by the settings, the host or a challenge."""
    known = bool(config.authority or config.tenant or config.authority_host or cloud_of(config.base_url.host))
    schemes = {challenge.scheme for challenge in challenges}
    if "bearer" in schemes:
        return known or bool(bearer_parameter(challenges, AUTHORITY_PARAMETERS))
    return known and not schemes  # not every gateway keeps the field


def is_tenant(text: str) -> bool:
    """Whether this is a tenant's GUID or a domain name."""
    return bool(_GUID.fullmatch(text) or _DOMAIN.fullmatch(text))


def _wrong_cloud(config: ServerConfig, chosen: Authority, challenges: Sequence[Challenge]) -> str:
    """Where the server's cloud, by its host or by its challenge, is not that of the sign-in."""
    host, named = config.base_url.host, _read(bearer_parameter(challenges, AUTHORITY_PARAMETERS))[0]
    server, signs_in = cloud_of(host) or AUTHORITY_HOSTS.get(named), chosen.cloud
    if server is None or signs_in is None or server is signs_in:
        return ""
    right = SIGN_IN_HOSTS[server]
    known_by = f"{host} is a service of" if cloud_of(host) else f"{host} sends sign-ins to {named},"
    way_out = (
        f"--authority https://{right}/{chosen.tenant}" if config.authority else f"--authority-host {right}"
    )
    return (
        f"{known_by} {server.value}, and {urlsplit(chosen.url).hostname} signs in to {signs_in.value}; use "
        f"{way_out}"
    )


def _configured(config: ServerConfig) -> Authority | None:
    if config.authority is not None:
        return _explicit(config)
    if config.tenant:
        return Authority(f"https://{_sign_in_host(config)}/{config.tenant}", config.tenant)
    return None


def _explicit(config: ServerConfig) -> Authority:
    """`--authority`, which is trusted as it stands."""
    assert config.authority is not None  # noqa: S101  its caller has looked
    if config.authority.scheme != "https":
        raise ConfigError(
            f"The authority {config.authority} is not https.", hint="MSAL signs in over https alone."
        )
    segments = [segment for segment in config.authority.path.split("/") if segment]
    if not segments and not config.tenant:
        raise ConfigError(
            f"The authority {config.authority} names no tenant.",
            hint=f"Write --authority {config.authority}/TENANT.",
        )
    if not segments:
        return Authority(f"{config.authority}/{config.tenant}", config.tenant)
    if config.tenant and config.tenant.lower() not in {segment.lower() for segment in segments}:
        raise ConfigError(
            f"The authority {config.authority} and the tenant {config.tenant!r} contradict each other.",
            hint="Leave out --tenant (or AZURE_TENANT_ID), or name the same tenant in --authority.",
        )
    return Authority(str(config.authority), config.tenant or segments[0])


def _sign_in_host(config: ServerConfig) -> str:
    """Microsoft's host to sign in at: as configured, otherwise that of the server's cloud."""
    if not config.authority_host:
        return SIGN_IN_HOSTS[cloud_of(config.base_url.host) or Cloud.PUBLIC]
    host = config.authority_host.removesuffix(":443")
    if host not in AUTHORITY_HOSTS:
        raise ConfigError(
            f"The authority host {config.authority_host!r} is not one of Microsoft's sign-in hosts.",
            hint=f"They are: {', '.join(AUTHORITY_HOSTS)}. Any other authority is named with --authority "
            "https://HOST/TENANT.",
        )
    return host


def _hinted(config: ServerConfig, challenges: Sequence[Challenge]) -> Authority | None:
    """The authority that a challenge names, rebuilt from its host and tenant alone; None if it names none."""
    uri = bearer_parameter(challenges, AUTHORITY_PARAMETERS)
    if not uri:
        return None
    host, tenant = _read(uri)
    cloud = AUTHORITY_HOSTS.get(host)
    if cloud is None:
        raise AuthenticationFailed(
            f"{config.base_url} sends sign-ins to {one_line(host or uri)!r}, which is not one of Microsoft's "
            "sign-in hosts. Nothing was sent there.",
            hint="If it is your organization's own authority, name it yourself: --authority "
            "https://HOST/TENANT. Otherwise name your tenant with --tenant, and ask the server's operator "
            "why it names that host.",
        )
    if config.authority_host and cloud is not (ours := AUTHORITY_HOSTS[_sign_in_host(config)]):
        raise AuthenticationFailed(
            f"{config.base_url} sends sign-ins to {host} ({cloud.value}), and {config.authority_host} "
            f"({ours.value}) is configured.",
            hint=f"Use --authority-host {SIGN_IN_HOSTS[cloud]}, or leave AZURE_AUTHORITY_HOST out. To stay "
            "with the configured host, name the tenant with --tenant.",
        )
    if not is_tenant(tenant):
        tenant = ORGANIZATIONS
    sign_in = _sign_in_host(config) if config.authority_host else SIGN_IN_HOSTS[cloud]
    return Authority(f"https://{sign_in}/{tenant}", tenant, discovered=True)


def _tenant_needed(config: ServerConfig, challenges: Sequence[Challenge]) -> ConfigError:
    """An app needs its tenant; which one the server named is told, for a person to judge."""
    host, tenant = _read(bearer_parameter(challenges, AUTHORITY_PARAMETERS))
    named = (
        f" The server named {tenant} at {host}; a secret is not sent to a tenant that nobody has configured."
        if host in AUTHORITY_HOSTS and is_tenant(tenant)
        else ""
    )
    return ConfigError(
        f"An app signs in to one tenant, and none is configured for {config.base_url}.{named}",
        hint="Set --tenant (or AZURE_TENANT_ID) to the GUID or domain name of the tenant that the server "
        "belongs to.",
    )


def _read(uri: str) -> tuple[str, str]:
    """Host and first path segment of an https URL on port 443; two empty strings for anything else."""
    match = _HTTPS.fullmatch(uri)
    return (match[1].lower(), match[2] or "") if match else ("", "")
