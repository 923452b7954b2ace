from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from aiohttp import ClientSession

from proxy.errors import AuthenticationFailed, SignInRequired
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import DESKTOP, MEMBER

from .fakes.browser import ScriptedBrowser
from .running import proxy_of, unattended

PERSONAL = {
    "auth": "interactive",
    "client_id": DESKTOP.client_id,
    "client_secret": None,
    "sign_in_wait": 0.01,
}


async def test_sign_in_waits_longer_than_a_request_is_held() -> None:
    async with Sandbox(patients=1) as sandbox:
        browser = ScriptedBrowser(sandbox.tenant.ca_pem)
        browser.acts = False
        seams = replace(unattended(), browser=browser, attended=True)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(browser.close)
            proxy = await stack.enter_async_context(proxy_of(sandbox, seams, **PERSONAL))
            signing_in = asyncio.create_task(proxy.sign_in())
            with pytest.raises(SignInRequired) as raised:
                await proxy.watch.credentials()
            assert f"Nobody has signed in to {sandbox.fhir.base_url} yet" in await proxy.watch.unready()
            assert not signing_in.done()

            address = re.search(r"http://\S+", raised.value.hint)
            assert address is not None
            await browser.visit(address[0].rstrip("."))
            async with asyncio.timeout(60):
                await signing_in
            assert (MEMBER.username, "") == (proxy.watch.identity.account, await proxy.watch.unready())
            async with ClientSession() as tool, tool.get(f"{proxy.url}/Patient") as answer:
                assert 200 == answer.status


async def test_sign_in_that_fails_is_told() -> None:
    async with Sandbox(patients=1) as sandbox, proxy_of(sandbox, client_secret="wrong") as proxy:
        with pytest.raises(AuthenticationFailed, match="AADSTS7000215"):
            await proxy.sign_in()
