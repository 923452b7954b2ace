from __future__ import annotations

from collections.abc import Iterator

import pytest

from .tours import CLIENTS, Report
from .world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.close()


class Reports:
    """What each client saw on its tour, made when first asked for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._reports: dict[tuple[str, str, str], Report] = {}

    def __call__(self, client: str, server: str, way: str) -> Report:
        key = (client, server, way)
        if key not in self._reports:
            running = self._world.server(server)
            patients = self._world.count(running)
            report = CLIENTS[client](running.ways[way], f"tour{len(self._reports)}")
            self._reports[key] = {**report, "patients": {"value": patients}}
        return self._reports[key]


@pytest.fixture(scope="session")
def reports(world: World) -> Reports:
    return Reports(world)
