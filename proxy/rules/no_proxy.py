"""Which servers NO_PROXY takes out of the corporate proxy: the same for the FHIR server and for Entra ID."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network


def excluded_hosts(environment: Mapping[str, str]) -> str:
    """What NO_PROXY says; the lower case counts first, as for curl."""
    return environment.get("no_proxy") or environment.get("NO_PROXY") or ""


def is_excluded(host: str, port: int, patterns: str) -> bool:
    """Whether NO_PROXY names a server: `*`, a host, a domain with all below it, an address, a CIDR range.

    Host and domain may carry a port, and then mean that port alone.
    """
    for pattern in patterns.replace(",", " ").lower().split():
        name, named_port = _split_port(pattern)
        if named_port in {"", str(port)} and (name == "*" or _is_named(host, name)):
            return True
    return False


def _split_port(pattern: str) -> tuple[str, str]:
    if pattern.startswith("["):
        name, _, rest = pattern[1:].partition("]")
        return name, rest.removeprefix(":")
    if pattern.count(":") == 1:
        name, _, port = pattern.partition(":")
        return name, port
    return pattern, ""


def _is_named(host: str, name: str) -> bool:
    domain = name.removeprefix("*").removeprefix(".")
    return host == domain or host.endswith(f".{domain}") or _is_in_network(host, name)


def _is_in_network(host: str, pattern: str) -> bool:
    try:
        return ip_address(host) in ip_network(pattern, strict=False)
    except ValueError:
        return False
