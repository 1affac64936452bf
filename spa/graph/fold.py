"""Constant folding: nodes that read nothing but constants become initializers of the same name.

Only that part of the graph is cut out and evaluated; everything else stays as it was, to the
byte.  Whole-model simplifiers rename and fuse more than a pruner can bear (docs/folding.md).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from spa.errors import ReadError
from spa.graph import dims
from spa.graph.budget import MADE, PRODUCTS, TIMES, WORK, Budget, work
from spa.graph.copies import share_copies
from spa.graph.evaluate import BOUNDED, QUANTIZERS, words
from spa.graph.facts import Facts, Program, Step, prepare
from spa.graph.flatten import drop_initializers, flatten
from spa.graph.makers import Makers
from spa.graph.mapped import Mapped
from spa.graph.node_by_node import evaluate_node_by_node
from spa.graph.normalize import captured_names, opsets_of, replace_nodes
from spa.graph.shapes import walk
from spa.graph.tensors import Consts, bits_of, raw_bytes, weights_of
from spa.runtime import evaluate_constants

LARGE = 1 << 20
GROWTH = 2
"""A folded tensor may take more than `LARGE` bytes only up to so many times what it is made of."""

WEIGHTED = words(
    "Conv ConvTranspose Gemm MatMul BatchNormalization InstanceNormalization LSTM GRU RNN "
    "PRelu ConvInteger MatMulInteger QLinearConv QLinearMatMul DeformConv Einsum"
)
"""Ops whose later inputs are weights: these must be seen as constants, however they are made."""

EITHER_SIDE = words("MatMul Einsum")
LARGEST_WEIGHT = 1 << 28
MOST_MADE = 1 << 31
"""Bytes that may follow from constants alone: what is not folded an engine computes as it loads."""

DEEPEST = 8  # Ifs inside each other that are resolved


def fold(
    proto: ModelProto, base_dir: Path | None, makers: Makers, mapped: Mapped | None = None
) -> tuple[Program, Facts]:
    """Fold the constants of a model that spa owns, in place; `makers` hears what made them.

    Returns the folded graph, made ready for walks, and what is known of it without choosing sizes.
    """
    for _ in range(DEEPEST):
        walked = _fold_once(proto, base_dir, makers, mapped)
        if not flatten(proto.graph):
            break
        walked = None
    if walked is None:
        share_copies(proto.graph, WEIGHTED)  # copies that were folded apart
        consts = Consts(weights_of(proto.graph), base_dir, mapped)
        return prepare(proto.graph, opsets_of(proto), consts, proto.ir_version), Facts()
    return walked


def _fold_once(
    proto: ModelProto, base_dir: Path | None, makers: Makers, mapped: Mapped | None
) -> tuple[Program, Facts] | None:
    """What a walk over the graph found out, if nothing was to be folded."""
    graph = proto.graph
    _share_copies(graph)
    share_copies(graph, WEIGHTED)
    consts = Consts(weights_of(graph), base_dir, mapped)
    whole = prepare(graph, opsets_of(proto), consts, proto.ir_version)
    # What the file declares about its tensors may be wrong: only its inputs are taken at its word.
    program = replace(whole, declared={})
    facts = walk(program, dims.concrete(graph.input, dims.axes_of(graph.input), {}))
    chosen = choose(program, facts)
    if not chosen:
        return whole, facts
    told = {i for i, is_told in chosen.items() if is_told}
    shapes = {name: facts.values[name] for i in told for name in graph.node[i].output if name}
    folded = set(chosen)
    wanted = _frontier(graph, folded)
    rest = [name for name in wanted if name not in shapes]
    part = _constant_part(proto, folded - told, rest, shapes)
    values = evaluate_constants(part, rest, base_dir) if rest else {}
    if values is None:
        values = evaluate_node_by_node(program, facts, folded - told, shapes)
        folded = _made(graph, folded, values)
        wanted = _frontier(graph, folded)
    values = shapes | values
    made = [graph.node[i] for i in sorted(folded - told)]
    kept, gone = _after(graph, folded)
    read = {tensor.name: tensor for tensor in weights_of(graph)}
    stay = read.keys() - gone
    read |= {name: numpy_helper.from_array(value, name) for name, value in shapes.items()}
    for name in wanted:
        graph.initializer.append(numpy_helper.from_array(values[name], name))
    makers.remember(made, read, graph.initializer[len(graph.initializer) - len(wanted) :], stay)
    replace_nodes(graph, kept)
    drop_initializers(graph, gone)
    return None


def choose(program: Program, facts: Facts) -> dict[int, bool]:
    """The nodes worth folding, by index, and whether shapes alone tell their values."""
    outputs = {info.name for info in program.graph.output}
    bound = _weight_bound(program)
    known = set(program.consts)
    chosen: dict[int, bool] = {}
    stored = sum(map(raw_bytes, program.consts.protos.values()))
    budget = Budget(max(MADE, TIMES * stored), WORK)
    left = max(MOST_MADE, TIMES * stored)
    constant = set(known)
    for index, step in enumerate(program.steps):
        node = step.node
        if not _may_fold(step) or outputs.intersection(node.output):
            continue
        told = not all(not name or name in known for name in node.input)
        if all(not name or name in constant for name in node.input):
            constant.update(node.output)
            left -= sum(_bytes(name, facts) or 0 for name in node.output if name)
            if left < 0:
                raise _unfolds(node)
        if told:
            folds = all(name in facts.values for name in node.output if name)
        else:
            folds = _affordable(node, facts, index in bound) and _within(node, facts, budget)
        if folds:
            chosen[index] = told
            known.update(name for name in node.output if name)
    return chosen


def _may_fold(step: Step) -> bool:
    return step.pure and step.node.op_type not in QUANTIZERS and step.node.op_type != "Constant"


def _weight_bound(program: Program) -> set[int]:
    """Nodes whose output ends up as a weight by way of nodes that may be folded."""
    weights: set[str] = set()
    bound: set[int] = set()
    for index in reversed(range(len(program.steps))):
        step = program.steps[index]
        if step.node.op_type in WEIGHTED:
            weights.update(step.node.input[0 if step.node.op_type in EITHER_SIDE else 1 :])
        if _may_fold(step) and weights.intersection(step.node.output):
            bound.add(index)
            weights.update(step.node.input)
    return bound


def _affordable(node: NodeProto, facts: Facts, weight: bool) -> bool:
    """Whether the outputs are of known size and do not blow the file up."""
    made = [_bytes(name, facts) for name in node.output if name]
    known = [size for size in made if size is not None]
    if len(known) < len(made):
        return node.op_type in BOUNDED
    used = sum(_bytes(name, facts) or 0 for name in node.input if name)
    return sum(known) <= max(LARGE, GROWTH * used, LARGEST_WEIGHT if weight else 0)


def _within(node: NodeProto, facts: Facts, budget: Budget) -> bool:
    """Whether what all of folding may make and compute has room for a node; then it is taken."""
    outputs = [name for name in node.output if name]
    shapes = [facts.shape(name) if name else None for name in node.input]
    elements = sum(math.prod(facts.shape(name) or ()) for name in outputs)
    made = sum(_bytes(name, facts) or 0 for name in outputs)
    return budget.take(made, work(node, shapes, elements), node.op_type in PRODUCTS)


def _unfolds(node: NodeProto) -> ReadError:
    return ReadError(
        f"the constants of the model unfold into more than {MOST_MADE >> 30} GiB at "
        f"{node.op_type} node '{node.name}'; no machine should compute that, so export it again"
    )


def _bytes(name: str, facts: Facts) -> int | None:
    shape = facts.shape(name)
    if shape is None:
        return None
    return math.prod(shape) * bits_of(facts.types[name].tensor_type.elem_type) // 8


def _frontier(graph: GraphProto, chosen: set[int]) -> list[str]:
    """Outputs of folded nodes that others read."""
    read: set[str] = set()
    for index, node in enumerate(graph.node):
        if index not in chosen:
            read.update(node.input)
            read.update(captured_names(node))
    return [name for i in sorted(chosen) for name in graph.node[i].output if name in read and name]


def _made(graph: GraphProto, folded: set[int], values: Mapping[str, np.ndarray]) -> set[int]:
    """The nodes that can go: all that others read of them is known."""
    going: set[int] = set()
    read: set[str] = set()  # by nodes that stay, all of which come later
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if index in folded and all(n in values for n in node.output if n in read):
            going.add(index)
        else:
            read.update(node.input)
            read.update(captured_names(node))
    return going


def _constant_part(
    proto: ModelProto, chosen: set[int], wanted: list[str], shapes: Mapping[str, np.ndarray]
) -> ModelProto:
    """A model of the chosen nodes alone, with `wanted` as outputs and no inputs."""
    part = ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    part.graph.name = "constants"
    nodes = [proto.graph.node[i] for i in sorted(chosen)]
    part.graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    part.graph.initializer.extend(t for t in proto.graph.initializer if t.name in read)
    part.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in shapes.items() if name in read
    )
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    return part


def _after(graph: GraphProto, folded: set[int]) -> tuple[list[NodeProto], set[str]]:
    """The nodes that stay where some are folded, and what only those that go read."""
    fixed = {info.name for info in graph.output}
    gone = {name for i in folded for name in graph.node[i].input}
    read = Counter(name for node in graph.node for name in (*node.input, *captured_names(node)))
    kept = []
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        idle = not any(read[name] > 0 or name in fixed for name in node.output if name)
        if index in folded or (idle and gone.intersection(node.output)):
            reads = (*node.input, *captured_names(node))
            read.subtract(reads)
            gone.update(reads)
        else:
            kept.append(node)
    return kept[::-1], {name for name in gone if read[name] <= 0 and name not in fixed}


def _share_copies(graph: GraphProto) -> None:
    """Let the readers of `Identity(constant)` read the constant, so that it stays shared."""
    names = {tensor.name for tensor in weights_of(graph)}
    fixed = {info.name for info in graph.output}
    for node in graph.node:
        fixed.update(captured_names(node))
    aliases: dict[str, str] = {}
    kept = []
    for node in graph.node:
        node.input[:] = [aliases.get(name, name) for name in node.input]
        copies = node.op_type == "Identity" and node.domain in ("", "ai.onnx")
        if copies and node.input[0] in names and node.output[0] not in fixed:
            aliases[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    if aliases:
        replace_nodes(graph, kept)
