"""The table of methods in `proxy.auth` itself."""

from __future__ import annotations

from typing import get_args

import pytest

from proxy.auth import METHODS, Seams, authenticator
from proxy.config import AuthMethod
from proxy.errors import ConfigError
from proxy.model import Credentials, Fields, ResponseHead
from proxy.sandbox.tenant import MEMBER, Tenant

from ..fakes.browser import ScriptedBrowser
from .conftest import BASE_URL, Probes, Settings, token_of


def test_every_method_of_the_settings_has_its_row() -> None:
    assert set(METHODS) == set(get_args(AuthMethod))


async def test_anonymous_sends_nothing(app_settings: Settings, seams: Seams) -> None:
    signing = authenticator(app_settings(auth="anonymous"), seams)

    assert await signing.credentials() is None
    await signing.close()


async def test_token_is_sent_as_given(app_settings: Settings, seams: Seams) -> None:
    signing = authenticator(app_settings(auth="token", token="given"), seams)

    assert await signing.credentials() == Credentials(b"Bearer given")
    await signing.close()


async def test_auto_signs_an_app_in(
    tenant: Tenant, app_settings: Settings, seams: Seams, probe: Probes
) -> None:
    probe.head = ResponseHead(401, b"", Fields.of([("WWW-Authenticate", "Bearer")]))
    signing = authenticator(app_settings(auth="auto"), seams)
    claims = tenant.verify(await token_of(signing), BASE_URL)
    await signing.close()

    assert claims.upn == ""


async def test_auto_signs_a_person_in_and_asks_the_server_once(
    tenant: Tenant, person_settings: Settings, seams: Seams, probe: Probes, browser: ScriptedBrowser
) -> None:
    probe.head = ResponseHead(401, b"", Fields.of([("WWW-Authenticate", "Bearer")]))
    signing = authenticator(person_settings(auth="auto"), seams)
    claims = tenant.verify(await token_of(signing), BASE_URL)
    await signing.close()

    assert claims.upn == MEMBER.username
    assert probe.count == 1


async def test_auto_names_the_method_whose_settings_are_missing(
    person_settings: Settings, seams: Seams, probe: Probes
) -> None:
    probe.head = ResponseHead(401, b"", Fields.of([("WWW-Authenticate", "Bearer")]))
    signing = authenticator(person_settings(auth="auto", client_id=""), seams)
    with pytest.raises(ConfigError, match="'interactive' needs client_id"):
        await signing.credentials()
    await signing.close()
