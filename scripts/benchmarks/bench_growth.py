"""What `spa prune` costs as a model grows: processor seconds, seconds and memory of whole commands.

    bench_growth.py [--nets resnet18 resnet50 ...] [--files FILE ...] [-- OPTIONS]

Residual nets on pictures of 224 pixels and encoders of text as wide as MiniLM, of several depths,
with random weights (which is all that costs depend on) and BatchNormalization folded, are written
to a temporary folder, or FILEs taken, and each is pruned once by `spa prune -r 0.3` in a process
of its own; OPTIONS after `--` go to it as well.  Processor seconds are what a busy machine changes
least.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bench_large import timed
from onnx import TensorProto, helper, numpy_helper, save

STAGES = ("probe", "score", "reconstruct", "verify")
RESIDUAL = {
    "resnet18": (False, (2, 2, 2, 2)),
    "resnet50": (True, (3, 4, 6, 3)),
    "resnet101": (True, (3, 4, 23, 3)),
}
TEXT = {"minilm3": 3, "minilm6": 6, "minilm12": 12}


@dataclass
class Net:
    """Nodes and weights of a network that is being written."""

    seed: int = 0
    nodes: list = field(default_factory=list)
    stored: list = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def node(self, op: str, *inputs: str, **attrs: object) -> str:
        """Append a node; the name of its output."""
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attrs))
        return name

    def const(self, value: object) -> str:
        """A stored tensor."""
        name = f"stored_{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape: int, spread: float) -> str:
        """Normal numbers of so much spread."""
        return self.const((self.random.standard_normal(shape) * spread).astype(np.float32))

    def bias(self, size: int) -> str:
        """Small numbers."""
        return self.weight(size, spread=0.01)

    def conv(
        self, x: str, reads: int, makes: int, kernel: int, stride: int = 1, gain: float = 2.0
    ) -> str:
        """A convolution that keeps the energy of rectified numbers where `gain` is 2."""
        spread = (gain / (reads * kernel * kernel)) ** 0.5
        weight = self.weight(makes, reads, kernel, kernel, spread=spread)
        pads, same = [kernel // 2] * 4, [stride] * 2
        return self.node("Conv", x, weight, self.bias(makes), pads=pads, strides=same)

    def linear(self, x: str, reads: int, makes: int) -> str:
        """A product with a weight, and a bias."""
        made = self.node("MatMul", x, self.weight(reads, makes, spread=reads**-0.5))
        return self.node("Add", made, self.bias(makes))

    def norm(self, x: str, size: int) -> str:
        """A LayerNormalization."""
        scale, shift = self.const(np.ones(size, np.float32)), self.bias(size)
        return self.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-12)

    def write(self, path: Path, inputs: list, outputs: list) -> None:
        """To a file."""
        graph = helper.make_graph(self.nodes, path.stem, inputs, outputs, self.stored)
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def residual(path: Path, deep: bool, blocks: tuple[int, ...], pixels: int = 224) -> None:
    """A ResNet of so many blocks in each of four stages, with bottlenecks where it is deep."""
    net = Net()
    x = net.node("Relu", net.conv("image", 3, 64, 7, 2))
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    reads = 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        makes = 4 * width if deep else width
        for block in range(count):
            stride = 2 if stage and not block else 1
            steps = [(reads, width, 3, stride), (width, width, 3, 1)]
            if deep:
                steps = [(reads, width, 1, 1), (width, width, 3, stride), (width, makes, 1, 1)]
            y = x
            for step in steps[:-1]:
                y = net.node("Relu", net.conv(y, *step))
            y = net.conv(y, *steps[-1], gain=0.25)
            if reads != makes or stride > 1:
                x = net.conv(x, reads, makes, 1, stride, gain=1.0)
            x = net.node("Relu", net.node("Add", y, x))
            reads = makes
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    weight = net.weight(reads, 1000, spread=reads**-0.5)
    y = net.node("Gemm", x, weight, net.bias(1000))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, pixels, pixels])
    net.write(path, [image], [helper.make_tensor_value_info(y, TensorProto.FLOAT, ["N", 1000])])


def encoder(path: Path, layers: int, width: int = 384, heads: int = 12, words: int = 30522) -> None:
    """An encoder of text: embeddings, attention and feed-forward layers, norms behind each."""
    net = Net()
    names = "input_ids", "attention_mask"
    kinds = [helper.make_tensor_value_info(n, TensorProto.INT64, ["N", "L"]) for n in names]
    length = net.node("Shape", "input_ids", start=1, end=2)
    table = net.weight(512, width, spread=0.05)
    places = net.node("Slice", table, net.const([0]), length, net.const([0]))
    x = net.node(
        "Add", net.node("Gather", net.weight(words, width, spread=0.05), "input_ids"), places
    )
    x = net.norm(x, width)
    mask = net.node(
        "Unsqueeze", net.node("Cast", "attention_mask", to=TensorProto.FLOAT), net.const([1, 2])
    )
    one, far = net.const(np.float32(1)), net.const(np.float32(-1e4))
    hidden = net.node("Mul", net.node("Sub", one, mask), far)
    split, joined = net.const([0, 0, heads, width // heads]), net.const([0, 0, width])
    scale = net.const(np.float32((width // heads) ** 0.5))
    root, half, two = (net.const(np.float32(value)) for value in (2**0.5, 0.5, 1))
    for _ in range(layers):
        q, k, v = (
            net.node("Transpose", net.node("Reshape", net.linear(x, width, width), split), perm=p)
            for p in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
        )
        scores = net.node("Add", net.node("Div", net.node("MatMul", q, k), scale), hidden)
        y = net.node("MatMul", net.node("Softmax", scores, axis=-1), v)
        y = net.node("Reshape", net.node("Transpose", y, perm=[0, 2, 1, 3]), joined)
        x = net.norm(net.node("Add", x, net.linear(y, width, width)), width)
        y = net.linear(x, width, 4 * width)
        bell = net.node("Add", net.node("Erf", net.node("Div", y, root)), two)
        y = net.node("Mul", net.node("Mul", y, bell), half)
        x = net.norm(net.node("Add", x, net.linear(y, 4 * width, width)), width)
    net.write(path, kinds, [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["N", "L", width])])


def made(name: str, folder: Path) -> Path:
    """The file of a net, written."""
    path = folder / f"{name}.onnx"
    if name in RESIDUAL:
        residual(path, *RESIDUAL[name])
    else:
        encoder(path, TEXT[name])
    return path


def row(path: Path, options: list[str]) -> str:
    """Prune a file, and tell what it took."""
    with tempfile.TemporaryDirectory() as folder:
        found = timed("prune", path, "-o", Path(folder) / "small.onnx", "-r", "0.3", *options)
    report = found["report"]
    if found["code"]:
        return f"| {path.stem} | {found['error']} |"
    sizes = report["input"]  # type: ignore[index]
    spent = report["timings"]  # type: ignore[index]
    stages = " | ".join(f"{spent[s]:.0f}" if s in spent else "–" for s in STAGES)
    return (
        f"| {path.stem} | {sizes['params'] / 1e6:.1f} | {sizes['macs'] / 1e9:.2f} | "
        f"{found['processor']:.0f} | {found['seconds']:.0f} | {found['peak']:.0f} | {stages} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add = parser.add_argument
    add("--nets", nargs="*", choices=[*RESIDUAL, *TEXT], default=[*RESIDUAL, *TEXT])
    add("--files", nargs="*", type=Path, default=[], help="prune these instead")
    add("--keep", type=Path, help="write the nets into this folder, and leave them there")
    add("options", nargs="*", help="for spa prune, after --")
    options = parser.parse_args()
    head = "parameters, M | GMACs | processor s | seconds | peak MiB"
    print(f"| model | {head} | {' | '.join(STAGES)} |", "|---" * 10 + "|", sep="\n", flush=True)
    for path in options.files:
        print(row(path, options.options), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for name in () if options.files else options.nets:
            path = made(name, options.keep or Path(temporary))
            print(row(path, options.options), flush=True)
            if not options.keep:
                path.unlink()


if __name__ == "__main__":
    main()
