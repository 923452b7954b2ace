"""nginx: the upstream of all, and the peers that are the measure of the others."""

from __future__ import annotations

import os
import shutil

from .payloads import BASE_PATH, BUNDLE, EXPORT, GZIP, PATIENT
from .peer import CERTIFICATE, KEY, SERVER_NAME, TOKEN, Command, Place

BUFFERS = "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;"


def upstream(place: Place) -> Command | None:
    """Nginx that serves the payloads, the same bytes to everyone."""
    return _upstream(place, "")


def upstream_http2(place: Place) -> Command | None:
    """The same, with HTTP/2 for those who ask for it."""
    return _upstream(place, "http2")


def nginx(place: Place) -> Command | None:
    """Nginx as most write it."""
    return _nginx(place, _passed(place), group=_group(place))


def nginx_tuned(place: Place) -> Command | None:
    """Nginx with buffers that hold a Bundle."""
    return _nginx(place, _passed(place, BUFFERS), group=_group(place))


def nginx_sub(place: Place) -> Command | None:
    """Nginx that replaces the base everywhere, without any boundary."""
    replacing = (
        "sub_filter_once off; sub_filter_types application/fhir+json application/fhir+ndjson; "
        f"sub_filter '{place.upstream}{BASE_PATH}/' '{place.here}{BASE_PATH}/'; "
        f"sub_filter '{place.upstream}{BASE_PATH}?' '{place.here}{BASE_PATH}?';"
    )
    return _nginx(place, _passed(place, f"{BUFFERS} {replacing}"), group=_group(place))


def _upstream(place: Place, protocol: str) -> Command | None:
    files = "\n".join(
        f"location = {BASE_PATH}{payload.target} {{ default_type {payload.media_type}; "
        f"{'add_header Content-Encoding gzip;' if payload.coding else ''} alias {place.folder}/{payload.file}; }}"
        for payload in (PATIENT, BUNDLE, GZIP, EXPORT)
    )
    accepted = f"location = {BASE_PATH}/Bundle/1 {{ default_type application/json; return 200 '{{}}'; }}"
    tls = f"ssl_certificate {place.folder}/{CERTIFICATE}; ssl_certificate_key {place.folder}/{KEY};"
    return _nginx(
        place,
        f"{tls if place.is_tls else ''} location / {{ return 404; }}\n{files}\n{accepted}",
        listen=f"ssl {protocol}" if place.is_tls else "",
    )


def _group(place: Place) -> str:
    server = f"127.0.0.1:{place.upstream_port}"
    return f"upstream fhir {{ server {server}; keepalive 64; keepalive_requests 100000000; }}"


def _passed(place: Place, more: str = "") -> str:
    verified = (
        f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {place.authority}; proxy_ssl_server_name on; "
        f"proxy_ssl_name {SERVER_NAME};"
    )
    return (
        f"location / {{ proxy_pass {'https' if place.is_tls else 'http'}://fhir; "
        'proxy_http_version 1.1; proxy_set_header Connection ""; '
        f"proxy_set_header Host 127.0.0.1:{place.upstream_port}; {verified if place.is_tls else ''} "
        f'proxy_set_header Authorization "Bearer {TOKEN}"; client_max_body_size 0; {more} }}'
    )


def _nginx(place: Place, locations: str, *, group: str = "", listen: str = "") -> Command | None:
    if not shutil.which("nginx"):
        return None
    # Started by root it would change to a user who cannot read the payloads.
    user = "user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
    file = place.write(
        "nginx.conf",
        f"""daemon off; {user} worker_processes 1; pid {place.folder}/{place.port}.pid; error_log stderr error;
worker_rlimit_nofile {2 * place.connections}; events {{ worker_connections {place.connections}; }}
http {{
    access_log off; keepalive_requests 100000000; sendfile on; tcp_nodelay on; client_body_buffer_size 128k;
    client_body_temp_path {place.folder}/{place.port}-body; proxy_temp_path {place.folder}/{place.port}-proxy;
    fastcgi_temp_path {place.folder}/{place.port}-f; uwsgi_temp_path {place.folder}/{place.port}-u;
    scgi_temp_path {place.folder}/{place.port}-s;
    {group}
    server {{ listen 127.0.0.1:{place.port} {listen} backlog=4096; {locations} }}
}}
""",
    )
    return ["nginx", "-c", file, "-p", str(place.folder), "-e", "stderr"], {}
