"""How the server writes its own addresses: plainly, or in one of the ways that real servers are known for."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from .json_text import Link, unescaped

Pairs = tuple[tuple[str, str], ...]


def query_pairs(query: str) -> Pairs:
    """Return names and values of a query as sent, decoded; `+` is a space."""
    return tuple(parse_qsl(query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a search or a history; `continuation` is "" for the first one."""

    path: str
    parameters: Pairs
    continuation: str = ""

    @property
    def query(self) -> str:
        """The query, percent-encoded so that `+`, `/` and `=` of the continuation survive."""
        token = (("ct", self.continuation),) if self.continuation else ()
        return urlencode(self.parameters + token, quote_via=quote, safe="")


def as_asked(base: str, _alias: str) -> str:
    """Return the base as the request named it."""
    return base


def port_written(base: str, _alias: str) -> str:
    """Return the base with its port, the default one too."""
    parts = urlsplit(base)
    port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.removesuffix(f':{port}')}:{port}{parts.path}"


def port_twice(base: str, alias: str) -> str:
    """Return the base with `:443:443` as HAPI writes it behind a proxy (hapi-fhir issue 2856)."""
    parts = urlsplit(port_written(base, alias))
    return f"{parts.scheme}://{parts.netloc}:{parts.netloc.rpartition(':')[2]}{parts.path}"


def upper_case(base: str, _alias: str) -> str:
    """Return the base with its scheme and host in capitals, which RFC 3986 (6.2.2.1) calls equal."""
    parts = urlsplit(base)
    return f"{parts.scheme.upper()}://{parts.netloc.upper()}{parts.path}"


def another_address(_base: str, alias: str) -> str:
    """Return the address that the server believes to have."""
    return alias


def by_path(base: str, page: Page) -> str:
    """Return base, path and query."""
    return f"{base}/{page.path}?{page.query}" if page.path else f"{base}?{page.query}"


def by_path_with_slash(base: str, page: Page) -> str:
    """Return base, path, a slash, query."""
    return f"{base}/{page.path}/?{page.query}" if page.path else f"{base}/?{page.query}"


def by_getpages(base: str, page: Page) -> str:
    """Return HAPI's form: the base itself, no slash and no type, and an opaque `_getpages`."""
    if not page.continuation:
        return by_path(base, page)
    opaque = base64.urlsafe_b64encode(f"{page.path}?{page.query}".encode()).decode().rstrip("=")
    return f"{base}?_getpages={opaque}&_bundletype=searchset"


def from_getpages(opaque: str, _base: str) -> str:
    """Return path and query that `by_getpages` hid, or raise ValueError."""
    return base64.urlsafe_b64decode(opaque + "=" * (-len(opaque) % 4)).decode()


def by_page_url(base: str, page: Page) -> str:
    """Return the base and the page's whole address, percent-encoded, as a parameter; its own query is so twice."""
    return f"{base}?_page={quote(by_path(base, page), safe='')}" if page.continuation else by_path(base, page)


def by_page_url_twice(base: str, page: Page) -> str:
    """Return the same with the address percent-encoded twice."""
    return by_page_url(base, page).replace("%", "%25") if page.continuation else by_path(base, page)


def from_page_url(url: str, base: str) -> str:
    """Return path and query of a page below the base, or raise ValueError for any other address."""
    address = url if "://" in url else unquote(url)
    below = address.removeprefix(base)
    if below == address or below[0] not in "/?":
        raise ValueError(f"{address} is not below {base}")
    return below.lstrip("/")


def by_host_relative(base: str, page: Page) -> str:
    """Return a reference without scheme and host, as Aidbox writes it."""
    return by_path(urlsplit(base).path, page) if page.path else f"{urlsplit(base).path or '/'}?{page.query}"


@dataclass(frozen=True, slots=True)
class Spelling:
    """One way to write addresses.

    `base` gives the base, `page` a paging link, `escape` and `xml_escape` the JSON and XML text of either; `end`
    follows the base where it stands alone.
    """

    base: Callable[[str, str], str] = as_asked
    page: Callable[[str, Page], str] = by_path
    escape: Callable[[str], str] = unescaped
    xml_escape: Callable[[str], str] = unescaped
    end: str = ""


SPELLINGS = MappingProxyType(
    {
        "plain": Spelling(),
        "escaped-slash": Spelling(escape=lambda text: text.replace("/", "\\/")),
        "unicode-escape": Spelling(escape=lambda text: text.replace("/", "\\u002f")),
        "character-reference": Spelling(xml_escape=lambda text: text.replace("/", "&#x2F;")),
        "default-port": Spelling(base=port_written),
        "port-twice": Spelling(base=port_twice),
        "upper-case": Spelling(base=upper_case),
        "alias": Spelling(base=another_address),
        "trailing-slash": Spelling(page=by_path_with_slash, end="/"),
        "getpages": Spelling(page=by_getpages),
        "encoded": Spelling(page=by_page_url),
        "encoded-twice": Spelling(page=by_page_url_twice),
        "relative": Spelling(page=by_host_relative),
    }
)


@dataclass(frozen=True, slots=True)
class Links:
    """Writes addresses below `base`, which is scheme, Host and base path of the request.

    Microsoft's server does the same (UrlResolver.cs): it believes the Host field.
    """

    base: str
    spelling: Spelling
    alias: str = ""

    def to(self, path: str = "") -> Link:
        """Return the address of a path below the base, or of the base itself."""
        base = self.spelling.base(self.base, self.alias)
        return Link(f"{base}/{path}" if path else base + self.spelling.end)

    def page(self, page: Page) -> Link:
        """Return the address of a page."""
        return Link(self.spelling.page(self.spelling.base(self.base, self.alias), page))

    def relative(self, reference: str) -> str:
        """Return `Type/id` for a reference into this server; an external one stays absolute.

        Microsoft's ReferenceSearchValueParser: internal only if its base equals the base of the request.
        """
        return reference.removeprefix(f"{self.base}/")
