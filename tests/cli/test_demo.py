from __future__ import annotations

import asyncio
import os
import sys

import pytest

from proxy.cli.demo import WAYS


async def output(*arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proxy", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "NO_COLOR": "1"},
    )
    async with asyncio.timeout(120):
        text, _ = await process.communicate()
    return process.returncode, text.decode()


@pytest.mark.parametrize("auth", WAYS)
async def test_tour_sees_everything_by_every_way_to_sign_in(auth: str) -> None:
    status, text = await output(
        "demo", "--check", "--patients", "60", "--listen", "127.0.0.1:0", "--auth", auth
    )

    assert status == 0, text
    assert [line[0] for line in text.splitlines()] == ["✓"] * (3 if auth == "anonymous" else 6)
