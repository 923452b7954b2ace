from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath

import pytest

from proxy.auth.private_file import PrivateFile, state_folder
from proxy.errors import ConfigError

FOLDERS = [
    ("linux", {"HOME": "/h"}, "/h/.local/state/fhir-auth-proxy"),
    ("linux", {"HOME": "/h", "XDG_STATE_HOME": "/s"}, "/s/fhir-auth-proxy"),
    ("linux", {"HOME": "/h", "XDG_STATE_HOME": "relative"}, "/h/.local/state/fhir-auth-proxy"),
    ("darwin", {"HOME": "/h", "XDG_STATE_HOME": "/s"}, "/h/Library/Application Support/fhir-auth-proxy"),
    ("win32", {"LOCALAPPDATA": "/l", "HOME": "/h"}, "/l/fhir-auth-proxy"),
    ("win32", {"HOME": "/h"}, "/h/AppData/Local/fhir-auth-proxy"),
]


@pytest.mark.skipif(sys.platform == "win32", reason="paths are written as POSIX has them")
@pytest.mark.parametrize(("platform", "environment", "folder"), FOLDERS)
def test_each_system_has_its_place(platform: str, environment: dict[str, str], folder: str) -> None:
    assert PurePosixPath(folder) == state_folder(environment, platform)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = PrivateFile(tmp_path / "own" / "a.json")
    before = file.read()
    file.write("one")
    file.write("zwei ä")

    assert (before, file.read()) == (None, "zwei ä")
    assert os.listdir(tmp_path / "own") == ["a.json"]
    file.delete()
    assert file.read() is None


@pytest.mark.skipif(sys.platform == "win32", reason="modes and owners are POSIX")
@pytest.mark.parametrize("damage", ["link", "open", "folder", "directory", "pipe"])
def test_what_could_be_planted_or_read_by_others_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "own" / "a.json"
    file = PrivateFile(path)
    file.write("secret")
    match damage:
        case "open":
            path.chmod(0o640)
        case "folder":
            path.parent.chmod(0o755)
        case _:
            path.unlink()
            if damage == "link":
                path.symlink_to(tmp_path / "b.json")
            elif damage == "pipe":
                os.mkfifo(path, 0o600)
            else:
                path.mkdir(0o700)
    with pytest.raises(ConfigError, match="neither read nor written") as writing:
        file.write("more")
    with pytest.raises(ConfigError, match="neither read nor written"):
        file.read()

    assert "secret" not in writing.value.message + writing.value.hint
    assert not (tmp_path / "b.json").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_file_of_another_user_is_refused(tmp_path: Path) -> None:
    file = PrivateFile(tmp_path / "own" / "a.json")
    file.write("secret")
    os.chown(file.path, 65532, 65532)

    with pytest.raises(ConfigError, match="belongs to another user"):
        file.read()
    with pytest.raises(ConfigError, match="belongs to another user"):
        file.write("more")
