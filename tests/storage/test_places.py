"""What may be written: regular files that nobody reads, each once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from spa.errors import UsageError
from spa.graph.distinct import check_files
from spa.storage import check_apart, check_place, clashes


def special(kind: str, folder: Path) -> Path:
    place = folder / "out.onnx"
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place))
    else:
        place.symlink_to(os.devnull)
    return place


@pytest.mark.skipif(os.name != "posix", reason="kinds of files that only Unix has")
@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_only_regular_files_are_replaced(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    place = special(kind, Path())
    with pytest.raises(UsageError, match=rf"the output out\.onnx is a {kind}"):
        check_place(place, "the output", force=True)


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/null", "/proc/self/fd/1"])
def test_devices_are_no_files_whatever_they_lead_to(path):
    if os.path.exists(path):
        with pytest.raises(UsageError, match="is a device"):
            check_place(path, "the output", force=True)


def test_a_link_to_nowhere_is_something_that_is_there(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UsageError, match="already exists"):
        check_place(tmp_path / "link", "the output", force=False)
    check_place(tmp_path / "link", "the output", force=True)


@pytest.mark.parametrize("names", [("a.json", "a.json"), ("x/../a.json", "a.json")])
def test_nothing_is_written_twice(names, tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(UsageError, match="named for two things"):
        check_apart(tmp_path / name for name in names)


def test_names_that_differ_in_case_alone_are_one_file_somewhere(tmp_path):
    with pytest.raises(UsageError, match="named for two things"):
        check_apart([tmp_path / "Report.json", tmp_path / "report.JSON"])


def test_two_names_of_one_file_are_seen(tmp_path):
    (tmp_path / "a").touch()
    os.link(tmp_path / "a", tmp_path / "b")
    with pytest.raises(UsageError, match="one file under two names"):
        check_apart([tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize("way", ["itself", "hard link", "symbolic link", "through a folder"])
def test_what_is_read_is_never_written(way, tmp_path):
    read, write = tmp_path / "in", tmp_path / "out"
    read.write_text("precious")
    if way == "itself":
        write = read
    elif way == "hard link":
        os.link(read, write)
    elif way == "symbolic link":
        write.symlink_to(read)
    else:
        (tmp_path / "there").symlink_to(tmp_path)
        write = tmp_path / "there" / "in"
    with pytest.raises(UsageError, match="is the plan and is never changed"):
        clashes({"the plan": [read]}, [write])
    clashes({"the plan": [read]}, [tmp_path / "other"])


def test_a_folder_of_inputs_guards_what_is_read_from_it(tmp_path):
    for name in ("a.png", "out.onnx"):
        (tmp_path / name).touch()
    others = {"an input of --calib": tmp_path}
    with pytest.raises(UsageError, match=r"a\.png is an input of --calib"):
        check_files([], others, [tmp_path / "a.png"])
    check_files([], others, [tmp_path / "out.onnx", tmp_path / "new.png", None, "-"])
    check_files([b"bytes", "-", None], {"the plan": None}, [tmp_path / "out.onnx"])
