"""Whether this process runs in a container."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""Files that Docker and Podman put into every container."""

VARIABLE = "KUBERNETES_SERVICE_HOST"
"""What Kubernetes sets in every pod (https://kubernetes.io/docs/concepts/services-networking/service/)."""


def is_container(environment: Mapping[str, str], marks: tuple[Path, ...] = MARKS) -> bool:
    """Whether one of the usual engines runs this process."""
    return VARIABLE in environment or any(mark.exists() for mark in marks)
