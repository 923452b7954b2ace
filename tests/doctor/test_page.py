"""The page tells what is wrong, and what to do, in the doctor's words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from aiohttp import ClientSession

from proxy.config.settings import SETTINGS
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import Refusal

from ..admin.running import operated
from ..admin.test_page import Read
from .walking import FAILED, app, settled, walked

NOWHERE = "http://127.0.0.1:9"

WRONG = [
    # what the settings say otherwise, the code that the tenant answers with, the step that fails
    pytest.param(
        {"base_url": NOWHERE, "audience": "https://fhir.example"}, None, "connection", id="no server"
    ),
    pytest.param({}, 7000222, "sign-in", id="an expired secret"),
    pytest.param({"client_secret": "another"}, None, "sign-in", id="a wrong secret"),
    pytest.param({"audience": "https://other.example"}, None, "sign-in", id="an unknown audience"),
    pytest.param({}, 700016, "sign-in", id="an unknown app"),
]


@pytest.mark.parametrize(("changes", "code", "step"), WRONG)
async def test_page_has_the_words_of_the_doctor(
    tmp_path: Path, changes: dict[str, object], code: int | None, step: str
) -> None:
    async with settled(Sandbox(patients=1)) as sandbox:
        if code is not None:
            sandbox.tenant.faults.always(Refusal(code))
        config = app(sandbox, tmp_path, **changes)
        verdict = (await walked(config))[step].verdict
        settings = {
            key: getattr(config, key)
            for key, setting in SETTINGS.items()
            if setting.per_server and key not in {"base_url", "listen"}
        }
        async with operated(str(config.base_url), **settings) as running, ClientSession() as person:
            async with person.get(f"{running.url}/") as answer:
                words = " ".join(Read(await answer.text()).words.split())

    # The ids by which Entra ID finds a refusal are of that one alone.
    cause, fix = (re.sub(r" \[trace .*?\]", "", text) for text in (verdict.cause, verdict.fix))
    words = re.sub(r" \[trace .*?\]", "", words)
    assert verdict.status is FAILED
    assert cause.rstrip(".") in words
    assert fix in words
