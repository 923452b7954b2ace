from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.layers import file_layer
from proxy.config.resolve import resolve
from proxy.config.settings import SETTINGS, AuthMethod
from proxy.config.starting import METHODS, first_file

CHOSEN = {"base_url": "https://fhir.example.org/r4", "listen": "localhost:8085"}


def test_every_method_is_described() -> None:
    assert set(get_args(AuthMethod)) == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_file_says_what_was_chosen(method: AuthMethod) -> None:
    assert {**CHOSEN, "auth": method} == tomllib.loads(first_file(method, CHOSEN, "my.toml"))


@pytest.mark.parametrize("method", METHODS)
def test_file_is_right_once_its_comments_are_filled_in(method: AuthMethod, tmp_path: Path) -> None:
    text = first_file(method, {**CHOSEN, "tenant": "example.org"}, "my.toml")
    values = tomllib.loads(re.sub(r'^# (\w+ = \[?)""', r'\1"given"', text, flags=re.MULTILINE))
    del values["ca_bundle"]  # a file that has to be there

    assert method == resolve([file_layer(values, "my.toml", tmp_path)]).config.servers[0].auth


@pytest.mark.parametrize("method", METHODS)
def test_each_setting_is_explained(method: AuthMethod) -> None:
    text = first_file(method, CHOSEN, "my.toml")
    keys = re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE)

    assert set(keys) <= set(SETTINGS)
    assert all(re.search(rf"^# .+\n(?:# )?{key} = ", text, re.MULTILINE) for key in keys)


@given(st.text())
def test_any_text_is_read_as_it_was_given(text: str) -> None:
    values = tomllib.loads(first_file("interactive", {**CHOSEN, "tenant": text}, "my.toml"))

    assert text == values["tenant"]
