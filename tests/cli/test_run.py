from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest
from aiohttp import ClientSession
from click.testing import CliRunner

from proxy.cli import commands
from proxy.sandbox import Sandbox

from ..fakes.byte_server import Peer, byte_server


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program as a person starts it, in an environment with nothing of its own settings."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("FHIR_AUTH_", "AZURE_"))
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proxy", "run", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,  # without a terminal, as a service
    )
    try:
        async with asyncio.timeout(60):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def url_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def test_local_url_is_printed_when_the_listener_accepts() -> None:
    async with Sandbox(patients=3, is_open=True) as sandbox, ClientSession() as tool:
        async with program(sandbox.fhir.base_url, "--listen", "127.0.0.1:0") as process:
            url = await url_of(process)
            async with tool.get(f"{url}/Patient?_summary=count") as response:
                assert (await response.json(content_type=None))["total"] == 3
            process.send_signal(signal.SIGTERM)
            stdout, stderr = await process.communicate()

    assert (process.returncode, stdout) == (0, b"")
    assert b"served anonymously" in stderr
    assert b"search-type Patient 200" in stderr


async def test_running_exchange_ends_before_the_program_does() -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await released.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    async with byte_server(script) as server, ClientSession() as tool:
        base_url = f"http://127.0.0.1:{server.port}"
        async with program(base_url, "--auth", "anonymous", "--listen", "127.0.0.1:0") as process:
            url = await url_of(process)
            request = asyncio.ensure_future(tool.get(f"{url}/Patient/1"))
            await asked.wait()
            process.send_signal(signal.SIGTERM)
            await refusing(url)
            released.set()
            assert await (await request).read() == b"late"
            assert await process.wait() == 0


async def refusing(url: str) -> None:
    """Wait until the listener takes no connection any more; another process tells that in no other way."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        except OSError:
            return
        writer.close()
        await asyncio.sleep(0.01)


async def test_second_signal_cuts_what_runs() -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await peer.rest()

    async with byte_server(script) as server, ClientSession() as tool:
        base_url = f"http://127.0.0.1:{server.port}"
        async with program(base_url, "--auth", "anonymous", "--listen", "127.0.0.1:0") as process:
            url = await url_of(process)
            request = asyncio.ensure_future(tool.get(f"{url}/Patient/1"))
            await asked.wait()
            process.send_signal(signal.SIGTERM)
            await refusing(url)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            assert isinstance((await asyncio.gather(request, return_exceptions=True))[0], Exception)


async def ended(*arguments: str) -> tuple[int | None, bytes, str]:
    async with program(*arguments) as process:
        stdout, stderr = await process.communicate()
    return process.returncode, stdout, stderr.decode()


WRONG: Sequence[tuple[tuple[str, ...], str]] = [
    (("nowhere", "--auth", "magic"), "base_url"),
    (("https://fhir.example", "--auth", "client-secret"), "client_id"),
    (("https://fhir.example", "--auth", "anonymous", "--ca-bundle", "no-such-file.pem"), "no-such-file.pem"),
    (
        ("https://fhir.example", "--auth", "anonymous", "--listen", "no-such-host.invalid:0"),
        "no-such-host.invalid",
    ),
]


@pytest.mark.parametrize(("arguments", "named"), WRONG, ids=[named for _, named in WRONG])
async def test_wrong_settings_start_nothing_and_are_named(arguments: tuple[str, ...], named: str) -> None:
    status, stdout, stderr = await ended(*arguments)

    assert (status, stdout) == (2, b"")
    assert named in stderr
    assert "Traceback" not in stderr


async def test_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, stderr = await ended(
            "https://fhir.example", "--auth", "anonymous", "--listen", f"127.0.0.1:{port}"
        )

    assert (status, f"port {port} is taken" in stderr) == (2, True)


async def test_default_admin_port_that_is_taken_is_told_and_does_without() -> None:
    with ExitStack() as stack:
        with suppress(OSError):  # Whoever else has it is as good.
            stack.enter_context(socket.create_server(("127.0.0.1", 8079)))
        arguments = ("http://127.0.0.1:9", "--auth", "anonymous", "--listen", "127.0.0.1:0")
        async with program(*arguments) as process:
            assert (await url_of(process)).startswith("http://127.0.0.1:")
            process.send_signal(signal.SIGTERM)
            _, stderr = await process.communicate()

    assert 0 == process.returncode
    assert b"No admin listener: admin_listen = localhost:8079: port 8079 is taken" in stderr


async def test_admin_port_that_is_asked_for_has_to_be_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, stdout, stderr = await ended(
            *("http://127.0.0.1:9", "--auth", "anonymous", "--listen", "127.0.0.1:0"),
            *("--admin-listen", f"127.0.0.1:{port}"),
        )

    assert (2, b"") == (status, stdout)
    assert f"admin_listen = 127.0.0.1:{port}: port {port} is taken" in stderr
    assert "--admin-listen 127.0.0.1:0" in stderr


async def test_no_admin_listener_where_none_is_wanted() -> None:
    arguments = (
        "http://127.0.0.1:9",
        "--auth",
        "anonymous",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "off",
    )
    async with program(*arguments) as process:
        await url_of(process)
        process.send_signal(signal.SIGTERM)
        _, stderr = await process.communicate()

    assert (0, False) == (process.returncode, b"dmin listener" in stderr)


async def line_with(process: asyncio.subprocess.Process, *words: str) -> str:
    """The next line of the log that holds all of them."""
    assert process.stderr is not None
    while line := (await process.stderr.readline()).decode():
        if all(word in line for word in words):
            return line
    raise AssertionError(f"no line with {words}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
async def test_hangup_has_the_settings_read_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("settings") / "c.toml"
    async with Sandbox(patients=3, is_open=True) as sandbox, ClientSession() as tool:
        settings = f'base_url = "{sandbox.fhir.base_url}"\nlisten = "127.0.0.1:0"\n'
        file.write_text(settings, "utf-8")
        async with program("--config", str(file)) as process:
            url = await url_of(process)
            for text, words in (
                ('policy = "nothing"', "The settings stay as they were: policy"),
                ('policy = "read-only"', "The settings were read again."),
            ):
                file.write_text(settings + text, "utf-8")
                process.send_signal(signal.SIGHUP)
                await line_with(process, words)
            async with tool.post(f"{url}/Patient", json={"resourceType": "Patient"}) as response:
                assert response.status == 403
            process.send_signal(signal.SIGTERM)
            await process.communicate()

    assert process.returncode == 0


async def test_reload_tells_what_is_wrong_and_what_was_taken(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.mktemp("settings") / "c.toml"
    settings = 'base_url = "http://127.0.0.1:9"\nauth = "anonymous"\nlisten = "127.0.0.1:0"\n'
    file.write_text(settings, "utf-8")
    async with program("--config", str(file), "--admin-listen", "127.0.0.1:0") as process:
        admin = (await line_with(process, "Admin listener")).rpartition("http://")[2].strip()

        async def reload() -> tuple[int, str]:
            result = await asyncio.to_thread(CliRunner().invoke, commands, ["reload", "--admin", admin])
            return result.exit_code, result.output

        file.write_text(settings + 'policy = "nothing"\nretry = "perhaps"', "utf-8")
        status, output = await reload()
        assert 2 == status
        assert [True, True] == [word in output for word in ("error: policy = ", "error: retry = ")]
        assert "hint: The proxy goes on with the settings that it has." in output
        file.write_text(settings + 'policy = "read-only"', "utf-8")
        assert (0, "The settings were read again.\n") == await reload()
        process.send_signal(signal.SIGTERM)
        await process.communicate()

    assert process.returncode == 0
