"""FHIR's JSON as FHIR's XML (R4, sections 2.1.9.1 and 2.6.2), elements in the order in which the JSON has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from xml.etree import ElementTree
from xml.sax.saxutils import escape as escaped

from .json_text import Link, Number, Raw, read

NAMESPACE = "http://hl7.org/fhir"
_XHTML = "http://www.w3.org/1999/xhtml"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
# An attribute's line ends and tabs would be read as spaces (XML 1.0, section 3.3.3).
_IN_ATTRIBUTE = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
# What holds a resource; elsewhere `resourceType` is an element (R5: Subscription.filterBy, Consent.provision).
_RESOURCES = frozenset({"contained", "issues", "outcome", "resource"})
_EXTENSIONS = frozenset({"extension", "modifierExtension"})

Escape = Callable[[str], str]


def write_xml(resource: object, escape: Escape) -> str:
    """Return a resource as an XML document; `escape` is applied to the text of each Link."""
    return _DECLARATION + _resource(resource, escape)


def _resource(value: object, escape: Escape) -> str:
    members = read(value) if isinstance(value, Raw) else value
    if not isinstance(members, Mapping):
        raise TypeError(f"a resource is an object, not {type(members).__name__}")
    name = members["resourceType"]
    children = _children({key: item for key, item in members.items() if key != "resourceType"}, escape)
    return f'<{name} xmlns="{NAMESPACE}">{children}</{name}>'


def _children(members: Mapping[str, object], escape: Escape) -> str:
    written = []
    for key, item in members.items():
        name = key.removeprefix("_")
        if key != name and name in members:
            continue  # the id and extensions of a primitive, written with it
        value = None if key != name else item
        written.append(_element(name, value, members.get(f"_{name}"), escape))
    return "".join(written)


def _element(name: str, value: object, more: object, escape: Escape) -> str:
    """Return one element, or several for an array; `more` is the id and the extensions of a primitive."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        further = more if isinstance(more, list) else [None] * len(value)
        return "".join(_element(name, *pair, escape) for pair in zip(value, further, strict=True))
    if value is None and isinstance(more, list):
        return "".join(_element(name, None, one, escape) for one in more)
    if name in _RESOURCES and (
        isinstance(value, Raw) or (isinstance(value, Mapping) and "resourceType" in value)
    ):
        return f"<{name}>{_resource(value, escape)}</{name}>"
    if name == "div" and isinstance(value, str):
        return _narrative(value)
    members = value if isinstance(value, Mapping) else more if isinstance(more, Mapping) else {}
    attributes = [key for key in ("id", "url") if key == "id" or name in _EXTENSIONS]
    tag = name + "".join(f" {key}={_quoted(members[key], escape)}" for key in attributes if key in members)
    if value is not None and not isinstance(value, Mapping):
        tag += f" value={_quoted(value, escape)}"
    children = _children({key: item for key, item in members.items() if key not in attributes}, escape)
    return f"<{tag}>{children}</{name}>" if children else f"<{tag}/>"


def _quoted(value: object, escape: Escape) -> str:
    match value:
        case bool():
            text = "true" if value else "false"
        case Number():
            text = value.text
        case _:
            text = escaped(str(value), _IN_ATTRIBUTE)
    return f'"{escape(text) if isinstance(value, Link) else text}"'


def _narrative(div: str) -> str:
    """Return the XHTML of a narrative, as text where it is not well-formed."""
    try:
        ElementTree.fromstring(div)  # noqa: S314  # no entities of its own: expat bounds what they come to
    except ElementTree.ParseError:
        return f'<div xmlns="{_XHTML}">{escaped(div)}</div>'
    return div
