from __future__ import annotations

import io
from pathlib import Path

import pytest

from proxy.cli.terminal import is_attended, terminal_seams


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


PERSON, PIPE = Terminal(), io.StringIO()
ATTENDED = [
    (PERSON, PERSON, {}, False, True),
    (PIPE, PERSON, {}, False, False),
    (PERSON, PIPE, {}, False, False),
    (None, PERSON, {}, False, False),
    (PERSON, None, {}, False, False),
    (PERSON, PERSON, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False, False),
    (PERSON, PERSON, {}, True, False),
]


@pytest.mark.parametrize(("stdin", "stderr", "environment", "marked", "expected"), ATTENDED)
def test_attended_means_a_person_at_a_terminal(
    tmp_path: Path,
    stdin: io.StringIO | None,
    stderr: io.StringIO | None,
    environment: dict[str, str],
    marked: bool,
    expected: bool,
) -> None:
    mark = tmp_path / "mark"
    if marked:
        mark.touch()

    assert expected is is_attended(stdin, stderr, environment, (mark,))


def test_program_without_a_terminal_is_unattended() -> None:
    assert not terminal_seams().attended
