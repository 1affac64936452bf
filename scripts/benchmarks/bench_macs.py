"""Count parameters and MACs of models with spa, onnx-tool and onnxsim, and compare.

    bench_macs.py MODELS... [--nodes] [--json FILE]

MODELS are .onnx files or folders of them; onnx-tool and onnxsim must be installed beside spa.  The
open axes of every file are first set to the sizes that spa chose, so that all tools see the same
shapes.  A MAC is one multiplication of a product that is summed: Conv, ConvTranspose, Gemm, MatMul,
Einsum, attention, recurrent layers and their quantised forms.  onnx-tool also counts a bias as a
MAC per element and element-wise operators at prices of its own: both are left out here, so that
like is compared with like.  onnxsim is asked for the MACs of the same file.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

PRODUCTS = {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "Gemm", "MatMul"}
PRODUCTS |= {"MatMulInteger", "QLinearMatMul", "Einsum", "LSTM", "GRU", "RNN"}
"""The operators whose MACs are compared node by node."""

BIASED = {"Conv": 3, "ConvTranspose": 3, "Gemm": 3, "QLinearConv": 9}
"""How many inputs a node with a bias has: onnx-tool adds one MAC per output element for it."""

NO_WEIGHTS = frozenset(
    onnx.TensorProto.DataType.Value(name)
    for name in ("INT64", "INT32", "BOOL", "STRING", "UINT64", "UINT32")
)
"""Stored tensors of these types are shapes and indices, not parameters."""


def concrete(path: Path, shapes: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
    """The file with its inputs' axes set to `shapes` and every other stated shape forgotten."""
    model = onnx.load(path)
    held = {tensor.name for tensor in model.graph.initializer}
    for info in model.graph.input:
        kind = info.type.tensor_type
        if info.name in shapes and info.name not in held:
            del kind.shape.dim[:]
            kind.shape.dim.extend(
                onnx.TensorShapeProto.Dimension(dim_value=size) for size in shapes[info.name]
            )
    del model.graph.value_info[:]
    for info in model.graph.output:
        info.type.tensor_type.ClearField("shape")
    return model


# --- the three counts: {"params", "macs", "nodes": {first output: MACs}} --------------------------


def by_spa(path: Path) -> tuple[dict[str, Any], Any]:
    """What spa's budgets count, and the graph they count it on."""
    from spa.coupling import analyse
    from spa.coupling.cost import Cost
    from spa.coupling.rows import rows_of
    from spa.graph import read

    graph = read(path)
    coupling = analyse(graph)
    cost = Cost(coupling)
    whole = cost(coupling.everything())
    nodes: dict[str, float] = {}
    for param in coupling.notes.params.values():
        if param.times:
            name = next(o for o in graph.nodes[param.node].outputs if o)
            nodes[name] = nodes.get(name, 0.0) + param.times * math.prod(param.view)
    batch = rows_of(graph)(graph.nodes[0].index)
    return {"params": whole.params, "macs": whole.macs, "nodes": nodes, "batch": batch}, graph


def by_onnx_tool(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """onnx-tool's count: everything it counts, and of that the products alone."""
    import onnx_tool

    types = {info.name: info.type.tensor_type.elem_type for info in model.graph.input}
    feeds = {
        name: np.ones(shape, onnx.helper.tensor_dtype_to_np_dtype(types[name]))
        for name, shape in shapes.items()
    }
    with contextlib.redirect_stdout(io.StringIO()):
        graph = onnx_tool.Model(model, {"constant_folding": True}).graph
        graph.shape_infer(feeds)
        graph.profile()
    nodes = {
        node.output[0]: products(node, graph.tensormap)
        for node in graph.nodemap.values()
        if node.op_type in PRODUCTS
    }
    return {
        "params": graph.params,
        "macs": sum(nodes.values()),
        "all": graph.macs[0],
        "nodes": nodes,
    }


def products(node: Any, tensors: Any) -> float:
    """The MACs of one node of onnx-tool without bias, activation functions and gates."""
    shape = [tensors[name].get_shape() if name else [] for name in node.input]
    if node.op_type in ("LSTM", "GRU", "RNN"):
        steps = shape[0][0] * shape[0][1]
        return float((math.prod(shape[1]) + math.prod(shape[2])) * steps)
    biased = BIASED.get(node.op_type)
    bias = biased is not None and len(node.input) >= biased and bool(node.input[biased - 1])
    return float(node.macs[0]) - (math.prod(tensors[node.output[0]].get_shape()) if bias else 0)


def by_onnxsim(model: onnx.ModelProto) -> dict[str, Any]:
    """MACs as onnxsim counts them (it counts no parameters: the file's stored numbers stand in)."""
    from onnxsim.model_info import ModelInfo

    found: dict[str, Any] = {"params": sum(stored(model.graph))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        macs = ModelInfo(model).macs
    if isinstance(macs, (int, float)) or macs.is_number:
        found["macs"] = float(macs)  # else a formula: it could not tell all the shapes
    return found


def stored(graph: onnx.GraphProto) -> Iterator[int]:
    """The sizes of all stored tensors that are no shapes or indices, bodies included."""
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t"):
                tensors.append(attribute.t)
            if attribute.HasField("g"):
                yield from stored(attribute.g)
    yield from (math.prod(t.dims) for t in tensors if t.data_type not in NO_WEIGHTS)


# --- the table ----------------------------------------------------------------------------------


def count(path: Path) -> dict[str, Any]:
    """All counts of one file; a tool that fails leaves its error."""
    row: dict[str, Any] = {"model": path.stem}
    try:
        row["spa"], graph = by_spa(path)
    except Exception as error:
        return row | {"error": first_line(error)}
    shapes = {name: graph.shapes[name] for name in graph.inputs if name in graph.shapes}
    batch = row["spa"].pop("batch")
    for tool, ask, model in (
        ("onnx-tool", lambda model: by_onnx_tool(model, shapes), concrete(path, shapes)),
        ("onnxsim", by_onnxsim, concrete(path, shapes)),
        ("onnxsim, shapes given", by_onnxsim, shaped(graph)),
    ):
        try:
            found = ask(model)
            row[tool] = found | {k: found[k] / batch for k in ("macs", "all") if k in found}
        except Exception as error:
            row[tool] = {"error": first_line(error)}
    return row | {"batch": batch}


def shaped(graph: Any) -> onnx.ModelProto:
    """The model as spa reads it, with every shape that spa knows written in."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.proto)
    for info in (*model.graph.input, *model.graph.output):
        if info.name in graph.shapes:
            dims = info.type.tensor_type.shape.dim
            del dims[:]
            sizes = graph.shapes[info.name]
            dims.extend(onnx.TensorShapeProto.Dimension(dim_value=size) for size in sizes)
    del model.graph.value_info[:]
    made = {name for node in graph.nodes for name in node.outputs} - set(graph.outputs)
    for name in sorted(made & set(graph.shapes)):
        kind = onnx.helper.np_dtype_to_tensor_dtype(graph.dtypes[name])
        info = onnx.helper.make_tensor_value_info(name, kind, graph.shapes[name])
        model.graph.value_info.append(info)
    return model


def first_line(error: Exception) -> str:
    """What went wrong, in one line."""
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0][:90]


def against(mine: float, theirs: dict[str, Any] | None, key: str) -> str:
    """Their figure relative to spa's, as a signed percentage."""
    if not theirs or key not in theirs:
        return "-"
    if mine == theirs[key]:
        return "="
    return "new" if not mine else f"{100 * (theirs[key] / mine - 1):+.2f} %"


def table(rows: list[dict[str, Any]]) -> str:
    """One line per model: spa's figures, the others' relative to them."""
    head = [
        "model", "params", "onnx-tool", "in the file", "MACs", "onnx-tool products", "onnxsim",
        "onnxsim, shapes given", "onnx-tool everything",
    ]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['model']} | {row['error'].replace('|', '/')} |" + " |" * 7)
            continue
        mine, tool, sim = row["spa"], row["onnx-tool"], row["onnxsim"]
        cells = [
            row["model"],
            f"{mine['params']:.0f}",
            against(mine["params"], tool, "params"),
            against(mine["params"], sim, "params"),
            f"{mine['macs']:.0f}",
            against(mine["macs"], tool, "macs"),
            against(mine["macs"], sim, "macs"),
            against(mine["macs"], row["onnxsim, shapes given"], "macs"),
            against(mine["macs"], tool, "all"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    notes = [
        f"- {row['model']}: {tool} failed ({row[tool]['error']})"
        for row in rows
        for tool in ("onnx-tool", "onnxsim", "onnxsim, shapes given")
        if "error" in row.get(tool, {})
    ]
    return "\n".join([*lines, "", "`=` equal, `-` no figure.", *notes])


def node_differences(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The products that spa and onnx-tool count differently."""
    for row in rows:
        theirs = row.get("onnx-tool", {}).get("nodes")
        if theirs is None:
            continue
        mine = row["spa"]["nodes"]
        for name in sorted({*mine, *theirs}):
            a, b = mine.get(name), theirs.get(name)
            if a != b:
                yield f"{row['model']}: {name}: spa {a}, onnx-tool {b}"


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("models", nargs="+", type=Path, help=".onnx files or folders of them")
    parser.add_argument("--nodes", action="store_true", help="list the nodes that differ")
    parser.add_argument("--json", type=Path, help="keep every single figure here")
    options = parser.parse_args()
    paths = [p for m in options.models for p in (sorted(m.glob("*.onnx")) if m.is_dir() else [m])]
    rows = [count(path) for path in paths]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))
    if options.nodes:
        print(*node_differences(rows), sep="\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()
