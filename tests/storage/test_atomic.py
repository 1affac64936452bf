"""Files appear at once or not at all; what killed runs left goes with the next one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spa.errors import UsageError
from spa.storage import Scratch, clean, drafted, replaced, scratch
from spa.storage.stale import MARK, SCRATCH

posix = pytest.mark.skipif(os.name != "posix", reason="locks of folders are Unix's")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path):
    target = tmp_path / "a"
    for text in (b"one", b"two"):
        replaced(target, text, "it", "mend it")
        assert target.read_bytes() == text and names(tmp_path) == ["a"]


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path):
    (tmp_path / "far").write_text("far")
    (tmp_path / "link").symlink_to(tmp_path / "far")
    replaced(tmp_path / "link", b"near", "it", "mend it")
    assert (tmp_path / "far").read_text() == "far"
    assert not (tmp_path / "link").is_symlink() and (tmp_path / "link").read_text() == "near"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_what_the_system_refuses_is_one_sentence(number, call, tmp_path, monkeypatch):
    (tmp_path / "a").write_text("old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(UsageError) as raised:
            replaced(tmp_path / "a", b"new", "the report", "name another")
    assert str(raised.value) == (
        f"cannot write the report {tmp_path / 'a'} ({os.strerror(number)}); name another"
    )
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


@posix
def test_a_draft_in_use_is_nobodys_leftover(tmp_path):
    with drafted(tmp_path / "a") as draft:
        clean(tmp_path)
        assert draft.path.exists()
    assert names(tmp_path) == []


LEAVE = """
import os, sys
from spa.storage.atomic import Draft
from spa.storage import Scratch
from pathlib import Path
Draft(Path(sys.argv[1]) / "a"), Scratch()
os._exit(9)
"""


def test_what_a_killed_run_left_goes_with_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    subprocess.run([sys.executable, "-c", LEAVE, tmp_path], env=environment, check=False)
    left = names(tmp_path)
    assert len(left) == 2 and left[0].endswith(MARK) and left[1].startswith(SCRATCH)
    mine = [".a.tmp", f".{'0' * 12}{MARK}", f"a.{'0' * 12}{MARK}", ".a.0123456789ag.spa-tmp"]
    for name in mine:  # what only looks like ours
        (tmp_path / name).touch()
    (tmp_path / f".b.{'0' * 12}{MARK}").mkdir()
    clean(tmp_path)
    assert names(tmp_path) == sorted(mine)


def test_a_scratch_folder_in_use_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one, two = Scratch(), Scratch()
    clean(tmp_path)
    assert one.path.is_dir() and two.path.is_dir()
    one.remove()
    one.remove()
    with scratch() as folder:
        assert folder.is_dir()
    assert [path.name for path in two.path.parent.parent.iterdir()] == [two.path.parent.name]
    two.remove()
    assert names(tmp_path) == []


def test_no_place_for_temporary_files_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match=r"cannot make a folder for temporary .*TMPDIR"):
        Scratch()
