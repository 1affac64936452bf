"""Timings are kept between runs, for one machine, and never in the way."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest

from spa.latency import Store, machine
from spa.storage import cache_folder
from tests.latency.fakes import HERE


def test_what_is_flushed_is_there_next_time(tmp_path):
    first = Store(HERE, tmp_path / "new" / "folder")
    first.put({"a": 1.5})
    assert first.get("a") == 1.5
    assert Store(HERE, tmp_path / "new" / "folder").get("a") is None, "not before it is flushed"
    assert first.flush()
    second = Store(HERE, tmp_path / "new" / "folder")
    assert second.get("a") == 1.5 and second.get("b") is None


@pytest.mark.parametrize(
    "other",
    [
        {"cpu": "another"},
        {"processors": 8},
        {"threads": 2},
        {"onnxruntime": "1.1"},
        {"provider": "CUDAExecutionProvider", "gpu": "some card"},
    ],
)
def test_another_machine_knows_nothing_of_it(tmp_path, other):
    here = Store(HERE, tmp_path)
    here.put({"a": 1.5})
    here.flush()
    there = Store(replace(HERE, **other), tmp_path)
    assert there.path != here.path and there.get("a") is None
    # even where the files of two machines have one name
    there.path.write_text(here.path.read_text())
    assert Store(replace(HERE, **other), tmp_path).get("a") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b'{"format": 1}',
        b'{"format": 99, "machine": {}, "milliseconds": {"a": 1}}',
    ],
)
def test_a_damaged_file_counts_as_empty_and_is_replaced(tmp_path, content):
    store = Store(HERE, tmp_path)
    store.path.write_bytes(content)
    again = Store(HERE, tmp_path)
    assert again.get("a") is None
    again.put({"a": 2.0})
    assert again.flush()
    assert Store(HERE, tmp_path).get("a") == 2.0


def test_numbers_that_are_none_are_left_out(tmp_path):
    store = Store(HERE, tmp_path)
    store.put({"a": 2.0})
    store.flush()
    told = json.loads(store.path.read_text())
    told["milliseconds"] |= {"b": -1.0, "c": float("nan"), "d": float("inf")}
    store.path.write_text(json.dumps(told))
    found = Store(HERE, tmp_path)
    assert [found.get(name) for name in "abcd"] == [2.0, None, None, None]


def test_two_runs_at_once_keep_what_both_found(tmp_path):
    one, two = Store(HERE, tmp_path), Store(HERE, tmp_path)
    one.put({"a": 1.0})
    two.put({"b": 2.0})
    one.flush()
    two.flush()
    both = Store(HERE, tmp_path)
    assert (both.get("a"), both.get("b")) == (1.0, 2.0)
    assert [p.suffix for p in tmp_path.iterdir()] == [".json"], "nothing half-written is left"


WRITER = """
import sys
from spa.latency import Store
from tests.latency.fakes import HERE
from pathlib import Path
for k in range(40):
    store = Store(HERE, Path(sys.argv[1]))
    store.put({f"{sys.argv[2]}{k}": 1.0})
    store.flush()
"""


def test_readers_never_see_half_a_file(tmp_path):
    root = Path(__file__).parents[2]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], cwd=root)
        for name in "ab"
    ]
    path = Store(HERE, tmp_path).path
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            assert json.loads(path.read_text())["format"] == 1
    assert [writer.returncode for writer in writers] == [0, 0]
    found = Store(HERE, tmp_path)
    assert found.get("a39") == 1.0 or found.get("b39") == 1.0


def test_a_folder_that_cannot_be_written_costs_no_run(tmp_path):
    (tmp_path / "taken").write_text("a file")
    store = Store(HERE, tmp_path / "taken")
    store.put({"a": 1.0})
    assert not store.flush() and store.get("a") == 1.0


def test_without_a_folder_nothing_is_kept():
    store = Store(HERE, None)
    store.put({"a": 1.0})
    assert store.path is None and not store.flush() and store.get("a") == 1.0


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("SPA_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    for off in ("off", "", "0", "None"):
        monkeypatch.setenv("SPA_CACHE", off)
        assert cache_folder() is None
    monkeypatch.delenv("SPA_CACHE")
    found = cache_folder()
    assert found == Path(platformdirs.user_cache_dir("spa", False)) and found.is_absolute()
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: Path("~/.cache/spa"))
    assert cache_folder() is None  # there is no home


def test_the_machine_at_hand():
    pytest.importorskip("onnxruntime")
    here = machine("cpu", 2)
    assert here.provider == "CPUExecutionProvider" and here.threads == 2 and here.gpu == ""
    assert here.processors >= 1 and here.onnxruntime[0].isdigit()
    assert here.key == machine("cpu", 2).key != machine("cpu", 1).key
