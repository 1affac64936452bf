"""From what a person names to models with a place each."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from spa.errors import ReadError, UsageError
from spa.zoo.sources import find
from tests.zoo.samples import save


def names(*sources, dest="dest"):
    return sorted(each.name for each in find(map(str, sources), Path(dest)))


def test_a_folder_keeps_its_layout(models):
    assert names(models) == ["deep/large.onnx", "deep/two.onnx", "one.onnx"]


def test_largest_first_with_what_lies_beside(models):
    found = find([str(models)], Path("dest"))
    assert [each.name for each in found] == ["deep/large.onnx", "deep/two.onnx", "one.onnx"]
    assert found[0].size > 20_000  # nearly all of it is in the data file


def test_hidden_folders_and_results_are_no_sources(models):
    save(models / ".cache" / "x.onnx")
    save(models / "out" / "one.onnx")
    (models / "notes.txt").write_text("no model")
    assert names(models, dest=models / "out") == ["deep/large.onnx", "deep/two.onnx", "one.onnx"]


def test_a_file_and_a_glob(models):
    assert names(models / "one.onnx") == ["one.onnx"]
    assert names(models / "*" / "t*.onnx") == ["deep/two.onnx"]
    assert names(models / "**" / "*.onnx") == ["deep/large.onnx", "deep/two.onnx", "one.onnx"]
    assert names(f"{models}/d*") == ["deep/large.onnx", "deep/two.onnx"]


def test_relative_paths_and_file_urls(models):
    assert names("models") == names(models) == names(models.as_uri())
    assert all(os.path.isabs(each.source) for each in find(["models"], Path("dest")))
    assert names("models/*.onnx") == ["one.onnx"]


def test_one_file_named_twice_is_one_model(models):
    assert names(models, models / "deep", models / "one.onnx") == names(models)


def test_two_files_for_one_place_are_refused(models, tmp_path):
    save(tmp_path / "other" / "one.onnx", 9)
    with pytest.raises(UsageError, match=r"would both become one\.onnx"):
        names(models, tmp_path / "other")
    assert "other/one.onnx" in names(tmp_path)


def test_a_result_never_takes_its_sources_place(models):
    with pytest.raises(UsageError, match="its own place"):
        names(models / "one.onnx", dest=models)


@pytest.mark.parametrize("source", ["none", "none.onnx", "none/*.onnx", "empty", "none.txt"])
def test_a_source_without_models_is_an_error(source):
    Path("empty").mkdir()
    with pytest.raises(ReadError, match=source.replace("*", r"\*")):
        names(source)


def test_a_list_of_paths(models, tmp_path):
    (tmp_path / "list.txt").write_text(
        "# the first ones\n\nmodels/one.onnx  # small\n./models/deep\n"
        f"{models.as_uri()}/deep/two.onnx\n"
    )
    whole = str(models).strip("/")
    assert names("list.txt") == [
        "models/deep/large.onnx",
        "models/deep/two.onnx",
        "models/one.onnx",
    ]
    (tmp_path / "absolute.txt").write_text(f"{models}/one.onnx\n{models}/d*/*.onnx\n")
    assert names("absolute.txt") == [
        f"{whole}/deep/large.onnx",
        f"{whole}/deep/two.onnx",
        f"{whole}/one.onnx",
    ]


def test_a_list_is_relative_to_itself(models, monkeypatch):
    (models / "deep" / "list.txt").write_text("../one.onnx\ntwo.onnx\n")
    monkeypatch.chdir("/")
    assert names(models / "deep" / "list.txt") == ["one.onnx", "two.onnx"]


def test_a_table_of_models(models, tmp_path):
    (tmp_path / "zoo.toml").write_text(
        'folder = "models"\n[[model]]\nname = "one"\n'
        '[[model]]\nname = "renamed"\npath = "models/deep/two.onnx"\nsha256 = "ab"\n'
        "[model.options]\nratio = 0.3\n"
        '[[model]]\npath = "models/deep/large.onnx"\nlicence = "MIT"\n'
    )
    assert names("zoo.toml") == ["models/deep/large.onnx", "one.onnx", "renamed.onnx"]
    renamed = next(e for e in find(["zoo.toml"], Path("d")) if e.name == "renamed.onnx")
    assert renamed.sha256 == "ab" and renamed.options == {"ratio": 0.3}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"\[\[model\]\]"),
        ("model = 3\n", r"\[\[model\]\]"),
        ("[[model]]\nlicence = 'MIT'\n", "neither path, url nor name"),
        ("[[model]]\npath = 'x.onnx'\noptions = 3\n", "no table"),
        ("[[model\n", "no TOML"),
        ("[[model]]\npath = 'missing.onnx'\n", "missing.onnx does not exist"),
    ],
)
def test_a_table_that_is_wrong_is_an_error(text, words):
    Path("zoo.toml").write_text(text)
    with pytest.raises(ReadError, match=words):
        names("zoo.toml")


def test_a_name_cannot_lead_out(models):
    Path("zoo.toml").write_text("[[model]]\npath = 'models/one.onnx'\nname = '../../x'\n")
    with pytest.raises(UsageError, match="leads out"):
        names("zoo.toml")


# Elsewhere


@pytest.fixture
def memory(models):
    """The models in fsspec's memory."""
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for path in models.rglob("*.onnx*"):
        system.pipe(f"/bucket/{path.relative_to(models).as_posix()}", path.read_bytes())
    yield system
    system.rm("/bucket", recursive=True)


def test_models_of_a_storage(memory):
    whole = ["deep/large.onnx", "deep/two.onnx", "one.onnx"]
    assert names("memory://bucket") == whole
    assert names("memory://bucket/deep") == ["large.onnx", "two.onnx"]
    assert names("memory://bucket/one.onnx") == ["one.onnx"]
    assert names("memory://bucket/*/t*.onnx") == ["deep/two.onnx"]
    found = find(["memory://bucket/deep"], Path("dest"))
    assert found[0].source.startswith("memory://") and found[0].size > 0


def test_a_list_of_urls(memory):
    Path("list.txt").write_text("memory://bucket/one.onnx\nmemory://bucket/deep\n")
    assert names("list.txt") == [
        "bucket/deep/large.onnx",
        "bucket/deep/two.onnx",
        "bucket/one.onnx",
    ]
    memory.pipe("/bucket/list.txt", b"one.onnx\ndeep/two.onnx\n")
    assert names("memory://bucket/list.txt") == ["deep/two.onnx", "one.onnx"]


def test_what_a_storage_lacks_is_named(memory):
    with pytest.raises(ReadError, match="memory://bucket/none"):
        names("memory://bucket/none")
    with pytest.raises(ReadError, match="nosuch://x"):
        names("nosuch://x/y")


def test_without_fsspec_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ReadError, match=r'pip install "onnx-spa\[remote\]"'):
        names("s3://bucket/models")
