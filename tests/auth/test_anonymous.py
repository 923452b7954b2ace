from __future__ import annotations

import pytest

from proxy.auth.anonymous import AnonymousAuthenticator
from proxy.model import Challenge, Credentials, Rejection


@pytest.mark.parametrize(
    "rejected", [None, Rejection(Credentials(b"Bearer x"), (Challenge("bearer"),))], ids=["first", "rejected"]
)
async def test_there_are_never_credentials(rejected: Rejection | None) -> None:
    authenticator = AnonymousAuthenticator()

    assert await authenticator.credentials(rejected) is None

    await authenticator.close()
