"""The other proxies: HAProxy, Caddy, mitmproxy, and two for Node."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from .payloads import BASE_PATH
from .peer import SERVER_NAME, TOKEN, Command, Place


def haproxy(place: Place) -> Command | None:
    """HAProxy with one thread."""
    if not shutil.which("haproxy"):
        return None
    tls = f"ssl verify required ca-file {place.authority} sni str({SERVER_NAME}) verifyhost {SERVER_NAME}"
    # Room for the token: with the default of 1,024 bytes a request that fills the buffer with its body, as a
    # PUT does, is answered with 500, since the field does not fit.
    file = place.write(
        "haproxy.cfg",
        f"""global
    nbthread 1
    tune.maxrewrite 4096
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
    server one 127.0.0.1:{place.upstream_port} {tls if place.is_tls else ""}
""",
    )
    return ["haproxy", "-f", file], {}


def caddy(place: Place) -> Command | None:
    """Caddy with one thread for Go code; HTTP/1.1 to the upstream."""
    return caddy_speaking(place, "1.1")


def caddy_http2(place: Place) -> Command | None:
    """The same with HTTP/2 to the upstream."""
    return caddy_speaking(place, "2")


def caddy_speaking(place: Place, version: str) -> Command | None:
    """Caddy that speaks one version of HTTP to the upstream."""
    if not shutil.which("caddy"):
        return None
    tls = f"tls_trusted_ca_certs {place.authority}\n            tls_server_name {SERVER_NAME}"
    file = place.write(
        "Caddyfile",
        f"""{{
    admin off
    auto_https off
}}
http://127.0.0.1:{place.port} {{
    bind 127.0.0.1
    reverse_proxy {place.upstream} {{
        header_up Authorization "Bearer {TOKEN}"
        transport http {{
            versions {version}
            {tls if place.is_tls else ""}
        }}
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
    return _mitmproxy(place, [])


def mitmproxy_rewriting(place: Place) -> Command | None:
    """Mitmdump that replaces the base in whole bodies; it cannot in those that stream."""
    rule = f"|~s|{place.upstream}{BASE_PATH}(?=[/?])|{place.here}{BASE_PATH}"
    return _mitmproxy(place, ["--modify-body", rule])


def http_proxy_middleware(place: Place) -> Command | None:
    """Node: express with http-proxy-middleware."""
    return _node(
        place,
        ("express", "http-proxy-middleware"),
        f"""
const {{ Agent }} = require('{"https" if place.is_tls else "http"}');
const app = require('express')();
const {{ createProxyMiddleware }} = require('http-proxy-middleware');
app.disable('x-powered-by');
app.use(createProxyMiddleware({{
  target: '{place.upstream}', changeOrigin: true, headers: {{ Authorization: 'Bearer {TOKEN}' }},
  agent: new Agent({{ keepAlive: true }}),
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


def _mitmproxy(place: Place, options: Sequence[str]) -> Command | None:
    program = shutil.which(os.environ.get("MITMDUMP", "mitmdump"))
    if not program:
        return None
    mode = ["--mode", f"reverse:{place.upstream}", "--listen-host", "127.0.0.1", "-p", str(place.port), "-q"]
    quiet = ["--set", f"confdir={place.folder}", "--set", "flow_detail=0"]
    streamed = ["--set", "stream_large_bodies=1m"]
    trust = ["--set", f"ssl_verify_upstream_trusted_ca={place.authority}"] if place.is_tls else []
    token = ["--modify-headers", f"|~q|Authorization|Bearer {TOKEN}"]
    return [program, *mode, *quiet, *streamed, *trust, *token, *options], {}


def _node(place: Place, packages: Sequence[str], program: str) -> Command | None:
    modules = os.environ.get("NODE_PATH", "")
    if not shutil.which("node") or not all((Path(modules) / package).is_dir() for package in packages):
        return None
    trust = {"NODE_EXTRA_CA_CERTS": place.authority} if place.is_tls else {}
    return ["node", place.write("proxy.js", program)], {"NODE_ENV": "production", **trust}
