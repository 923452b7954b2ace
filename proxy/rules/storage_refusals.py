"""What to tell when a storage account does not give a file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import AuthenticationFailed, NotFound, ProxyError, StorageForbidden
from ..model import Challenge, ResponseHead
from .challenges import stated_error

ROLE = "Storage Blob Data Reader"
"""The least of Azure's built-in roles with which an identity reads files (Microsoft, "Azure built-in roles")."""

DOCUMENT = "docs/operations.md, section Exports in a storage account"

_CODE = re.compile(r"[A-Za-z]{1,64}")


def refused_by_storage(challenges: Sequence[Challenge]) -> AuthenticationFailed:
    """The error for a new token that an account does not take."""
    said = stated_error(challenges)
    return StorageForbidden(
        "The storage account refuses a token that was just obtained for it" + (f": {said}" if said else "."),
        hint="Check that the account belongs to the tenant that the proxy signs in to (--tenant), and that the "
        f"identity has the role {ROLE} there.",
    )


def refusal(account: str, head: ResponseHead, *, is_signed: bool) -> ProxyError | None:
    """The error for an account's answer, None where the answer says it all by itself.

    `is_signed` tells that the URL held a signature of its own, and no token went along.
    """
    code = head.fields.text(b"x-ms-error-code")
    said = f"{head.status} {code}" if _CODE.fullmatch(code) else str(head.status)
    match head.status:
        case 401 | 403 if is_signed:
            return StorageForbidden(
                f"{account} does not take the signature in the file's URL ({said}).",
                hint="It may have expired: ask the server for the list of files again, or start a new export.",
            )
        case 401 | 403:
            return StorageForbidden(
                f"{account} does not let the signed-in identity read its files ({said}).",
                hint=f"It needs the role {ROLE} on the account or its container, and the account has to take "
                f"requests from this network; a new role takes some minutes. See {DOCUMENT}.",
            )
        case 404:
            return NotFound(
                f"{account} has no such file ({said}).",
                hint="Files of exports are deleted after a time: start a new export.",
            )
    return None
