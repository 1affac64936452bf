"""External data: mapped, never loaded as a whole, and never from outside the model's folder."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from spa import runtime
from spa.errors import ReadError, UsageError
from spa.graph import read, save
from tests.graph.small import external, linear, ops

DATA = np.arange(12, dtype=np.float32).tobytes()


def written(folder: Path, **entries: str) -> Path:
    """`linear` with external data, and its data file, in `folder`."""
    (folder / "weights.bin").write_bytes(bytes(64) + DATA)
    path = folder / "model.onnx"
    entries = {"offset": "64", "length": "48"} | entries
    path.write_bytes(external(folder, **entries).SerializeToString())
    return path


def test_external_data_is_mapped_and_read_only(tmp_path: Path) -> None:
    path = written(tmp_path)
    graph = read(path)
    assert graph.source.external and graph.source.base_dir == tmp_path
    assert graph.source.bytes == path.stat().st_size + 48
    np.testing.assert_array_equal(graph.consts["w"], np.arange(12.0).reshape(3, 4))
    with pytest.raises(ValueError, match="read-only"):
        graph.consts["w"][0, 0] = 1
    result = runtime.run(
        runtime.session(graph.proto, base_dir=graph.source.base_dir), {"x": np.eye(3, dtype="f")}
    )
    np.testing.assert_array_equal(result["y"], np.arange(12.0).reshape(3, 4) + 1)


def test_constants_in_other_files_are_folded_too(tmp_path: Path) -> None:
    path = written(tmp_path)
    proto = read(path).proto
    node = helper.make_node("Transpose", ["w"], ["v"])
    wide = type(proto)()
    wide.CopyFrom(proto)
    wide.graph.node.insert(0, node)
    wide.graph.node[1].input[1] = "v"
    wide.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    wide.graph.initializer[1].dims[:] = [1]
    wide.graph.initializer[1].raw_data = bytes(4)
    path.write_bytes(wide.SerializeToString())
    graph = read(path)
    assert ops(graph) == ["MatMul", "Add"]
    np.testing.assert_array_equal(graph.consts["v"], np.arange(12.0).reshape(3, 4).T)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "absent.bin"}, "missing from"),
        ({"location": ""}, "not inside the folder"),
        ({"location": "/etc/passwd"}, "not inside the folder"),
        ({"location": "../secret.bin"}, "not inside the folder"),
        ({"location": "sub/../../secret.bin"}, "not inside the folder"),
        ({"location": "link.bin"}, "not inside the folder"),
        ({"location": "linked/secret.bin"}, "not inside the folder"),
        ({"location": "."}, "missing from"),
        ({"offset": "65"}, "needs 48 bytes at offset 65"),
        ({"offset": "-1"}, "at offset -1"),
        ({"offset": "many"}, "no number"),
        ({"length": "12"}, "stated length: 12"),
        ({"offset": str(1 << 70)}, "copy the data file again"),
    ],
)
def test_hostile_locations(entries: dict[str, str], message: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(200))
    (home / "link.bin").symlink_to(tmp_path / "secret.bin")
    (home / "linked").symlink_to(tmp_path)
    with pytest.raises(ReadError, match=message) as caught:
        read(written(home, **entries))
    assert "initializer 'w'" in str(caught.value)


def test_links_inside_the_folder_are_fine(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "weights.bin").rename(tmp_path / "blob")
    (tmp_path / "weights.bin").symlink_to("blob")
    assert read(path).consts["w"][0, 1] == 1


def test_contents_without_a_folder(tmp_path: Path) -> None:
    data = written(tmp_path).read_bytes()
    with pytest.raises(ReadError, match="pass the path of the model"):
        read(data)
    assert read(data, base_dir=tmp_path).consts["w"][0, 1] == 1


def test_saving_collects_external_data(tmp_path: Path) -> None:
    source = read(written(tmp_path))
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "small.onnx"
    saved = save(source.proto, target, base_dir=tmp_path, external=False)
    assert saved.data is None and list(target.parent.iterdir()) == [target]
    again = read(target)
    np.testing.assert_array_equal(again.consts["w"], source.consts["w"])


def big(folder: Path) -> Path:
    """A model whose weights take 2.6 GB, on a disk that stores none of it."""
    shape, wide = (20000, 30000), (30000, 7000)
    proto = linear()
    text = [("w", shape, 0), ("v", wide, 2_400_000_000)]
    del proto.graph.node[:], proto.graph.initializer[:]
    proto.graph.node.extend(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("MatMul", ["h", "v"], ["y"]),
        ]
    )
    for name, sizes, offset in text:
        tensor = proto.graph.initializer.add(
            name=name,
            data_type=TensorProto.FLOAT if name == "w" else TensorProto.INT8,
            dims=sizes,
            data_location=TensorProto.EXTERNAL,
        )
        tensor.external_data.add(key="location", value="big.onnx.data")
        tensor.external_data.add(key="offset", value=str(offset))
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = shape[0]
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = wide[1]
    with (folder / "big.onnx.data").open("wb") as file:
        file.truncate(2_610_000_000)
        file.seek(2_400_000_000)
        file.write(b"\x07")
    path = folder / "big.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_models_beyond_2_gib(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph = read(big(tmp_path))
    assert graph.source.bytes > 2_600_000_000
    assert graph.shapes["h"] == (2, 30000)
    assert graph.consts["w"].shape == (20000, 30000)
    assert graph.consts["w"][-1, -1] == 0 and graph.consts["v"][0, 0] == 7
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.slow
def test_models_beyond_2_gib_are_written_in_a_stream(tmp_path: Path) -> None:
    graph = read(big(tmp_path))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    saved = save(graph.proto, tmp_path / "copy.onnx", base_dir=tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    again = read(saved.path)
    assert saved.data is not None and saved.data.stat().st_size > 2_600_000_000
    assert again.consts["v"][0, 0] == 7
    os.remove(saved.data)


def test_the_data_of_the_source_is_never_replaced(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "weights.bin").rename(tmp_path / "out.onnx.data")
    path.write_bytes(path.read_bytes().replace(b"weights.bin", b"out.onnx.data"))
    path.write_bytes(external(tmp_path, location="out.onnx.data", offset="64").SerializeToString())
    graph = read(path)
    with pytest.raises(UsageError, match="is a data file of the input and is never changed"):
        save(graph.proto, tmp_path / "out.onnx.data", base_dir=tmp_path, force=True)


def test_an_attribute_with_external_data_lies_beside_the_model(tmp_path: Path) -> None:
    """Wherever spa was started, and though the data file has a second name."""
    (tmp_path / "weights.bin").write_bytes(DATA)
    os.link(tmp_path / "weights.bin", tmp_path / "kept")
    proto = linear()
    stored = external(tmp_path).graph.initializer[0]
    proto.graph.node.append(helper.make_node("Constant", [], ["k"], value=stored))
    proto.graph.output.append(helper.make_tensor_value_info("k", TensorProto.FLOAT, [3, 4]))
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    made = read(tmp_path / "model.onnx").nodes[-1]
    np.testing.assert_array_equal(made.attrs["value"], np.arange(12.0).reshape(3, 4))
