from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from proxy.cli.logs import TextFormatter, tame

from .ground import PATIENT, TOKEN


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """Whatever an attack does, the log as the program writes it shows no patient, no query and no token."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(TextFormatter())
    handler.addFilter(tame)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield written
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert PATIENT not in written.getvalue()
    assert TOKEN not in written.getvalue()
    assert "\x1b" not in written.getvalue()
