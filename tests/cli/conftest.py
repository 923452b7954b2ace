from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from proxy.cli.logs import LIBRARIES


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands that run in this process set up its logging; no other test is to find that."""
    loggers = [logging.getLogger(name) for name in ("", "proxy", *LIBRARIES)]
    levels = [logger.level for logger in loggers]
    handlers = loggers[0].handlers[:]
    yield
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
