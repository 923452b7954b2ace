from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.sandbox import Sandbox
from proxy.sandbox.storage import AUDIENCE

from .walking import FAILED, OK, SKIPPED, app, settled, walked


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with settled(Sandbox(patients=1, has_storage=True)) as sandbox:
        yield sandbox


def host(sandbox: Sandbox) -> str:
    assert sandbox.storage is not None
    return sandbox.storage.host


async def test_account_that_answers_and_a_token_for_it_are_told(sandbox: Sandbox, tmp_path: Path) -> None:
    walk = await walked(app(sandbox, tmp_path, export_storage=[host(sandbox)]))

    assert ({}, 0) == (walk.statuses(), walk.report.exit_status)
    verdict = walk["storage"].verdict
    assert f"{host(sandbox)}, and a token for {AUDIENCE}" == verdict.found
    assert {"accounts": host(sandbox), "audience": AUDIENCE} == verdict.details
    assert sandbox.storage is not None
    assert [] == list(sandbox.storage.requests)
    assert "eyJ" not in walk.text


async def test_every_account_that_cannot_be_reached_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    unknown, closed = "no-such-account.invalid", "127.0.0.1:1"
    walk = await walked(app(sandbox, tmp_path, export_storage=[unknown, host(sandbox), closed]))

    verdict = walk["storage"].verdict
    assert (FAILED, 21) == (verdict.status, walk.report.exit_status)
    assert unknown in verdict.cause
    assert closed in verdict.cause
    assert host(sandbox) not in verdict.cause
    assert "the host's spelling" in verdict.fix


async def test_certificate_that_is_not_trusted_is_told(sandbox: Sandbox, tmp_path: Path) -> None:
    config = app(sandbox, tmp_path, export_storage=[host(sandbox)])
    verdict = (await walked(config.replace(ca_bundle="")))["storage"].verdict

    assert FAILED == verdict.status
    assert "certificate" in verdict.cause
    assert "--ca-bundle" in verdict.fix


async def test_token_for_storage_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    async with settled(Sandbox(patients=1)) as sandbox:
        # It speaks TLS that is trusted, and the tenant knows of no storage.
        account = sandbox.tenant.authority.split("/")[2]
        walk = await walked(app(sandbox, tmp_path, export_storage=[account]))

    assert {"storage": FAILED} == walk.statuses()
    assert AUDIENCE in walk["storage"].verdict.cause


async def test_server_that_nobody_signs_in_to_gives_no_token_for_storage(tmp_path: Path) -> None:
    async with settled(Sandbox(patients=1, is_open=True, has_storage=True)) as sandbox:
        config = app(sandbox, tmp_path, export_storage=[host(sandbox)])
        walk = await walked(config.replace(auth="anonymous"))

    assert SKIPPED == walk["storage"].verdict.status
    assert "nobody has signed in" in walk["storage"].verdict.cause


async def test_without_an_account_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    async with settled(Sandbox(patients=1)) as sandbox:
        walk = await walked(app(sandbox, tmp_path))

    assert (OK, "none is named") == (walk["storage"].verdict.status, walk["storage"].verdict.found)
