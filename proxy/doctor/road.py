"""The road to the server: settings that work, a name that is known, a port that answers, TLS that is trusted."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import partial

from ..auth import authenticator
from ..auth.threads import in_thread
from ..auth.token_caches import trouble
from ..config import ServerConfig
from ..errors import UpstreamUnreachable
from ..model import BaseUrl
from ..rules.audiences import audience
from ..upstream import Tunnel, tls_context, tunnel_for
from .certificates import Certificate, presented, public_authorities
from .state import State
from .verdicts import Status, Verdict
from .visit import visit

EXPIRES_SOON = 14 * 86_400
"""Seconds before a certificate's end from which it is remarked; most renew themselves earlier than that."""


async def configuration(state: State) -> tuple[State, Verdict]:
    """The settings work together: trust, tunnel and sign-in can be set up from them, and a shared cache works."""
    config = state.config
    if config.base_url.scheme == "https":
        tls_context(config.ca_bundle)
    tunnel = tunnel_for(config.base_url, os.environ)
    await authenticator(config, state.seams).close()
    details = {
        "base_url": str(config.base_url),
        "auth": config.auth,
        "listen": str(config.listen),
        "tenant": config.tenant,
        "authority": str(config.authority or ""),
        "client_id": config.client_id,
        "audience": audience(config),
        "https_proxy": tunnel.authority if tunnel else "",
    }
    found = f"{config.base_url}, --auth {config.auth}"
    details = {name: text for name, text in details.items() if text}
    if cause := await in_thread(partial(trouble, config)):
        fix = "Check token_cache and ca_bundle. Until it works, each replica signs in by itself."
        return state, Verdict(Status.WARNING, found, cause, fix, details)
    return state, Verdict(Status.OK, found, details=details)


async def name(state: State) -> tuple[State, Verdict]:
    """The host has an address; that of the HTTPS proxy where one is in between, which looks up the server."""
    host, port, tunnel = _first_hop(state.config)
    try:
        rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UpstreamUnreachable(
            f"The name {host} is not known.",
            hint="Check the host's spelling in the base URL, the network, the VPN and HTTPS_PROXY; a server with "
            "a private endpoint is known inside its own network alone.",
        ) from error
    addresses = ", ".join(dict.fromkeys(str(row[4][0]) for row in rows))
    through = f", the proxy of HTTPS_PROXY for {state.config.base_url.host}" if tunnel else ""
    return state, Verdict(
        Status.OK, f"{host}{through}: {addresses}", details={"host": host, "addresses": addresses}
    )


async def connection(state: State) -> tuple[State, Verdict]:
    """A TCP connection opens, to the server or to the HTTPS proxy before it."""
    host, port, _ = _first_hop(state.config)
    seen = await visit(state.config, BaseUrl("http", host, port), None, None)
    found = f"connected to {seen.address} port {port}"
    return state, Verdict(Status.OK, found, details={"address": seen.address, "port": str(port)})


async def tls(state: State) -> tuple[State, Verdict]:
    """TLS is verified as the proxy verifies it, and whoever signed the certificate is named."""
    config = state.config
    if config.base_url.scheme != "https":
        return state, _without_tls(config)
    tunnel = tunnel_for(config.base_url, os.environ)
    try:
        visited = await visit(config, config.base_url, tls_context(config.ca_bundle), tunnel)
    except UpstreamUnreachable as error:
        seen = await presented(config, tunnel)
        issuer = f" It was issued by {seen.issuer}." if seen else ""
        return state, Verdict(
            Status.FAILED,
            cause=f"{error.message}{issuer}",
            fix=error.hint or "Check HTTPS_PROXY, and whether a firewall inspects TLS.",
            details=seen.details() if seen else {},
        )
    certificate = Certificate.of(visited.certificate)
    is_public = await public_authorities(config, tunnel)
    return state, _judged(state, certificate, tunnel, is_public=is_public)


def _judged(state: State, certificate: Certificate, tunnel: Tunnel | None, *, is_public: bool) -> Verdict:
    host = state.config.base_url.host
    found = f"issued by {certificate.issuer}, until {certificate.until:%Y-%m-%d}"
    details = {**certificate.details(), "public_authority": "yes" if is_public else "no"}
    if tunnel is not None:
        found = f"{found}, through the proxy {tunnel.authority}"
        details["https_proxy"] = tunnel.authority
    left = certificate.until.timestamp() - state.seams.clock.time()
    if left < EXPIRES_SOON:
        return Verdict(
            Status.WARNING,
            found,
            f"The certificate of {host} ends in {left / 86_400:.0f} days.",
            "Its owner has to renew it.",
            details,
        )
    if is_public or state.config.base_url.is_loopback:
        return Verdict(Status.OK, found, details=details)
    return Verdict(
        Status.WARNING,
        found,
        f"{certificate.issuer} is no public authority: it is your organization's own, or a proxy in between "
        "opens TLS and can read the token and the data.",
        "If the server has a certificate of your organization, all is well. Otherwise ask the network's operators "
        f"to leave {host} out of TLS inspection.",
        details,
    )


def _without_tls(config: ServerConfig) -> Verdict:
    if config.base_url.is_loopback:
        return Verdict(Status.OK, "not used: the server is on this machine")
    return Verdict(
        Status.WARNING,
        "not used: the base URL is http://",
        "Whoever is on the way reads and changes what is sent.",
        "Use the server's https:// address.",
    )


def _first_hop(config: ServerConfig) -> tuple[str, int, Tunnel | None]:
    """Where the first TCP connection goes."""
    base = config.base_url
    tunnel = tunnel_for(base, os.environ)
    return (tunnel.host, tunnel.port, tunnel) if tunnel else (base.host, base.port, None)
