"""A tenant in a process of its own, which a test can kill and start again as the same one.

    python -m tests.attacks.tenant_process PORT CA_FILE AUDIENCE

The file holds the authority that signs its certificate, with the key: Entra ID has the same one after an outage.
It prints the address to sign in at, and ends at the end of its stdin.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from proxy.sandbox.certificates import CertificateAuthority
from proxy.sandbox.tenant import SERVICE, Resource, Tenant


def authority_file(path: Path) -> Path:
    """A new authority with its key, in a file."""
    made = CertificateAuthority.create()
    key = made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.ca_pem + key)
    return path


@asynccontextmanager
async def tenant_process(port: int, ca_file: Path, audience: str) -> AsyncIterator[tuple[Process, str]]:
    """The process, and the address to sign in at."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, str(port), str(ca_file), audience),
        stdin=PIPE,
        stdout=PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().strip()
        assert address, "the tenant has not started"
        yield process, address
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def main(port: int, pem: bytes, audience: str) -> None:
    """Run until stdin ends."""
    key = load_pem_private_key(pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    tenant = Tenant(certificates=CertificateAuthority(x509.load_pem_x509_certificate(pem), key))
    await tenant.start(port=port)
    tenant.register(Resource(audience, app_roles={SERVICE.client_id: ("globalAdmin",)}))
    print(tenant.authority, flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.read)
    await tenant.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]).read_bytes(), sys.argv[3]))
