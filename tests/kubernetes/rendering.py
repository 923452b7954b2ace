"""The manifests as a cluster gets them: rendered by kustomize, whose program kubectl has within."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

from ..clients.building import needed

MANIFESTS = Path(__file__).parents[2] / "config" / "kubernetes"
IMAGE = "fhir-auth-proxy:"

Object = dict[str, object]


def rendered(folder: Path) -> list[Object]:
    command = ["kustomize", "build"] if shutil.which("kustomize") else [needed("kubectl"), "kustomize"]
    result = subprocess.run([*command, str(folder)], check=False, capture_output=True, text=True)
    assert 0 == result.returncode, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def each(value: object) -> Iterator[Object]:
    """Every mapping in a document, however deep."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for element in value:
            yield from each(element)


def containers(objects: list[Object]) -> list[Object]:
    return [container for object_ in objects for container in each(object_) if "image" in container]


def ours(objects: list[Object]) -> list[Object]:
    return [container for container in containers(objects) if str(container["image"]).startswith(IMAGE)]
