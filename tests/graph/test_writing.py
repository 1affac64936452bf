"""Writing: all or nothing, the same bytes every time, and nothing is lost on the way."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from spa import runtime
from spa.errors import UsageError
from spa.graph import read, save, write
from spa.probes import plain
from tests.graph.small import external, linear, model


def wide() -> ModelProto:
    """A model with large and small, raw and typed, plain and packed weights."""
    rng = np.random.default_rng(0)
    proto = model(
        "g (float[N,64] x) => (y) { h = MatMul(x, w)  k = Add(h, b)  y = Mul(k, t) }",
        {"w": rng.standard_normal((64, 64), np.float32), "b": np.ones(64, np.float32)},
        opset=21,
    )
    proto.graph.initializer.append(
        helper.make_tensor("t", TensorProto.FLOAT, [512, 1, 64], [2.0] * 32768)
    )
    proto.graph.initializer.append(helper.make_tensor("i", TensorProto.INT4, [4000], [3] * 4000))
    proto.graph.initializer.append(
        helper.make_tensor("s", TensorProto.STRING, [600], [b"abc"] * 600)
    )
    proto.metadata_props.add(key="author", value="somebody")
    return proto


def test_what_is_saved_is_what_was_there(tmp_path: Path) -> None:
    proto = wide()
    saved = save(proto, tmp_path / "m.onnx")
    assert saved.path.read_bytes() == proto.SerializeToString(deterministic=True)
    assert saved.bytes == saved.path.stat().st_size and saved.data is None
    assert read(saved.path).source.sha256 == saved.sha256


def test_external_data_when_asked_for(tmp_path: Path) -> None:
    proto = wide()
    before = proto.SerializeToString()
    saved = save(proto, tmp_path / "m.onnx", external=True)
    assert proto.SerializeToString() == before
    assert saved.data is not None
    digest = hashlib.sha256(saved.data.read_bytes()).hexdigest()
    assert saved.data == tmp_path / f"m.{digest[:12]}.data"
    assert saved.bytes == saved.path.stat().st_size + saved.data.stat().st_size
    graph, original = read(saved.path), read(proto)
    kinds = {t.name: t.data_location for t in graph.proto.graph.initializer}
    assert [name for name, kind in kinds.items() if kind == TensorProto.EXTERNAL] == ["w", "t", "i"]
    assert list(kinds) == ["w", "b", "t", "i", "s"]
    for name in kinds:
        np.testing.assert_array_equal(graph.consts[name], original.consts[name])
    assert graph.proto.metadata_props[0].value == "somebody"
    feeds = plain.feeds(graph)
    small, large = (runtime.session(m) for m in (proto, str(saved.path)))
    np.testing.assert_array_equal(runtime.run(small, feeds)["y"], runtime.run(large, feeds)["y"])


def test_external_data_stays_external_and_the_bytes_are_always_the_same(tmp_path: Path) -> None:
    first = save(wide(), tmp_path / "m.onnx", external=True)
    graph = read(first.path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    copies = [
        save(graph.proto, tmp_path / place / "m.onnx", base_dir=tmp_path) for place in ("a", "b")
    ]
    for copy in copies:
        assert copy.sha256 == first.sha256
        assert copy.path.read_bytes() == first.path.read_bytes()
        assert copy.data is not None and first.data is not None
        assert copy.data.read_bytes() == first.data.read_bytes()


def test_too_large_for_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "LARGEST_FILE", 40_000)
    saved = save(wide(), tmp_path / "m.onnx")
    assert saved.data is not None and saved.path.stat().st_size < 40_000
    with pytest.raises(UsageError, match="exceed 2 GiB"):
        save(wide(), tmp_path / "n.onnx", external=False)


def test_external_tensors_in_attributes_and_bodies_are_taken_inside(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(np.ones(2, np.float32).tobytes())
    proto = model(
        "g (bool c, float[2] x) => (y) { y = If(c)"
        "<then_branch = t () => (a) <float[2] k = {1.0, 1.0}> { a = Add(x, k) },"
        " else_branch = e () => (b) { b = Neg(x) }> }"
    )
    inner = proto.graph.node[0].attribute[0].g.initializer[0]
    inner.Clear()
    inner.CopyFrom(external(tmp_path).graph.initializer[0])
    inner.name = "k"
    inner.dims[:] = [2]
    (tmp_path / "out").mkdir()
    saved = save(proto, tmp_path / "out" / "m.onnx", base_dir=tmp_path)
    again = onnx.load(saved.path, load_external_data=False)
    kept = again.graph.node[0].attribute[0].g.initializer[0]
    assert kept.raw_data == np.ones(2, np.float32).tobytes() and not kept.external_data


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    target.write_text("precious")
    with pytest.raises(UsageError, match=r"already exists; .*--force"):
        save(linear(), target)
    assert target.read_text() == "precious"
    save(linear(), target, force=True)
    assert read(target).outputs == ("y",)


def test_the_input_is_never_replaced(tmp_path: Path) -> None:
    source = save(linear(), tmp_path / "m.onnx").path
    (tmp_path / "link.onnx").symlink_to(source)
    for target in (source, tmp_path / "link.onnx", tmp_path / "x" / ".." / "m.onnx"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match="is the input and is never changed"):
            save(linear(), target, force=True, source=source)


@pytest.mark.parametrize("name", ["absent/m.onnx", "folder", "x" * 300])
def test_places_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=r"the output .*(does not exist|folder|looked at)"):
        save(linear(), tmp_path / name)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_nothing_behind(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "m.onnx"
    target.write_text("precious")

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    expected = UsageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        save(wide(), target, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert target.read_text() == "precious"


def test_files_have_ordinary_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        saved = save(linear(), tmp_path / "m.onnx")
    finally:
        os.umask(before)
    assert stat.S_IMODE(saved.path.stat().st_mode) == 0o640


def test_long_names_still_fit(tmp_path: Path) -> None:
    assert save(linear(), tmp_path / ("n" * 240 + ".onnx")).path.exists()


# Data files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def other() -> ModelProto:
    proto = wide()
    proto.graph.initializer[0].raw_data = bytes(64 * 64 * 4)
    return proto


def test_old_data_go_after_the_model_that_needed_them(tmp_path: Path) -> None:
    first = save(wide(), tmp_path / "m.onnx", external=True)
    second = save(other(), tmp_path / "m.onnx", external=True, force=True)
    assert first.data and second.data and first.data != second.data
    assert names(tmp_path) == sorted(["m.onnx", second.data.name])
    save(linear(), tmp_path / "m.onnx", force=True)
    assert names(tmp_path) == ["m.onnx"]


def test_data_that_another_model_needs_stay(tmp_path: Path) -> None:
    first = save(wide(), tmp_path / "m.onnx", external=True)
    (tmp_path / "copy.onnx").write_bytes(first.path.read_bytes())
    save(linear(), tmp_path / "m.onnx", force=True)
    assert first.data is not None and first.data.exists()
    np.testing.assert_array_equal(
        read(tmp_path / "copy.onnx").consts["w"], read(wide()).consts["w"]
    )


def test_only_data_of_ours_are_removed(tmp_path: Path) -> None:
    mine = ["m.0123456789ab.data", "m.onnx.data", "n.0123456789ab.data", "m.data"]
    for name in mine:
        (tmp_path / name).write_text("precious")
    save(wide(), tmp_path / "m.onnx", external=True)
    save(linear(), tmp_path / "m.onnx", force=True)
    assert names(tmp_path) == sorted([*mine, "m.onnx"])


@pytest.mark.parametrize("when", [1, 2])
def test_what_ends_between_the_moves_leaves_the_old_model(
    when: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save(wide(), tmp_path / "m.onnx", external=True)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    moves: list[object] = []
    replace = os.replace

    def interrupted(*places: object) -> None:
        moves.append(places)
        if len(moves) == when:
            raise KeyboardInterrupt
        replace(*places)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(other(), first.path, external=True, force=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_interrupt_after_the_model_was_moved_keeps_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def late(one: Path, two: Path) -> None:
        replace(one, two)
        if two.suffix == ".onnx":
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", late)
    with pytest.raises(KeyboardInterrupt):
        save(wide(), tmp_path / "m.onnx", external=True)
    np.testing.assert_array_equal(read(tmp_path / "m.onnx").consts["t"], read(wide()).consts["t"])


def test_the_same_data_again_are_not_written_over(tmp_path: Path) -> None:
    first = save(wide(), tmp_path / "m.onnx", external=True)
    assert first.data is not None
    before = first.data.stat().st_ino
    save(wide(), tmp_path / "m.onnx", external=True, force=True)
    assert first.data.stat().st_ino == before
    first.data.write_text("spoilt")
    save(wide(), tmp_path / "m.onnx", external=True, force=True)
    np.testing.assert_array_equal(read(tmp_path / "m.onnx").consts["w"], read(wide()).consts["w"])


def test_data_of_the_source_outlive_a_model_of_their_name(tmp_path: Path) -> None:
    first = save(wide(), tmp_path / "m.onnx", external=True)
    source = first.path.rename(tmp_path / "m.bin")  # which the folder's models do not show
    graph = read(source)
    save(linear(), tmp_path / "m.onnx", base_dir=tmp_path, source=source, reads=[first.data or ""])
    np.testing.assert_array_equal(read(source).consts["w"], graph.consts["w"])


def test_further_files_that_were_read_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("precious")
    with pytest.raises(UsageError, match="is an input and is never changed"):
        save(linear(), tmp_path / "plan.json", force=True, reads=[tmp_path / "plan.json"])
    assert (tmp_path / "plan.json").read_text() == "precious"
