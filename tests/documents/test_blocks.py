"""Every block of code in the documents is run, or held against what it is for; none is left out."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from proxy.cli import commands
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE

from ..clients.building import needed
from ..test_packaging import held_to_schema
from .azure import strangers
from .blocks import ROOT, Block, blocks

BLOCKS = {block.name: block for block in blocks() if not block.recipe}
SERVER = "https://example.fhir.azurehealthcareapis.com"
CLIENT_ID, TENANT = "00000000-0000-0000-0000-000000000000", "11111111-1111-1111-1111-111111111111"


class Walk:
    """A shell as a reader has it, but that the server is the sandbox and the app registration the sandbox's."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        ca_file, programs = folder / "ca.pem", folder / "bin"
        ca_file.write_bytes(sandbox.tenant.ca_pem)
        programs.mkdir()
        program = programs / "fhir-auth-proxy"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m proxy "$@"\n', "utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        path = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("FHIR_AUTH_", "AZURE_"))
        }
        (folder / "report.py").write_text('import os\n\nprint(os.environ["FHIR_BASE_URL"])\n', "utf-8")
        self.folder = folder
        self.environment = {
            **kept,
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "FHIR_AUTH_PROXY_AUTHORITY": sandbox.tenant.authority,
            "FHIR_AUTH_PROXY_CA_BUNDLE": str(ca_file),
            "FHIR_AUTH_PROXY_ADMIN_LISTEN": "off",
            "AZURE_CLIENT_ID": SERVICE.client_id,
            "AZURE_CLIENT_SECRET": SECRET,
        }
        self._words = {
            SERVER: sandbox.fhir.base_url,
            CLIENT_ID: SERVICE.client_id,
            TENANT: sandbox.tenant.authority.rpartition("/")[2],
            "the-secret-of-the-app-registration": SECRET,
        }

    def code(self, block: Block) -> str:
        code = block.code
        for documented, here in self._words.items():
            code = code.replace(documented, here)
        return code.replace("--auth interactive", "--auth client-secret").replace("--port 8080", "--port 0")

    async def shell(self, code: str) -> tuple[asyncio.subprocess.Process, str]:
        """A shell that runs `code`, and the first line that it prints."""
        if sys.platform == "win32":
            pytest.skip("the blocks are for a shell of Linux or macOS")
        process = await asyncio.create_subprocess_exec(
            *(needed("bash"), "-euo", "pipefail", "-c", code),
            cwd=self.folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        return process, (await process.stdout.readline()).decode()


async def executed(block: Block, walk: Walk) -> None:
    process, first = await walk.shell(walk.code(block))
    rest = (await process.communicate())[0].decode()

    assert 0 == process.returncode, first + rest


async def served(block: Block, walk: Walk) -> None:
    """`run` prints the address when it accepts, and goes on until it is told to stop."""
    walk.environment |= {"FHIR_AUTH_PROXY_LISTEN": "127.0.0.1:0", "FHIR_AUTH_PROXY_LOG_LEVEL": "error"}
    process, first = await walk.shell(f"exec {walk.code(block)}")
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    rest = (await process.communicate())[0].decode()

    assert first.startswith("http://127.0.0.1:"), first + rest
    assert 0 == process.returncode, rest


async def served_from_file(block: Block, walk: Walk) -> None:
    await executed(BLOCKS["getting-started.md: " + INIT], walk)
    await served(block, walk)


async def executed_with_file(block: Block, walk: Walk) -> None:
    await executed(BLOCKS["getting-started.md: " + INIT], walk)
    await executed(block, walk)


async def asked_of_the_proxy(block: Block, walk: Walk) -> None:
    """What a tool does, with a proxy of its own."""
    runner = "bash -c" if block.language == "sh" else f"{shlex.quote(sys.executable)} -c"
    code = walk.code(block).replace("http://localhost:8080", "{url}")
    if block.language == "python":
        code = code.replace("'", '"')
    await executed(
        Block(block.page, "sh", f"fhir-auth-proxy exec {SERVER} -- {runner} {shlex.quote(code)}", ""), walk
    )


async def known_to_the_azure_cli(block: Block, _: Walk) -> None:
    assert [] == strangers(block.code)
    assert "az " in block.code


async def certificate_made(block: Block, walk: Walk) -> None:
    """openssl is run, the Azure CLI is not; the program takes what was made."""
    needed("openssl")
    own = "\n".join(line for line in block.code.splitlines() if not line.startswith("az "))
    await known_to_the_azure_cli(block, walk)
    await executed(Block(block.page, "sh", own, ""), walk)
    result = CliRunner().invoke(
        commands,
        ["config", "show", SERVER, "--auth", "client-certificate", "--client-id", CLIENT_ID, "--tenant", TENANT, "--client-certificate-file", str(walk.folder / "client-certificate.pem")],
    )  # fmt: skip

    assert 0 == result.exit_code, result.output


async def container_settings_right(block: Block, _: Walk) -> None:
    """There is no container engine for tests; the settings are those that the program takes."""
    words = shlex.split(block.code.replace("\\\n", " "))
    given = [words[at + 1] for at, word in enumerate(words) if word == "-e"]
    settings = dict(setting.partition("=")[::2] for setting in given if "=" in setting)
    passed = dict.fromkeys((setting for setting in given if "=" not in setting), "value")
    result = CliRunner(env={**settings, **passed}).invoke(commands, ["config", "show"])

    assert len(settings) + len(passed) >= 5
    assert 0 == result.exit_code, result.output


async def workflow(block: Block, _: Walk) -> None:
    """A job in full, but for the event that starts it."""
    [job] = yaml.safe_load(block.code)["jobs"].values()
    lines = [step["run"] for step in job["steps"] if str(step.get("run", "")).startswith("fhir-auth-proxy")]
    held_to_schema("github-workflows", f"on: push\n{block.code}")

    assert [0] == [accepted(shlex.split(line)[1:]) for line in lines]


def accepted(words: list[str]) -> int:
    """0 where the program takes the command line, without running it."""
    name, *rest = words
    command = commands.get_command(commands.make_context("", ["--help"], resilient_parsing=True), name)
    assert command is not None
    command.make_context(name, rest)
    return 0


async def manifest(block: Block, _: Walk) -> None:
    """tests/kubernetes renders the same words."""
    document = yaml.safe_load(block.code)
    example = (ROOT / "config" / "kubernetes" / "deployment" / "kustomization.yaml").read_text("utf-8")

    assert document.get("configMapGenerator", []) in (yaml.safe_load(example)["configMapGenerator"], [])


async def run_elsewhere(block: Block, _: Walk) -> None:
    """.ci/run makes these its own commands; what they start is what is running here."""
    assert "README.md" == block.page
    assert re.search(rf"<!-- the (demo|tests) -->\n```sh\n{re.escape(block.code)}```\n<!-- end -->", (ROOT / "README.md").read_text("utf-8"))  # fmt: skip


def stands_in(path: Path, words: str) -> Callable[[Block, Walk], Awaitable[None]]:
    """The command is that of a file which is tested by itself."""
    text = path.read_text("utf-8")

    async def looked_up(block: Block, _: Walk) -> None:
        assert block.code.strip().endswith(words)
        assert words in text

    return looked_up


async def cannot_be_run(block: Block, _: Walk) -> None:
    """Power Query, R's packages and Spark cannot be had where the tests run; the page says so."""
    assert "tools.md" == block.page
    assert "those marked ○ are not" in (ROOT / "docs" / "tools.md").read_text("utf-8")


async def drawn(block: Block, _: Walk) -> None:
    assert "│" in block.code or "toctree" in block.language


INIT = "fhir-auth-proxy init https://example.fhir.azurehealthcareapis.com --auth interactive --port 8080"[:70]
AZ = "az ad app create --display-name fhir-auth-proxy"
WAYS: dict[str, Callable[[Block, Walk], Awaitable[None]]] = {
    "README.md: ┌": drawn,
    "README.md: python3 -m venv": run_elsewhere,
    "README.md: curl": asked_of_the_proxy,
    "README.md: fhir-auth-proxy run": served,
    "README.md: fhir-auth-proxy exec": executed,
    "README.md: fhir-auth-proxy doctor": executed,
    "README.md: docker build": container_settings_right,
    "getting-started.md: python -m pip install .": stands_in(ROOT / "README.md", "pip install ."),
    "getting-started.md: fhir-auth-proxy init": executed,
    "getting-started.md: fhir-auth-proxy run --config": served_from_file,
    "getting-started.md: from fhirpy": asked_of_the_proxy,
    "getting-started.md: fhir-auth-proxy service install": executed_with_file,
    "getting-started.md: export AZURE": executed,
    "getting-started.md: jobs:": workflow,
    "getting-started.md: fhir-auth-proxy doctor": executed,
    "getting-started.md: docker compose": stands_in(
        ROOT / "compose.yaml", "docker compose up --build --abort-on-container-exit --exit-code-from tool"
    ),
    "index.md: ": drawn,
    "kubernetes.md: # ": manifest,
    "kubernetes.md: az": known_to_the_azure_cli,
    "operations.md: az": known_to_the_azure_cli,
    "operations.md: fhir-auth-proxy run": served,
    "sign-in.md: az": known_to_the_azure_cli,
    "sign-in.md: openssl": certificate_made,
    "tools.md: let": cannot_be_run,
    "tools.md: library(fhircrackr)": cannot_be_run,
    "tools.md: from pathling": cannot_be_run,
    "troubleshooting.md: fhir-auth-proxy doctor": executed,
}
"""The start of a block's name -> what is done with it."""


def way_of(name: str) -> Callable[[Block, Walk], Awaitable[None]]:
    starts = [start for start in WAYS if name.startswith(start)]
    assert starts, f"nothing runs the block {name}"
    return WAYS[max(starts, key=len)]


@pytest.mark.parametrize("name", BLOCKS)
async def test_block_of_the_documents_holds(name: str, tmp_path: Path) -> None:
    async with Sandbox(patients=3) as sandbox, asyncio.timeout(60):
        await way_of(name)(BLOCKS[name], Walk(sandbox, tmp_path))


def test_every_way_is_some_blocks() -> None:
    assert not [start for start in WAYS if not any(name.startswith(start) for name in BLOCKS)]
