"""The whole server without sockets: a call comes in, its route answers it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from .access import Access
from .calls import Call, Reply, written
from .capability import Capability
from .export import Destination, Exports
from .instances import Instances
from .outcome import FhirError
from .paging import Paging
from .resource_types import RESOURCE_TYPES
from .search import Searches
from .spellings import from_getpages, from_page_url, query_pairs
from .store import Store
from .transactions import Transactions

_TYPE = f"(?P<type>{'|'.join(RESOURCE_TYPES)})"
_ID = r"(?P<id>[A-Za-z0-9\-.]{1,64})"
_JOB = r"(?P<job>[0-9a-f-]{36})"
PAGES = {"_getpages": from_getpages, "_page": from_page_url}
"""Parameters that hide path and query of a page, and what finds those."""


@dataclass(frozen=True, slots=True)
class Route:
    """Method and pattern of the path below the base, and what answers."""

    method: str
    path: re.Pattern[str]
    answer: Callable[[Call], Reply]


class Service:
    """Answers calls. HEAD is answered as GET; the connection leaves the body out."""

    def __init__(
        self,
        store: Store,
        access: Access,
        paging: Paging,
        export_polls: int,
        export_to: Destination | None,
    ) -> None:
        self._access = access
        capability = Capability(access)
        instances = Instances(store)
        self._searches = searches = Searches(store, paging)
        exports = Exports(store, export_polls, export_to)
        transactions = Transactions(store, instances, self._route)
        # One row per interaction, in the order of fhir's http.html.
        rows: tuple[tuple[str, str, Callable[[Call], Reply]], ...] = (
            ("GET", "metadata", capability.metadata),
            ("GET", r"\.well-known/smart-configuration", capability.smart_configuration),
            ("GET", r"\$versions", capability.versions),
            ("GET", "health/check", capability.health),
            ("GET", f"{_TYPE}/{_ID}", instances.read),
            ("GET", rf"{_TYPE}/{_ID}/_history/(?P<version>[A-Za-z0-9\-.]+)", instances.vread),
            ("PUT", f"{_TYPE}/{_ID}", instances.update),
            ("PUT", _TYPE, instances.update_where),
            ("PATCH", f"{_TYPE}/{_ID}", instances.patch),
            ("DELETE", f"{_TYPE}/{_ID}", instances.delete),
            ("DELETE", _TYPE, instances.delete_where),
            ("POST", _TYPE, instances.create),
            ("GET", f"{_TYPE}/{_ID}/_history", searches.history),
            ("GET", f"{_TYPE}/_history", searches.history),
            ("GET", "_history", searches.history),
            ("GET", _TYPE, searches.search),
            ("GET", "", self._search_system),
            ("GET", rf"Patient/{_ID}/(?P<type>{'|'.join(RESOURCE_TYPES)}|\*)", searches.compartment),
            ("POST", f"(?:{_TYPE}/)?_search", self._search_by_form),
            ("GET", rf"Patient/{_ID}/\$everything", searches.everything),
            ("POST", "", transactions.process),
            ("GET", r"\$export", exports.kick_off),
            ("GET", r"(?P<type>Patient)/\$export", exports.kick_off),
            ("GET", f"_operations/export/{_JOB}", exports.poll),
            ("DELETE", f"_operations/export/{_JOB}", exports.cancel),
            ("GET", rf"_files/{_JOB}/(?P<type>[A-Za-z]+)-1\.ndjson", exports.file),
        )
        self._routes = tuple(Route(method, re.compile(path), answer) for method, path, answer in rows)

    def admit(self, call: Call) -> None:
        """Raise FhirError 401 or 403 for a call without a valid token."""
        self._access.check(call.path, call.fields)

    def answer(self, call: Call) -> Reply:
        """Answer a call that was admitted; refusals are answers as well."""
        try:
            check_format(call)
            return written(self._route(call), call)
        except FhirError as error:
            return refusal(call, error)

    def _route(self, call: Call) -> Reply:
        method = "GET" if call.method == "HEAD" else call.method
        matches = [(route, route.path.fullmatch(call.path)) for route in self._routes]
        for route, match in matches:
            if match is not None and route.method == method:
                names = {name: value for name, value in match.groupdict().items() if value is not None}
                return route.answer(replace(call, names=names))
        allowed = sorted({route.method for route, match in matches if match is not None})
        if allowed:
            raise FhirError(
                405, "not-supported", f"{call.method} is not allowed here.", (("Allow", ", ".join(allowed)),)
            )
        raise FhirError(404, "not-found", f"The requested route '{call.path}' was not found.")

    def _search_system(self, call: Call) -> Reply:
        """Answer a search of all types, or a page that `_getpages` or `_page` names."""
        name = next((name for name in PAGES if call.parameter(name)), "")
        return self._page(call, name) if name else self._searches.search(call)

    def _page(self, call: Call, name: str) -> Reply:
        hidden = call.parameter(name)
        try:
            path, _, query = PAGES[name](hidden, call.links.base).partition("?")
        except ValueError as error:
            raise FhirError(410, "not-found", f"The page '{hidden}' is unknown.") from error
        return self._route(replace(call, path=path, query=query_pairs(query)))

    def _search_by_form(self, call: Call) -> Reply:
        """Answer a search whose parameters are a form; its next link is a plain GET, as at Microsoft's."""
        if "application/x-www-form-urlencoded" not in call.fields.get("Content-Type", ""):
            raise FhirError(400, "invalid", "_search takes application/x-www-form-urlencoded.")
        form = query_pairs(call.body.decode("utf-8", errors="replace"))
        path = call.path.removesuffix("_search").rstrip("/")
        return self._route(replace(call, method="GET", path=path, query=call.query + form, body=b""))


def refusal(call: Call, error: FhirError) -> Reply:
    """Return the answer to a refusal."""
    return written(Reply(error.status, error.fields, resource=error.outcome()), call)


def check_format(call: Call) -> None:
    """Raise FhirError 406 for the one other format of FHIR resources, which nothing here writes (R4, section 2.6.3)."""
    if "turtle" in call.formats and not any(name in call.formats for name in ("json", "xml", "*/*")):
        raise FhirError(406, "not-supported", "Turtle is not supported; this server writes JSON and XML.")
