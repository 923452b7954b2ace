from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sandbox.tenant import EntraError
from proxy.sandbox.tenant.scopes import OPENID_SCOPES, Scopes


@pytest.mark.parametrize(
    ("text", "resource", "permissions", "openid"),
    [
        ("https://x/.default", "https://x", (".default",), set()),
        ("https://x//.default", "https://x/", (".default",), set()),
        ("https://x/a/b/read", "https://x/a/b", ("read",), set()),
        ("api://guid/read api://guid/write openid", "api://guid", ("read", "write"), {"openid"}),
        ("openid profile", "", (), {"openid", "profile"}),
        ("https://x/a  https://x/a", "https://x", ("a",), set()),
    ],
)
def test_scopes(text: str, resource: str, permissions: tuple[str, ...], openid: set[str]) -> None:
    assert Scopes.parse(text) == Scopes(resource, permissions, frozenset(openid))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 900144),
        (" ", 900144),
        ("read", 70011),
        ("https://x/", 70011),
        ("/read", 70011),
        ("https://x/.default https://x/read", 70011),
        ("https://x/a https://y/a", 700022),
    ],
)
def test_scopes_that_are_none(text: str, code: int) -> None:
    with pytest.raises(EntraError) as refused:
        Scopes.parse(text)

    assert refused.value.code == code


NAMES = st.text("abc.-_", min_size=1).filter(lambda name: name != ".default")


@given(
    st.text("abc:/.", min_size=1),
    st.lists(NAMES, min_size=1, unique=True),
    st.sets(st.sampled_from(sorted(OPENID_SCOPES))),
)
def test_text_is_what_was_asked(resource: str, names: list[str], openid: set[str]) -> None:
    text = " ".join(f"{resource}/{name}" for name in names)

    scopes = Scopes.parse(" ".join([text, *openid]))

    assert (scopes.text, scopes.openid) == (text, openid)
