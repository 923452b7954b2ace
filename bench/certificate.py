"""The upstream's certificate."""

from __future__ import annotations

from pathlib import Path

import trustme

from .peer import AUTHORITY, CERTIFICATE, KEY, SERVER_NAME


def write_certificate(folder: Path) -> None:
    """A certificate for this machine, its key, and the authority that signed it."""
    authority = trustme.CA()
    issued = authority.issue_cert(SERVER_NAME, "127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / AUTHORITY))
    issued.cert_chain_pems[0].write_to_path(str(folder / CERTIFICATE))
    issued.private_key_pem.write_to_path(str(folder / KEY))
