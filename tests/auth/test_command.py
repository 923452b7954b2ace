from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from proxy.auth import Seams, authenticator
from proxy.auth.command import MAX_BYTES, MAX_LINES
from proxy.errors import AuthenticationFailed, ConfigError
from proxy.model import Rejection
from proxy.sandbox.tenant import Tenant

from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Settings, token_of


def running(script: str, *arguments: str) -> dict[str, object]:
    """Settings with a command that is a Python script."""
    return {"auth": "command", "command": [sys.executable, "-c", script, *arguments]}


def printing(text: str) -> dict[str, object]:
    return running("import sys; print(sys.argv[1])", text)


async def test_printed_token_is_used(app_settings: Settings, seams: Seams) -> None:
    signing = authenticator(app_settings(**printing("a.b.c")), seams)

    assert await token_of(signing) == "a.b.c"
    await signing.close()


async def test_arguments_reach_the_program_as_they_are(app_settings: Settings, seams: Seams) -> None:
    script = "import sys; print(len(sys.argv), *sys.argv[1:], sep='.')"
    signing = authenticator(app_settings(**running(script, "$HOME", "a;b", "")), seams)

    with pytest.raises(AuthenticationFailed, match="something else than one bearer token"):
        await token_of(signing)
    await signing.close()
    script = "import sys; print('yes' if sys.argv[1:] == ['$HOME', 'a;b', ''] else 'no')"
    signing = authenticator(app_settings(**running(script, "$HOME", "a;b", "")), seams)
    assert await token_of(signing) == "yes"
    await signing.close()


async def test_program_runs_once_for_all_and_again_before_expiry(
    app_settings: Settings, seams: Seams, clock: FakeClock, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    script = (
        "import pathlib, json, sys; f = pathlib.Path(sys.argv[1]); f.open('a').write('x');"
        "print(json.dumps({'access_token': 't%d' % len(f.read_text()), 'expires_in': 3600}))"
    )
    signing = authenticator(app_settings(**running(script, str(count))), seams)
    first = await asyncio.gather(*(token_of(signing) for _ in range(50)))
    clock.advance(3600)
    second = await token_of(signing)
    await signing.close()

    assert set(first) == {"t1"}
    assert second == "t2"


async def test_refused_token_has_the_program_run_again(
    app_settings: Settings, seams: Seams, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    signing = authenticator(
        app_settings(**running("import sys; print(open(sys.argv[1]).read())", str(file))), seams
    )
    first = await signing.credentials()
    assert first is not None
    file.write_text("second")
    second = await signing.credentials(Rejection(first))
    await signing.close()

    assert second is not None
    assert second.authorization == b"Bearer second"


async def test_real_token_in_the_form_of_az_is_verified_by_the_server(
    tenant: Tenant, app_settings: Settings, seams: Seams
) -> None:
    app = authenticator(app_settings(), seams)
    token = await token_of(app)
    await app.close()
    printed = json.dumps({"accessToken": token, "expires_on": 4102444800, "tokenType": "Bearer"})
    signing = authenticator(app_settings(**printing(printed)), seams)
    claims = tenant.verify(await token_of(signing), BASE_URL)
    await signing.close()

    assert claims.aud == BASE_URL


FAILURES = [
    # script, what is told
    ("raise SystemExit(3)", "ended with status 3[.]"),
    ("raise SystemExit(127)", r"ended with status 127 \(what it calls is not found\)"),
    ("", "is empty"),
    ("print('{\"hush\": 1}')", "is JSON in which no token is found"),
    ("print('{hush')", "begins like JSON and is none"),
    ("print('hush hush')", "something else than one bearer token"),
    ("import sys; sys.stdout.buffer.write(b'hush\\xff')", "is not text"),
    (f"print('hush' * {MAX_BYTES})", "prints more than 64 KiB"),
    ('print(\'{"access_token": "hush", "expires_in": -1}\')', "had expired"),
]


@pytest.mark.parametrize(("script", "words"), FAILURES)
async def test_failure_is_explained_without_what_was_printed(
    app_settings: Settings, seams: Seams, lines: list[str], script: str, words: str
) -> None:
    signing = authenticator(app_settings(**running(script)), seams)
    with pytest.raises(AuthenticationFailed, match=words) as raised:
        await token_of(signing)
    await signing.close()

    assert "hush" not in raised.value.message + raised.value.hint + "".join(lines)


async def test_stderr_is_shown_and_stdout_is_not(
    app_settings: Settings, seams: Seams, lines: list[str]
) -> None:
    script = (
        "import sys; print('hush'); sys.stderr.write('Visit \\x1b[1mhttps://device.example\\nno newline');"
        "raise SystemExit(1)"
    )
    signing = authenticator(app_settings(**running(script)), seams)
    with pytest.raises(AuthenticationFailed) as raised:
        await token_of(signing)
    await signing.close()
    name = Path(sys.executable).name

    assert [f"{name}: Visit  [1mhttps://device.example", f"{name}: no newline"] == lines
    assert "Visit" not in raised.value.message + raised.value.hint


async def test_tokens_on_stderr_are_not_shown_and_lines_are_bounded(
    app_settings: Settings, seams: Seams, lines: list[str]
) -> None:
    script = (
        "import sys; sys.stderr.write('eyJhbGciOiJub25lIn0.eyJhdWQiOiJ4In0.x\\n');"
        "sys.stderr.write('again\\n' * 1000); print('t')"
    )
    signing = authenticator(app_settings(**running(script)), seams)
    await token_of(signing)
    await signing.close()

    assert len(lines) == MAX_LINES
    assert "eyJ" not in "".join(lines)


async def test_time_limit_ends_the_program_and_its_children(
    app_settings: Settings, seams: Seams, tmp_path: Path
) -> None:
    # The grandchild holds the pipes open: who only ended the child would wait for ever.
    script = (
        "import subprocess, sys, time;"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); time.sleep(600)"
    )
    signing = authenticator(app_settings(**running(script), command_timeout=0.5), seams)
    with pytest.raises(AuthenticationFailed, match=r"no token within 0\.5 seconds"):
        await token_of(signing)
    await signing.close()


async def test_stop_ends_the_program(
    app_settings: Settings, seams: Seams, lines: list[str], tmp_path: Path
) -> None:
    script = "import sys, time; print('ready', file=sys.stderr, flush=True); time.sleep(600)"
    signing = authenticator(app_settings(**running(script)), seams)
    waiter = asyncio.create_task(signing.credentials())
    while not lines:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await signing.close()
    outcome = await asyncio.gather(waiter, return_exceptions=True)

    assert "stopping" in str(outcome[0])


async def test_missing_program_is_named_without_its_arguments(app_settings: Settings, seams: Seams) -> None:
    config = app_settings(auth="command", command=["no-such-program", "--password=hush"])
    signing = authenticator(config, seams)
    with pytest.raises(AuthenticationFailed, match="'no-such-program' is not found") as raised:
        await token_of(signing)
    await signing.close()

    assert "hush" not in raised.value.message + raised.value.hint


async def test_file_that_is_no_program_is_named(app_settings: Settings, seams: Seams, tmp_path: Path) -> None:
    signing = authenticator(app_settings(auth="command", command=[str(tmp_path)]), seams)
    with pytest.raises(AuthenticationFailed, match="cannot be started"):
        await token_of(signing)
    await signing.close()


async def test_missing_command_is_told(app_settings: Settings, seams: Seams) -> None:
    with pytest.raises(ConfigError, match=r"needs command \(--command"):
        authenticator(app_settings(auth="command"), seams)
