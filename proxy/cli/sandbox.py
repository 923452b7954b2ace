"""`sandbox`: the tenant and the FHIR server alone, for a proxy or a client of your own."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import click

from ..errors import ConfigError
from ..sandbox import Sandbox
from ..sandbox.fhir import SPELLINGS
from ..sandbox.tenant import DESKTOP, POPULATION, SECRET, SERVICE
from ..signals import Stop, signals
from .logs import set_up_logging


@click.command("sandbox", short_help="Start a tenant like Entra ID and a FHIR server, for your own tool.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9080,
    show_default=True,
    help="Port of the FHIR server; 0 takes a free one.",
)
@click.option(
    "--tenant-port",
    type=click.IntRange(0, 65535),
    default=9443,
    show_default=True,
    help="Port of the tenant.",
)
@click.option(
    "--ca-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("sandbox-ca.pem"),
    show_default=True,
    help="Where the tenant's certificate authority is written.",
)
@click.option("--base-path", default="", metavar="PATH", help="Path of the FHIR server, such as /fhir/r4.")
@click.option("--tls", is_flag=True, help="Serve FHIR over TLS too.")
@click.option("--open", "is_open", is_flag=True, help="Take anyone, without a token.")
@click.option(
    "--patients", type=click.IntRange(1, 100_000), default=300, show_default=True, help="How many there are."
)
@click.option(
    "--spelling",
    type=click.Choice(sorted(SPELLINGS)),
    default="plain",
    show_default=True,
    help="How the server writes its own URLs.",
)
@click.option("--storage", is_flag=True, help="Keep the files of exports in a storage account beside it.")
@click.option("--audience", default="", help="Audience that the server expects; by default its base URL.")
def command(
    port: int,
    tenant_port: int,
    ca_file: Path,
    base_path: str,
    tls: bool,
    is_open: bool,
    patients: int,
    spelling: str,
    storage: bool,
    audience: str,
) -> None:
    """Start both until interrupted. stdout holds the settings with which a client reaches them."""
    set_up_logging("info", "text")
    sandbox = Sandbox(
        patients=patients,
        base_path=base_path,
        spelling=spelling,
        audience=audience,
        is_open=is_open,
        is_tls=tls,
        has_storage=storage,
    )
    asyncio.run(_serve(sandbox, port, tenant_port, ca_file))


async def _serve(sandbox: Sandbox, port: int, tenant_port: int, ca_file: Path) -> None:
    stop = Stop()
    try:
        await sandbox.start(fhir_port=port, tenant_port=tenant_port)
    except OSError as exc:
        raise ConfigError(
            f"The sandbox cannot listen on the ports {port} and {tenant_port}: {exc.strerror}.",
            hint="Take others with --port and --tenant-port; 0 finds a free one.",
        ) from exc
    try:
        for line in _settings(sandbox, _written(ca_file, sandbox.tenant.ca_pem)):
            click.echo(line)
        click.echo(_introduction(sandbox), err=True)
        with signals(stop.ask):
            await stop.drain.wait()
    finally:
        await sandbox.close()


def _written(ca_file: Path, pem: bytes) -> Path:
    ca_file.write_bytes(pem)
    return ca_file.absolute()


def _settings(sandbox: Sandbox, ca_file: Path) -> list[str]:
    """Environment variables of a proxy before the sandbox, for a shell to read."""
    settings = {
        "FHIR_AUTH_PROXY_BASE_URL": sandbox.fhir.base_url,
        "FHIR_AUTH_PROXY_AUTHORITY": sandbox.tenant.authority,
        "FHIR_AUTH_PROXY_CA_BUNDLE": str(ca_file),
        "AZURE_CLIENT_ID": SERVICE.client_id,
        "AZURE_CLIENT_SECRET": SECRET,
    }
    if sandbox.storage is not None:
        settings["FHIR_AUTH_PROXY_EXPORT_STORAGE"] = sandbox.storage.host
    return [f"{name}={shlex.quote(value)}" for name, value in settings.items()]


def _introduction(sandbox: Sandbox) -> str:
    people = "\n".join(
        f"  {user.username:28} {user.password:16} {user.note}" for user in POPULATION.users.values()
    )
    return (
        f"\nFHIR server  {sandbox.fhir.base_url}\nTenant       {sandbox.tenant.authority}\n\n"
        f"Above are the settings of a proxy that signs in as an application. A person signs in with the\n"
        f"client id {DESKTOP.client_id} (--auth interactive or device-code) as one of\n{people}\n\n"
        "Ctrl-C stops."
    )
