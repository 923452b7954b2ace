"""`demo`: the sandbox, the proxy before it, and a tour; no Azure account needed."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
from aiohttp import ClientSession, ClientTimeout
from rich.console import Console

from ..config import Config, ServerConfig
from ..sandbox import Sandbox
from ..sandbox.person import Person
from ..sandbox.tenant import DESKTOP, MEMBER, SECRET, SERVICE, Resource
from ..server import Proxy
from ..serving import serve
from .logs import set_up_logging
from .terminal import terminal_seams
from .tour import OPEN, SECURED, NotSeen, Sights

WAYS = ("client-secret", "device-code", "interactive", "anonymous")
OTHER_AUDIENCE = "https://another.example"
"""An API that the tenant knows as well: a token for it can be had, and is of no use at the server."""
STEP_SECONDS = 60
"""How long one answer may take in a check; the whole tour takes a few seconds."""


@click.command("demo", short_help="Show it all working, without an Azure account.")
@click.option("--auth", type=click.Choice(WAYS), default=WAYS[0], show_default=True, help="How to sign in.")
@click.option(
    "--listen", metavar="HOST:PORT", default="localhost:8080", show_default=True, help="The proxy's address."
)
@click.option(
    "--patients", type=click.IntRange(1, 100_000), default=300, show_default=True, help="How many there are."
)
@click.option(
    "--check",
    is_flag=True,
    help="Make the tour without a person; exit with 1 at the first thing that is off.",
)
def command(auth: str, listen: str, patients: int, check: bool) -> None:
    """Start a FHIR server that wants a sign-in, a tenant like Entra ID, and the proxy before them."""
    set_up_logging("error" if check else "info", "text")
    with _ca_file() as ca_file:
        demo = Demo(auth, listen, Sandbox(patients=patients, is_open=auth == "anonymous"), ca_file)
        asyncio.run(demo.check() if check else demo.run())


@contextmanager
def _ca_file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fhir-auth-proxy-") as folder:
        yield Path(folder) / "sandbox-ca.pem"


@dataclass(frozen=True, slots=True)
class Demo:
    """The sandbox and a proxy that signs in to it by `auth`; the tenant's certificate goes to `ca_file`."""

    auth: str
    listen: str
    sandbox: Sandbox
    ca_file: Path

    async def run(self) -> None:
        """Serve until interrupted, with commands to paste."""
        async with self.sandbox:
            self.ca_file.write_bytes(self.sandbox.tenant.ca_pem)
            config = Config.of({"server": [self.settings(self.listen)]})
            await serve(config, announce=self._introduce, seams=terminal_seams())

    async def check(self) -> None:
        """Make the tour."""
        console = Console(highlight=False, soft_wrap=True)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.sandbox)
            self.ca_file.write_bytes(self.sandbox.tenant.ca_pem)
            tool = await stack.enter_async_context(ClientSession(timeout=ClientTimeout(total=STEP_SECONDS)))
            proxy_url = await self._start(stack, self.settings(self.listen))
            misled_url = ""
            if self.auth != "anonymous":
                self.sandbox.tenant.register(
                    Resource(OTHER_AUDIENCE, preauthorized=frozenset({DESKTOP.client_id}))
                )
                misled_url = await self._start(
                    stack, {**self.settings("127.0.0.1:0"), "audience": OTHER_AUDIENCE}
                )
            sights = Sights(self.sandbox, tool, proxy_url, misled_url)
            for title, step in SECURED if misled_url else OPEN:
                try:
                    seen = await step(sights)
                except NotSeen as off:
                    console.print(f"[red]✗[/] {title}: [red]{off}[/]")
                    raise SystemExit(1) from off
                console.print(f"[green]✓[/] {title}: [dim]{seen}[/]")

    def settings(self, listen: str) -> dict[str, object]:
        """The settings of a proxy before the sandbox, as they would stand in a file."""
        settings: dict[str, object] = {
            "base_url": self.sandbox.fhir.base_url,
            "listen": listen,
            "auth": self.auth,
            "authority": self.sandbox.tenant.authority,
            "ca_bundle": str(self.ca_file),
            "token_cache": "none",  # nothing of a demonstration stays behind
        }
        match self.auth:
            case "client-secret":
                settings |= {"client_id": SERVICE.client_id, "client_secret": SECRET}
            case "device-code" | "interactive":
                settings |= {"client_id": DESKTOP.client_id}
        return settings

    async def _start(self, stack: AsyncExitStack, settings: dict[str, object]) -> str:
        person = Person(str(self.ca_file))
        seams = replace(terminal_seams(), browser=person, tell=person.read, attended=True)
        proxy = Proxy(ServerConfig.of(settings), seams)
        stack.push_async_callback(proxy.stop, 1.0)
        await proxy.start()
        return proxy.url

    def _introduce(self, url: str) -> None:
        """Say what runs where, and what to type."""
        console = Console(highlight=False, soft_wrap=True)
        fhir = self.sandbox.fhir.base_url
        wants = "takes anyone" if self.auth == "anonymous" else "wants a token of its tenant"
        console.print(f"\n[bold]FHIR server[/]  {fhir}  {wants}")
        if self.auth != "anonymous":
            console.print(f"[bold]Tenant[/]       {self.sandbox.tenant.authority}  like Entra ID")
        console.print(f"[bold]Proxy[/]        {url}  signs in by {self.auth}\n")
        if self.auth in {"device-code", "interactive"}:
            console.print(
                f"The first request asks for a sign-in: {MEMBER.username}, password “{MEMBER.password}”."
            )
            console.print("Your browser warns of the tenant's certificate, which was made a moment ago.\n")
        console.print("In another terminal:\n")
        for comment, line in self._lines(url):
            console.print(f"  # {comment}", style="dim")
            console.print(f"  {line}", markup=False)
        console.print("\nEach exchange is logged here. Ctrl-C stops.\n")

    def _lines(self, url: str) -> Iterator[tuple[str, str]]:
        """What to paste, each with what it shows."""
        if self.auth != "anonymous":
            yield "the server itself: 401, and a challenge", f"curl -i {self.sandbox.fhir.base_url}/Patient"
        yield "through the proxy: patients", f"curl '{url}/Patient?_count=2'"
        yield "its links are local", f"curl -s '{url}/Patient?_count=2' | grep -o '\"url\":\"[^\"]*'"
        patient = '{"resourceType":"Patient","name":[{"family":"Demo"}]}'
        yield (
            "what is written is the server's own",
            f"curl -i {url}/Patient -H 'Content-Type: application/fhir+json' -d '{patient}'",
        )
