"""The rewriting of JSON done slowly and plainly: every token of the whole document, one after the other."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from proxy.rules.places import ADDRESSES

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|\s+|[^\s{}\[\],:"]+')
ENDS = tuple("/?#\\&|, \t\n")


@dataclass
class Container:
    bracket: str
    name: str


def is_address(name: str, parent: str) -> bool:
    return name in ADDRESSES and (not ADDRESSES[name] or parent in ADDRESSES[name])


def replaced(value: str, spellings: dict[str, str], name: str, parent: str) -> str:
    """A string's text between its quotes, as it must come out."""
    written = next(
        (url for url in spellings if value == url or value.startswith(tuple(url + end for end in ENDS))), None
    )
    if written is None or "%" in written or not is_address(name, parent):
        return value
    urls = "|".join(re.escape(url) for url in sorted(spellings, key=len, reverse=True))
    return re.sub(
        rf"(?:^|(?<=[=,|]))(?:{urls})(?=[/?#\\&|, \t\n]|%(?:25)?2[0F]|$)",
        lambda match: spellings[match[0]],
        value,
    )


def rewritten(document: str, spellings: dict[str, str]) -> str:
    """The document with each address that begins with one of the spellings as it must come out."""
    open_containers: list[Container] = []
    key: str | None = None
    tokens = TOKEN.findall(document)
    assert "".join(tokens) == document
    result = []
    for index, token in enumerate(tokens):
        holder = open_containers[-1] if open_containers else Container("", "")
        name = key if holder.bracket == "{" else holder.name
        if token in "{[":
            open_containers.append(Container(token, name or ""))
            key = None
        elif token in "}]":
            open_containers.pop()
            key = None
        elif token == ",":
            key = None
        elif token.startswith('"'):
            following = next((later for later in tokens[index + 1 :] if not later.isspace()), "")
            if following == ":" and holder.bracket == "{":
                key = json.loads(token)
            else:
                parent = next((each.name for each in reversed(open_containers) if each.bracket == "{"), "")
                result.append(f'"{replaced(token[1:-1], spellings, name or "", parent)}"')
                continue
        result.append(token)
    return "".join(result)
