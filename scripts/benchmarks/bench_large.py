"""Time and memory on large networks: a Llama-like one of 7 billion parameters, or the peers' ten.

    bench_large.py [--folder DIR] [--layers 32] [--hidden 4096] [--heads 32] ...
    bench_large.py --peers [--rounds 1] [--folder DIR]

Without --peers: writes a decoder (rotated queries and keys, gated feed-forward layers, norms spelt
out, sizes of batch and sequence open) whose weights are zeros in a sparse file of external data,
then runs `spa inspect`, `spa plan` and `spa prune` (half of the parameters, L2, cut only, nothing
run) on it, each in a process of its own, and prints seconds and the most memory each took, pages of
mapped files included.  What is written is removed, unless --keep; it is sparse, too.

With --peers: spa, onnxsim and Torch-Pruning by turns on ten large networks, as
scripts/benchmarks/bench_peers.py measures them, and in an environment as it needs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper, save

ROOT = Path(__file__).resolve().parents[2]
PAGE = 4096
LARGEST = (
    "convnext_large", "regnet_y_32gf", "vgg19_bn", "wide_resnet101_2", "efficientnet_v2_l",
    "regnet_x_32gf", "swin_v2_b", "vit_base_patch16_224", "regnet_y_16gf", "resnext101_64x4d",
)  # fmt: skip
"""The largest of their families in torchvision and timm, 83 to 198 million parameters each."""


@dataclass
class Decoder:
    """Nodes and weights of a Llama-like decoder; large weights are holes in a file."""

    hidden: int
    heads: int
    forward: int
    words: int
    data: str
    kind: int
    nodes: list = field(default_factory=list)
    stored: list = field(default_factory=list)
    size: int = 0
    params: int = 0

    def node(self, op: str, *inputs: str, **attrs) -> str:
        """Append a node; the name of its output."""
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attrs))
        return name

    def hole(self, name: str, *shape: int) -> str:
        """A weight of zeros that takes no room."""
        self.size += -self.size % PAGE
        count = int(np.prod(shape))
        length = count * helper.tensor_dtype_to_np_dtype(self.kind).itemsize
        tensor = TensorProto(name=name, data_type=self.kind, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self.data), ("offset", self.size), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        self.stored.append(tensor)
        self.size += length
        self.params += count
        return name

    def const(self, value: object) -> str:
        """A small constant."""
        name = f"const_{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def number(self, value: float) -> str:
        """A number of the weights' type."""
        return self.const(np.asarray(value, helper.tensor_dtype_to_np_dtype(self.kind)))

    def linear(self, x: str, name: str, read: int, make: int) -> str:
        """A product with a weight."""
        return self.node("MatMul", x, self.hole(name, read, make))

    def norm(self, x: str, name: str) -> str:
        """Root mean square, as exporters write it."""
        power = self.node("ReduceMean", self.node("Pow", x, self.number(2)), axes=[-1])
        root = self.node("Sqrt", self.node("Add", power, self.number(1e-5)))
        return self.node("Mul", self.node("Div", x, root), self.hole(name, self.hidden))

    def slice(self, x: str, start: str, end: str, axis: int) -> str:
        """A part along one axis."""
        return self.node("Slice", x, start, end, self.const(np.array([axis])))

    def rotated(self, x: str, tables: tuple[str, str]) -> str:
        """Rotate the halves of every head."""
        width = self.hidden // self.heads
        ends = [self.const(np.array([n])) for n in (0, width // 2, width)]
        low, high = self.slice(x, *ends[:2], 3), self.slice(x, *ends[1:], 3)
        other = self.node("Concat", self.node("Neg", high), low, axis=3)
        return self.node("Add", self.node("Mul", x, tables[0]), self.node("Mul", other, tables[1]))

    def attention(self, x: str, name: str, tables: tuple[str, str]) -> str:
        """Queries, keys and values in heads, and what they make together."""
        split = self.const(np.array([0, 0, self.heads, self.hidden // self.heads]))
        q, k, v = (
            self.node(
                "Transpose",
                self.node("Reshape", self.linear(x, f"{name}.{w}", *[self.hidden] * 2), split),
                perm=[0, 2, 1, 3],
            )
            for w in "qkv"
        )
        q, k = self.rotated(q, tables), self.rotated(k, tables)
        scores = self.node("MatMul", q, self.node("Transpose", k, perm=[0, 1, 3, 2]))
        scale = self.number((self.hidden // self.heads) ** -0.5)
        weights = self.node("Softmax", self.node("Mul", scores, scale), axis=-1)
        y = self.node("Transpose", self.node("MatMul", weights, v), perm=[0, 2, 1, 3])
        y = self.node("Reshape", y, self.const(np.array([0, 0, self.hidden])))
        return self.linear(y, f"{name}.o", self.hidden, self.hidden)

    def layer(self, x: str, name: str, tables: tuple[str, str]) -> str:
        """Attention and a gated feed-forward layer, each added to what came in."""
        x = self.node("Add", x, self.attention(self.norm(x, f"{name}.norm"), name, tables))
        y = self.norm(x, f"{name}.norm2")
        gate = self.linear(y, f"{name}.gate", self.hidden, self.forward)
        gate = self.node("Mul", gate, self.node("Sigmoid", gate))
        y = self.node("Mul", gate, self.linear(y, f"{name}.up", self.hidden, self.forward))
        return self.node("Add", x, self.linear(y, f"{name}.down", self.forward, self.hidden))


def build(folder: Path, options: argparse.Namespace) -> tuple[Path, Decoder]:
    """Write the decoder; the path of its model file."""
    kind = TensorProto.DataType.Value(options.dtype.upper())
    sizes = (options.hidden, options.heads, options.forward, options.words)
    net = Decoder(*sizes, "weights.bin", kind)
    tokens = ValueInfoProto(name="tokens")
    tokens.CopyFrom(helper.make_tensor_value_info("tokens", TensorProto.INT64, ["N", "L"]))
    x = net.node("Gather", net.hole("words", net.words, net.hidden), "tokens")
    length = net.node("Slice", net.node("Shape", "tokens"), *map(net.const, ([1], [2])))
    width = net.hidden // net.heads
    begin, axis = net.const([0]), net.const([0])
    tables = tuple(
        net.node("Slice", net.hole(name, options.longest, width), begin, length, axis)
        for name in ("cos", "sin")
    )
    for k in range(options.layers):
        x = net.layer(x, f"layer{k}", tables)
    y = net.linear(net.norm(x, "norm"), "head", net.hidden, net.words)
    result = helper.make_tensor_value_info(y, kind, ["N", "L", net.words])
    graph = helper.make_graph(net.nodes, "decoder", [tokens], [result], net.stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "decoder.onnx"
    save(model, path)
    with (folder / net.data).open("wb") as file:
        file.truncate(net.size)
    return path, net


def timed(*words: str | Path) -> dict[str, object]:
    """Seconds (by the clock, of processors), MiB and what spa said, in a process of its own."""
    command = [sys.executable, "-m", "spa", *map(str, words), "--json"]
    env = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL, env=env)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        report = json.loads(said.read() or b"{}")
    return {
        "seconds": seconds,
        "processor": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss / 1024,
        "code": child.returncode,
        "error": report.get("error"),
        "report": report,
    }


def measure(options: argparse.Namespace) -> None:
    """The decoder: one line per step."""
    folder = Path(tempfile.mkdtemp(prefix="large-", dir=options.folder))
    try:
        path, net = build(folder, options)
        print(f"{net.params / 1e9:.2f} billion parameters, {net.size / 2**30:.1f} GiB of weights")
        plan, small = folder / "plan.json", folder / "small.onnx"
        how = ("-r", options.ratio, "--of", "params", "-s", "l2", "--heads", options.cut)
        fixed = ("--no-reconstruct", "--input-shape", f"tokens:1,{options.length}")
        steps = {
            "inspect": ("inspect", path, *fixed[1:]),
            "plan": ("plan", path, "-o", plan, *how, *fixed),
            "prune": ("prune", path, "-o", small, *how, *fixed, "--verify", "none"),
        }
        print("| step | seconds | peak MiB | parameters removed |", "|---|---|---|---|", sep="\n")
        for name in options.steps:
            found = timed(*map(str, steps[name]))
            gone = (found["report"].get("reduction") or {}).get("params")  # type: ignore[attr-defined]
            share = "-" if gone is None else f"{100 * gone:.1f} %"
            words = f" {found['error']} |" if found["code"] else ""
            print(f"| {name} | {found['seconds']:.1f} | {found['peak']:.0f} | {share} |{words}")
    finally:
        if not options.keep:
            shutil.rmtree(folder)


def beside_peers(options: argparse.Namespace) -> None:
    """The ten largest, with spa and its peers by turns: the table of bench_peers.py."""
    import bench_peers as peers

    folder = options.folder or Path("peers")
    found: dict[str, dict[str, list[dict[str, object]]]] = {}
    for net in options.nets:
        peers.prepare([net], folder)
        found[net] = {tool: [] for tool in peers.TOOLS}
        for k in range(options.rounds):
            for tool in peers.TOOLS:
                flags = ["--check"] * (k == 0)
                found[net][tool].append(peers.measure(tool, folder / net, flags, 1, options.limit))
                print(net, tool, found[net][tool][-1], file=sys.stderr, flush=True)
        if not options.keep:
            for each in folder.glob(f"{net}.*"):
                each.unlink()
    print(peers.table(found))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add = parser.add_argument
    add("--folder", type=Path, help="for what is written; default: a temporary one, or peers")
    add("--keep", action="store_true", help="keep what is written")
    add("--layers", type=int, default=32)
    add("--hidden", type=int, default=4096)
    add("--heads", type=int, default=32)
    add("--forward", type=int, default=11008, help="width of the feed-forward layers")
    add("--words", type=int, default=32000)
    add("--longest", type=int, default=4096, help="rows of the tables of positions")
    add("--length", type=int, default=8, help="tokens that MACs are counted for")
    add("--dtype", choices=("float16", "float"), default="float16")
    add("--ratio", type=float, default=0.5)
    add("--cut", choices=("free", "tied", "whole"), default="free", help="how heads are cut")
    add("--steps", nargs="+", choices=("inspect", "plan", "prune"),
        default=["inspect", "plan", "prune"])  # fmt: skip
    add("--peers", action="store_true", help="spa, onnxsim and Torch-Pruning on large networks")
    add("--nets", nargs="+", default=list(LARGEST))
    add("--rounds", type=int, default=1)
    add("--limit", type=float, default=300, help="seconds for one measurement")
    options = parser.parse_args()
    (beside_peers if options.peers else measure)(options)


if __name__ == "__main__":
    main()
