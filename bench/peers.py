"""The proxies that are measured, each before the same upstream and adding the same token.

A peer is a function of where it listens and what it stands before; it writes its configuration and gives its
command, or None where the program is not installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from proxy import __version__

from .payloads import BASE_PATH, BUNDLE, EXPORT, GZIP, PATIENT

TOKEN = "e30." + "a" * 1196

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer listens, what it stands before, and the folder for its files."""

    port: int
    upstream_port: int
    folder: Path

    @property
    def upstream(self) -> str:
        """The upstream's origin."""
        return f"http://127.0.0.1:{self.upstream_port}"

    @property
    def here(self) -> str:
        """The peer's own origin."""
        return f"http://127.0.0.1:{self.port}"

    def write(self, name: str, text: str) -> str:
        """Write a file of configuration; its path."""
        path = self.folder / f"{self.port}-{name}"
        path.write_text(text)
        return str(path)


Command = tuple[Sequence[str], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy by name; `rewrites` tells whether it makes the server's URLs its own."""

    name: str
    command: Callable[[Place], Command | None]
    rewrites: bool = False
    version: Callable[[], str] = field(default=lambda: "")


def upstream(place: Place) -> Command | None:
    """Nginx that serves the payloads, the same bytes to everyone."""
    files = "\n".join(
        f"location = {BASE_PATH}{payload.target} {{ default_type {payload.media_type}; "
        f"{'add_header Content-Encoding gzip;' if payload.coding else ''} alias {place.folder}/{payload.file}; }}"
        for payload in (PATIENT, BUNDLE, GZIP, EXPORT)
    )
    accepted = f"location = {BASE_PATH}/Bundle/1 {{ default_type application/json; return 200 '{{}}'; }}"
    return _nginx(place, f"location / {{ return 404; }}\n{files}\n{accepted}", proxies=False)


def nginx(place: Place) -> Command | None:
    """Nginx as most write it."""
    return _nginx(place, _passed(place))


def nginx_tuned(place: Place) -> Command | None:
    """Nginx with buffers that hold a Bundle."""
    return _nginx(
        place, _passed(place, "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;")
    )


def nginx_sub(place: Place) -> Command | None:
    """Nginx that replaces the base everywhere, without any boundary."""
    return _nginx(
        place,
        _passed(
            place,
            "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k; sub_filter_once off; "
            "sub_filter_types application/fhir+json application/fhir+ndjson; "
            f"sub_filter '{place.upstream}{BASE_PATH}/' '{place.here}{BASE_PATH}/'; "
            f"sub_filter '{place.upstream}{BASE_PATH}?' '{place.here}{BASE_PATH}?';",
        ),
    )


def haproxy(place: Place) -> Command | None:
    """HAProxy with one thread."""
    if not shutil.which("haproxy"):
        return None
    file = place.write(
        "haproxy.cfg",
        f"""global
    nbthread 1
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend front
    bind 127.0.0.1:{place.port}
    http-request set-header Authorization "Bearer {TOKEN}"
    default_backend fhir
backend fhir
    server one 127.0.0.1:{place.upstream_port}
""",
    )
    return ["haproxy", "-f", file], {}


def caddy(place: Place) -> Command | None:
    """Caddy with one thread for Go code."""
    if not shutil.which("caddy"):
        return None
    file = place.write(
        "Caddyfile",
        f"""{{
    admin off
    auto_https off
}}
http://127.0.0.1:{place.port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{place.upstream_port} {{
        header_up Authorization "Bearer {TOKEN}"
    }}
}}
""",
    )
    folder = str(place.folder)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", file], {
        "GOMAXPROCS": "1",
        "XDG_DATA_HOME": folder,
        "XDG_CONFIG_HOME": folder,
    }


def mitmproxy(place: Place) -> Command | None:
    """Mitmdump as a reverse proxy; large bodies stream."""
    return _mitmproxy(place, ["--set", "stream_large_bodies=1m"])


def mitmproxy_rewriting(place: Place) -> Command | None:
    """Mitmdump that replaces the base in whole bodies; it cannot in those that stream."""
    return _mitmproxy(
        place,
        [
            "--set",
            "stream_large_bodies=1m",
            "--modify-body",
            f"|~s|{place.upstream}{BASE_PATH}(?=[/?])|{place.here}{BASE_PATH}",
        ],
    )


def http_proxy_middleware(place: Place) -> Command | None:
    """Node: express with http-proxy-middleware."""
    return _node(
        place,
        ("express", "http-proxy-middleware"),
        f"""
const http = require('http');
const app = require('express')();
const {{ createProxyMiddleware }} = require('http-proxy-middleware');
app.disable('x-powered-by');
app.use(createProxyMiddleware({{
  target: '{place.upstream}', changeOrigin: true, headers: {{ Authorization: 'Bearer {TOKEN}' }},
  agent: new http.Agent({{ keepAlive: true }}),
}}));
app.listen({place.port}, '127.0.0.1');
""",
    )


def fastify(place: Place) -> Command | None:
    """Node: @fastify/http-proxy."""
    return _node(
        place,
        ("fastify", "@fastify/http-proxy"),
        f"""
const app = require('fastify')({{ bodyLimit: 1 << 30 }});
app.register(require('@fastify/http-proxy'), {{ upstream: '{place.upstream}', replyOptions: {{
  rewriteRequestHeaders: (request, headers) => ({{ ...headers, authorization: 'Bearer {TOKEN}' }}),
}} }});
app.listen({{ port: {place.port}, host: '127.0.0.1' }});
""",
    )


def plain_aiohttp(place: Place) -> Command | None:
    """What one would write with aiohttp."""
    return [sys.executable, str(HERE / "plain_proxy.py"), place.upstream, str(place.port), TOKEN], {}


def ours(place: Place) -> Command | None:
    """Our proxy, passing bodies through."""
    return _ours(place, "off")


def ours_rewriting(place: Place) -> Command | None:
    """Our proxy as it is by default."""
    return _ours(place, "on")


def _ours(place: Place, rewrite: str) -> Command:
    token = place.write("token", TOKEN)
    command = ["proxy", "run", f"{place.upstream}{BASE_PATH}", "--listen", f"127.0.0.1:{place.port}"]
    settings = ["--auth", "token", "--token-file", token, "--rewrite", rewrite]
    return [sys.executable, "-m", *command, *settings], {"PYTHONPATH": str(HERE.parent)}


def _passed(place: Place, more: str = "") -> str:
    return (
        "location / { proxy_pass http://fhir; "
        'proxy_http_version 1.1; proxy_set_header Connection ""; '
        f"proxy_set_header Host 127.0.0.1:{place.upstream_port}; "
        f'proxy_set_header Authorization "Bearer {TOKEN}"; client_max_body_size 0; {more} }}'
    )


def _nginx(place: Place, locations: str, *, proxies: bool = True) -> Command | None:
    if not shutil.which("nginx"):
        return None
    # Started by root it would change to a user who cannot read the payloads.
    user = "user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
    server = f"127.0.0.1:{place.upstream_port}"
    group = (
        f"upstream fhir {{ server {server}; keepalive 64; keepalive_requests 100000000; }}" if proxies else ""
    )
    file = place.write(
        "nginx.conf",
        f"""daemon off; {user} worker_processes 1; pid {place.folder}/{place.port}.pid; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 100000000; sendfile on; tcp_nodelay on; client_body_buffer_size 128k;
    client_body_temp_path {place.folder}/{place.port}-body; proxy_temp_path {place.folder}/{place.port}-proxy;
    fastcgi_temp_path {place.folder}/{place.port}-f; uwsgi_temp_path {place.folder}/{place.port}-u;
    scgi_temp_path {place.folder}/{place.port}-s;
    {group}
    server {{ listen 127.0.0.1:{place.port} backlog=1024; {locations} }}
}}
""",
    )
    return ["nginx", "-c", file, "-p", str(place.folder), "-e", "stderr"], {}


def _mitmproxy(place: Place, options: Sequence[str]) -> Command | None:
    program = shutil.which(os.environ.get("MITMDUMP", "mitmdump"))
    if not program:
        return None
    mode = ["--mode", f"reverse:{place.upstream}", "--listen-host", "127.0.0.1", "-p", str(place.port), "-q"]
    quiet = ["--set", f"confdir={place.folder}", "--set", "flow_detail=0"]
    field_ = ["--modify-headers", f"|~q|Authorization|Bearer {TOKEN}"]
    return [program, *mode, *quiet, *field_, *options], {}


def _node(place: Place, packages: Sequence[str], program: str) -> Command | None:
    modules = os.environ.get("NODE_PATH", "")
    if not shutil.which("node") or not all((Path(modules) / package).is_dir() for package in packages):
        return None
    return ["node", place.write("proxy.js", program)], {"NODE_ENV": "production"}


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
