"""The token that a server quotes in its answer's head: it goes no further."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ..model import Credentials, Fields, ResponseHead

SHORTEST_TOKEN: Final = 16
"""Bytes from which a token is looked for: a shorter one is no issuer's, and may be a part of other words."""


def without_token(head: ResponseHead, credentials: Credentials | None) -> ResponseHead:
    """An answer's head without the token that it quotes: it goes to the tool, and words of it into the log."""
    token = credentials.token if credentials is not None else b""
    if len(token) < SHORTEST_TOKEN or not _quotes(head, token):
        return head
    lines = ((name, value.replace(token, b"***")) for name, value in head.fields.lines if token not in name)
    return replace(head, reason=head.reason.replace(token, b"***"), fields=Fields(tuple(lines)))


def _quotes(head: ResponseHead, token: bytes) -> bool:
    block, reason = head.fields.block, head.reason
    # `in` makes an error of bytes before it searches, which costs.
    return (len(block) > len(token) and block.find(token) >= 0) or (
        len(reason) >= len(token) and reason.find(token) >= 0
    )
