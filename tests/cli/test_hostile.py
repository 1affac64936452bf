"""Small files that a tool on the open internet meets: one clean sentence, or a right result."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from spa.cli.main import run
from spa.pipeline.context import Context
from spa.plans import Plan
from spa.reports.wording import LONGEST

HEAD = '<ir_version: 8, opset_import: ["": 17, "local": 1]>'
NET = """g (float[1,3,6,6] x) => (float[a,b,c,d] y) {
  h = Conv<kernel_shape=[1,1]>(x, w1, b1)
  r = MIDDLE
  y = Conv<kernel_shape=[1,1]>(r, w2)
}"""
OPTIONS = ("-r", "0.3", "-s", "l1", "--of", "params", "--round-to", "1")


def net(middle: str = "Relu(h)", **stored: np.ndarray) -> ModelProto:
    """Two convolutions with something between them."""
    rng = np.random.default_rng(0)
    proto = onnx.parser.parse_model(f"{HEAD}\n{NET.replace('MIDDLE', middle)}")
    usual = {
        "w1": rng.standard_normal((8, 3, 1, 1), np.float32),
        "b1": rng.standard_normal(8, np.float32),
        "w2": rng.standard_normal((4, 8, 1, 1), np.float32),
    }
    for name, value in (usual | stored).items():
        proto.graph.initializer.append(numpy_helper.from_array(value, name))
    return proto


def declared(name: str, shape: list[int], kind: int = TensorProto.FLOAT) -> ModelProto:
    proto = net()
    proto.graph.value_info.append(helper.make_tensor_value_info(name, kind, shape))
    return proto


def untyped() -> ModelProto:
    """An input without an element type, read by an operator that nobody knows."""
    proto = net("local.Unheard(h, e)")
    proto.graph.input.append(helper.make_tensor_value_info("e", TensorProto.UNDEFINED, [2]))
    return proto


ones = np.ones
REFUSED = {
    "a bias that is too long": (net(b1=ones(9, np.float32)), {3, 4}),
    "a slope of higher rank than its tensor": (
        net("PRelu(h, s)", s=ones((1, 8, 1, 1, 1), np.float32)),
        {3, 4},
    ),
    "a weight without elements": (net(w1=ones((0, 3, 1, 1), np.float32)), {3, 4}),
    "a weight without inputs": (net(w1=ones((8, 0, 1, 1), np.float32)), {3, 4}),
    "statistics of another length": (
        net("BatchNormalization(h, s, s, s, s)", s=ones(5, np.float32)),
        {3, 4},
    ),
    "a target of no size": (net("Reshape(h, s)", s=np.array([0, 0, 0, 7])), {3, 4}),
    "a table without rows": (net("Gather<axis=1>(h, i)", i=np.zeros(0, np.int64)), {3, 4}),
    "pads beyond the image": (net("Pad(h, p)", p=np.array([0, -9, 0, 0] * 2)), {3, 4}),
    "an input without a type": (untyped(), {3, 4}),
    "a type that is declared wrongly": (declared("h", [1, 8, 6, 6], TensorProto.INT64), {3}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_in_one_sentence(what, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    proto, codes = REFUSED[what]
    onnx.save(proto, "net.onnx")
    code = run(["prune", "net.onnx", *OPTIONS, "-q"])
    out, err = capfd.readouterr()
    assert code in codes, err
    assert out == "" and err.startswith("spa: error: ") and err.count("\n") == 1
    assert len(err) <= 1000
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("shape", [[1, 9, 6, 6], [8, 6, 6], [0, 8, 6, 6]])
def test_a_shape_that_is_declared_wrongly_changes_nothing(shape, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    onnx.save(net(), "right.onnx")
    onnx.save(declared("r", shape), "wrong.onnx")
    for name in ("right", "wrong"):
        assert run(["prune", f"{name}.onnx", *OPTIONS, "-q", "-o", f"{name}.small.onnx"]) == 0
    assert capfd.readouterr() == ("", "")
    small = [onnx.load(f"{name}.small.onnx").graph for name in ("right", "wrong")]
    assert small[0].initializer == small[1].initializer
    assert [list(t.dims) for t in small[0].initializer][:2] == [[5, 3, 1, 1], [5]]


NAMES = {
    "escapes": "\x1b[2J\x1b]0;pwned\x07",
    "lines": "a\nspa: done, verified\r",
    "written backwards": "\u202egnp.exe",
    "long": "n" * 100_000,
    "control": "\x00\x01\x08\x7f\x9b31m",
    "markup": "<script>alert(1)</script>|*_`&amp;]]>\"'",
    "no characters": "\ufffe\uffff\U0010ffff\u2028\u2029\x85",
    "patterns": "*[x]?{}",
}


def renamed(proto: ModelProto, mark: str) -> ModelProto:
    """Every name with a mark in front of it."""
    graph = proto.graph
    for node in graph.node:
        node.name = f"{mark}{node.op_type}{node.output[0]}"
        node.input[:] = [mark + name for name in node.input]
        node.output[:] = [mark + name for name in node.output]
    for each in (*graph.input, *graph.output, *graph.initializer):
        each.name = mark + each.name
    graph.name = proto.producer_name = mark
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = f"{mark}N"
    return proto


def unprintable(text: str) -> set[str]:
    return {c for c in text if not c.isprintable()} - {"\n"}


@pytest.mark.parametrize("middle", ["Relu(h)", "LpNormalization<axis=1>(h)", "local.Unheard(h)"])
@pytest.mark.parametrize("kind", NAMES)
def test_names_are_harmless_everywhere(kind, middle, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").write_bytes(renamed(net(middle), NAMES[kind]).SerializeToString())
    files = [f"r.{suffix}" for suffix in ("html", "md", "xml", "json")]
    asked = [word for name in files for word in ("--report", name)]
    code = run(["prune", "net.onnx", *OPTIONS, "--dry-run", "-v", *asked])
    said = capfd.readouterr()
    assert code == (4 if "Unheard" in middle else 0), said.err
    for text in said:
        assert not unprintable(text)
        assert max(map(len, text.splitlines() or [""])) <= 1000
    for name in files:
        with open(name, encoding="utf-8", newline="") as file:
            text = file.read()
        assert not unprintable(text), name
        assert len(text) < 100_000 or name == "r.json"
    for element in ElementTree.parse("r.xml").iter():
        assert all(len(value) <= 1000 for value in element.attrib.values())
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    sentences = [report["error"] or "", *report["warnings"], *report.get("notes", ())]
    assert all(len(each) <= 1000 and not unprintable(each) for each in sentences)
    assert "<script>alert" not in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", NAMES)
def test_a_plan_matches_any_name(kind, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    proto = renamed(net(), NAMES[kind])
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    assert run(["prune", "net.onnx", *OPTIONS, "-q", "-o", "one.onnx"]) == 0
    assert run(["plan", "net.onnx", *OPTIONS, "-q", "-o", "plan.json"]) == 0
    assert not unprintable((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert Plan.load("plan.json").to_json()
    assert run(["apply", "net.onnx", "plan.json", "-q", "-o", "two.onnx"]) == 0
    assert capfd.readouterr() == ("", "")
    one, two = (onnx.load(name).graph.initializer for name in ("one.onnx", "two.onnx"))
    assert one == two and one[0].name == f"{NAMES[kind]}w1" and one[0].dims[0] == 5


def test_notes_and_warnings_are_sentences():
    heard = []
    context = Context("prune", heard.append)
    for callback in (context.warn, context.note):
        callback("a\x1b[2J\n" + "n" * 5000)
    for text in (
        *context.warnings,
        *context.notes,
        *(e.message for e in heard),
    ):
        assert text.startswith("a?[2J nn") and len(text) == LONGEST
