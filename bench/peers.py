"""The proxies that are measured, each before the same upstream and adding the same token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from proxy import __version__

from .installed import CHECKOUT, installed
from .nginx import nginx, nginx_sub, nginx_tuned, upstream
from .others import caddy, fastify, haproxy, http_proxy_middleware, mitmproxy, mitmproxy_rewriting
from .payloads import BASE_PATH
from .peer import TOKEN, Command, Peer, Place

__all__ = ["PEERS", "TOKEN", "Peer", "Place", "default_peers", "ours_with", "upstream"]

HERE = Path(__file__).parent


def plain_aiohttp(place: Place) -> Command | None:
    """What one would write with aiohttp."""
    # OpenSSL's own variable, since the twenty lines know no setting for it.
    trust = {"SSL_CERT_FILE": place.authority} if place.is_tls else {}
    return [sys.executable, str(HERE / "plain_proxy.py"), place.upstream, str(place.port), TOKEN], trust


def ours(place: Place) -> Command | None:
    """Our proxy, passing bodies through."""
    return ours_with(place, "--rewrite", "off")


def ours_rewriting(place: Place) -> Command | None:
    """Our proxy as it is by default."""
    return ours_with(place)


def ours_pure(place: Place) -> Command | None:
    """Our proxy where nothing could be compiled, passing bodies through."""
    return ours_with(place, "--rewrite", "off", program=CHECKOUT)


def ours_with(place: Place, *settings: str, program: Path | None = None) -> Command:
    """Our proxy with a token in its settings, as the others have it, as it is installed or from another folder."""
    command = ["proxy", "run", f"{place.upstream}{BASE_PATH}", "--listen", f"127.0.0.1:{place.port}"]
    trust = ["--ca-bundle", place.authority] if place.is_tls else []
    return [sys.executable, "-m", *command, "--auth", "token", *trust, *settings], {
        "FHIR_AUTH_PROXY_TOKEN": TOKEN,
        "PYTHONPATH": str(program or installed()),
    }


def _told(*command: str) -> Callable[[], str]:
    def version() -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        return (done.stdout + done.stderr).strip().splitlines()[0]

    return version


def _package(name: str) -> Callable[[], str]:
    def version() -> str:
        file = Path(os.environ.get("NODE_PATH", "")) / name / "package.json"
        return str(json.loads(file.read_text())["version"])

    return version


PROXY, PROXY_REWRITING = "proxy", "proxy, rewriting"
NGINX, NGINX_TUNED, NGINX_SUB = "nginx", "nginx, tuned", "nginx, sub_filter"
MITMPROXY, MITMPROXY_REWRITING = "mitmproxy", "mitmproxy, rewriting"

PEERS = (
    Peer(PROXY, ours, version=lambda: f"fhir-auth-proxy {__version__}"),
    Peer(PROXY_REWRITING, ours_rewriting, rewrites=True),
    Peer("proxy, pure Python", ours_pure),
    Peer(NGINX, nginx, version=_told("nginx", "-v")),
    Peer(NGINX_TUNED, nginx_tuned),
    Peer(NGINX_SUB, nginx_sub, rewrites=True),
    Peer("HAProxy", haproxy, version=_told("haproxy", "-v")),
    Peer("Caddy", caddy, version=_told("caddy", "version")),
    Peer("http-proxy-middleware", http_proxy_middleware, version=_package("http-proxy-middleware")),
    Peer("@fastify/http-proxy", fastify, version=_package("@fastify/http-proxy")),
    Peer("plain aiohttp", plain_aiohttp),
    Peer(MITMPROXY, mitmproxy, version=_told(os.environ.get("MITMDUMP", "mitmdump"), "--version")),
    Peer(MITMPROXY_REWRITING, mitmproxy_rewriting, rewrites=True),
)


def default_peers(names: Sequence[str]) -> tuple[Peer, ...]:
    """The peers by name, all where none is named."""
    return tuple(peer for peer in PEERS if not names or peer.name in names)
