from __future__ import annotations

import asyncio
import ssl
import tempfile
from pathlib import Path

import pytest

from proxy.sandbox.certificates import CertificateAuthority


async def handshake(context: ssl.SSLContext, trusted: bytes, name: str) -> str | None:
    """The TLS version of a strictly verified connection to a server with that context."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    strict = ssl.create_default_context(cadata=trusted.decode("ascii"))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=strict, server_hostname=name)
        version = writer.get_extra_info("ssl_object").version()
        writer.close()
        await writer.wait_closed()
    return str(version)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "sandbox.example", "192.0.2.7"])
async def test_chain_passes_strict_verification(name: str) -> None:
    authority = CertificateAuthority.create()

    version = await handshake(
        authority.server_context("sandbox.example", "192.0.2.7"), authority.ca_pem, name
    )

    assert version == "TLSv1.3"


async def test_other_names_are_not_covered() -> None:
    authority = CertificateAuthority.create()

    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        await handshake(authority.server_context(), authority.ca_pem, "sandbox.example")


async def test_another_authority_is_not_trusted() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(
            CertificateAuthority.create().server_context(), CertificateAuthority.create().ca_pem, "localhost"
        )


def test_no_file_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    CertificateAuthority.create().server_context()

    assert list(tmp_path.iterdir()) == []


def test_key_does_not_print() -> None:
    assert "PrivateKey" not in repr(CertificateAuthority.create())
