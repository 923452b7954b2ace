"""A proxy that adds the token and nothing else, as nginx would: what this one is compared with."""

from __future__ import annotations

from aiohttp import web
from multidict import CIMultiDict

from .relay import Relay


class PlainProxy(Relay):
    def __init__(self, target: str, token: str) -> None:
        super().__init__(target)
        self._token = token

    def admit(self, request: web.Request, fields: CIMultiDict[str]) -> web.Response | None:
        fields["Authorization"] = f"Bearer {self._token}"
        del fields["Host"]
        return None
