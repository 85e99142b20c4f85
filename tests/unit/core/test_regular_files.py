"""Regular files in directories that others may write to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from encord_agents.core.regular_files import open_regular


def test_a_file(tmp_path: Path) -> None:
    """It is made if that is asked for, for its owner alone, and opened if it is there; `open` takes the opener."""
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError):
        open_regular(path, os.O_RDWR)
    descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"abc")
    os.close(descriptor)
    assert path.stat().st_mode & 0o777 == 0o600
    with open(path, "rb", opener=open_regular) as file:
        assert file.read() == b"abc"


@pytest.mark.parametrize("kind", ["FIFO", "directory", "link", "link to nothing", "device"])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT])
def test_everything_else_is_refused(tmp_path: Path, kind: str, flags: int) -> None:
    """At once, with an error that names the path; nothing is made where a link leads."""
    path, file = tmp_path / "path", tmp_path / "file"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        path = Path(os.devnull)
    else:
        path.symlink_to(file)
        if kind == "link":
            file.touch()
    with pytest.raises(OSError, match=path.name):
        open_regular(path, flags)
    assert file.exists() is (kind == "link")
