"""The proxy itself: the links of a page through it, and its listener with its guards."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote, urljoin

from ..auth import Authenticator, Seams
from ..auth.anonymous import AnonymousAuthenticator
from ..config import ListenAddress, ServerConfig
from ..config.values import WILDCARD_HOSTS
from ..errors import ConfigError, ProxyError
from ..model import BaseUrl
from ..server import Proxy
from ..upstream import Upstream
from .asking import Reply, ask, request, timeouts
from .state import State
from .verdicts import Status, Verdict, skipped

PAGE = "Patient?_count=1"
FOREIGN_HOST = "rebinding.invalid"
"""A name that no listener has (RFC 2606 section 2)."""

PROXY_NAME = "fhir-auth-proxy"
"""How our own answers begin their Proxy-Status (RFC 9209)."""

MISDIRECTED = 421

_TYPED = re.compile(r"(https?://[^?#\s]*?)/+(?:Patient\b|\?)", re.IGNORECASE)


async def links(state: State) -> tuple[State, Verdict]:
    """A page through a real proxy on a free port: its links are local, and the next one leads on."""
    config = state.config
    if config.rewrite == "off":
        return state, skipped('rewrite = "off" leaves all links as they are')
    private = config.replace(listen=ListenAddress("127.0.0.1", 0), allow_remote=False, allowed_hosts=())
    own = state.authenticator or AnonymousAuthenticator()
    async with _running(private, state.seams, own) as proxy:
        local = BaseUrl.parse(proxy.url)
        page = await _ask(local, PAGE, state)
        if page.head.status != 200:
            return state, _not_a_page(page)
        found = tuple(_links(page.object()))
        if strangers := [url for _, url in found if not _is_local(url, proxy.url)]:
            return state, _unmapped(strangers)
        following = next((url for relation, url in found if relation == "next"), "")
        if not following:
            return state, Verdict(Status.OK, f"{len(found)} links, all local; there is one page")
        second = await _ask(local, _below(following, proxy.url), state)
    if second.head.status != 200:
        return state, _not_a_page(second)
    return state, Verdict(Status.OK, f"{len(found)} links, all local; the next page comes through the proxy")


async def listener(state: State) -> tuple[State, Verdict]:
    """The address for tools is free, or a proxy of ours answers there; either way it refuses foreign names."""
    config = state.config
    # Nobody signs in for this: what is asked is refused before that.
    anonymous = config.replace(auth="anonymous")
    try:
        async with _running(anonymous, state.seams, AnonymousAuthenticator()) as proxy:
            where = BaseUrl("http", _reachable(config.listen), BaseUrl.parse(proxy.url).port)
            answer = await _foreign(where, state)
            return state, _guarded(config, answer, f"{config.listen} is free")
    except ConfigError as taken:
        if config.listen.port == 0:
            raise
        where = BaseUrl("http", _reachable(config.listen), config.listen.port)
        try:
            answer = await _foreign(where, state)
        except ProxyError:
            raise taken from None
        if not _is_ours(answer):
            raise taken from None
        return state, _guarded(config, answer, f"a {PROXY_NAME} answers at {config.listen}")


def _guarded(config: ServerConfig, answer: Reply, found: str) -> Verdict:
    if answer.head.status != MISDIRECTED or not _is_ours(answer):
        return Verdict(
            Status.FAILED,
            cause=f"A request for the host {FOREIGN_HOST} was answered by {answer.head.status} and not refused.",
            fix="Take that name out of --allowed-host; otherwise please report it.",
        )
    found = f"{found}; a request for another host is refused ({MISDIRECTED})"
    if config.listen.is_loopback:
        return Verdict(Status.OK, found, details={"listen": str(config.listen)})
    return Verdict(
        Status.WARNING,
        found,
        f"Other machines reach {config.listen}, and whoever does acts as you on the server.",
        "Listen on localhost, unless a container or a firewall keeps others out.",
        {"listen": str(config.listen)},
    )


def _not_a_page(reply: Reply) -> Verdict:
    said = reply.diagnostics()
    return Verdict(
        Status.FAILED,
        cause=f"A search through the proxy is answered by {reply.head.status}"
        + (f": {said}" if said else "."),
        fix="Look at the steps before this one; a server may forbid a search and still count.",
        details={"status": str(reply.head.status)},
    )


def _unmapped(strangers: list[str]) -> Verdict:
    """Links that lead past the proxy, with the base to name as alias."""
    bases = sorted({base for url in strangers if (base := _base(url))})
    aliases = " ".join(f"--alias {base}" for base in bases)
    return Verdict(
        Status.FAILED,
        cause=f"{len(strangers)} links of a page lead past the proxy"
        + (f", to {', '.join(bases)}: tools would follow them without a token." if bases else "."),
        fix=f"If that is the server's own address, use {aliases}."
        if bases
        else "Ask the server's operator which address it writes into its links, and name it with --alias.",
        details={"aliases": " ".join(bases)} if bases else {},
    )


def _base(url: str) -> str:
    """The base URL before the resource type; empty where there is none that could be named."""
    match = _TYPED.match(url)
    try:
        return str(BaseUrl.parse(match[1])) if match else ""
    except ValueError:
        return ""


def _links(bundle: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Relation and URL of a searchset's links, and its entries' own URLs (FHIR R4, Bundle)."""
    for link in _objects(bundle.get("link")):
        yield str(link.get("relation", "")), str(link.get("url", ""))
    for entry in _objects(bundle.get("entry")):
        if isinstance(url := entry.get("fullUrl"), str) and not url.startswith("urn:"):
            yield "entry", url


def _objects(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, list):
        yield from (one for one in value if isinstance(one, dict))


def _is_local(url: str, local: str) -> bool:
    """Whether a tool that follows the link stays with the proxy; a relative one is resolved against it."""
    try:
        there = urljoin(f"{local}/{PAGE}", url)
    except ValueError:
        return False
    return there.startswith(local) and there[len(local) : len(local) + 1] in {"", "/", "?", "#"}


def _below(url: str, local: str) -> str:
    """Path and query of a local link below the base, as a client would send them."""
    path = urljoin(f"{local}/{PAGE}", url).partition("#")[0].removeprefix(local).removeprefix("/")
    return quote(path, safe="/:?&=+,;@!$'()*~%|[]")


def _is_ours(answer: Reply) -> bool:
    return answer.head.fields.text(b"proxy-status").startswith(PROXY_NAME)


def _reachable(listen: ListenAddress) -> str:
    """A host by which this machine calls a listener."""
    return "127.0.0.1" if listen.host in WILDCARD_HOSTS else listen.host


async def _ask(local: BaseUrl, path: str, state: State) -> Reply:
    upstream = Upstream(local, tls=None, timeouts=timeouts(state.config))
    try:
        return await ask(upstream, request(local, path), state.seams.clock)
    finally:
        await upstream.close()


async def _foreign(where: BaseUrl, state: State) -> Reply:
    upstream = Upstream(where, tls=None, timeouts=timeouts(state.config))
    try:
        return await ask(upstream, request(where, "metadata", host=FOREIGN_HOST), state.seams.clock)
    finally:
        await upstream.close()


@asynccontextmanager
async def _running(config: ServerConfig, seams: Seams, own: Authenticator) -> AsyncIterator[Proxy]:
    proxy = Proxy(config, seams, own=own)
    try:
        await proxy.start()
        yield proxy
    finally:
        await proxy.stop(1.0)
