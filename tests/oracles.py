"""What must hold of every cut, whatever the net: four statements, each a function that raises.

`identity` (keeping everything changes nothing), `masked` (the small net computes what the whole net
computes with its dropped channels held at zero), `works` (it loads, its shapes agree, every batch
size goes), `cost` (what was promised is what is found in the file).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from spa import runtime
from spa.budgets import allocate
from spa.coupling import Coupling, analyse, misplaced, refine
from spa.coupling.cost import Cost, is_parameter, stored
from spa.criteria import Context, score
from spa.errors import TargetError
from spa.graph import Graph, read
from spa.probes import plain
from spa.recipe import Recipe
from spa.rewrite import rewrite
from spa.validate.bytes import unsigned
from spa.validate.mask import masked as hold
from spa.validate.neutral import neutralised
from spa.validate.proof import names_of
from spa.validate.verify import lossy_at
from tests.nets import BATCH

Alive = np.ndarray
Choose = Callable[[Coupling], Alive]

TOLERANCE = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-11}
"""Largest difference, as a share of the largest value, by the coarsest type in the net.

Both nets sum the same numbers, one of them with zeros in between, so only the order of summation
differs.  Measured over all motifs and 5,000 random nets: float16 4.4e-3, float32 1.5e-5,
float64 8.1e-15; a wrong channel shows as 1e-1.
"""

INTEGER_KERNELS = 5e-2
"""The same where onnxruntime's optimizer computes in integers what the file has between
QuantizeLinear and DequantizeLinear; measured 1.5e-2, and as much between its own two ways."""

RATIOS = (0.3, 0.5, 0.7)
BATCHES = (1, 3)
ROUNDS = 4


class Refused(Exception):
    """A choice could not be carried out, however often it was made again."""


# --- choices ------------------------------------------------------------------------------------


def scattered(ratio: float, seed: int) -> Choose:
    """Drop about `ratio` of every cell at random; every cell of a group keeps equally many."""

    def choose(coupling: Coupling) -> Alive:
        random = np.random.default_rng(seed)
        alive = coupling.everything()
        for group in coupling.groups:
            drop = int(np.clip(round(ratio * group.size), 1, group.size - 1))
            alive[random.permuted(group.cells, axis=1)[:, :drop]] = False
        return alive

    return choose


def single(seed: int) -> Choose:
    """Cut one group alone, down to one channel per cell."""

    def choose(coupling: Coupling) -> Alive:
        random = np.random.default_rng(seed)
        alive = coupling.everything()
        if coupling.groups:
            cells = coupling.groups[int(random.integers(len(coupling.groups)))].cells
            alive[random.permuted(cells, axis=1)[:, 1:]] = False
        return alive

    return choose


def budgeted(seed: int = 0, scorer: str = "l2", **options: Any) -> Choose:
    """What a budget takes; a smaller ratio where the target is out of reach, else nothing."""

    def choose(coupling: Coupling) -> Alive:
        scores = score(Context(coupling, seed=seed), scorer)
        for ratio in (0.5, 0.2, 0.05):
            try:
                return allocate(coupling, scores, Recipe(ratio=ratio, **options).validate())
            except TargetError:
                continue
        return coupling.everything()

    return choose


def all_choices() -> Iterator[tuple[str, Choose]]:
    """Every way of choosing, by name."""
    for seed, ratio in enumerate(RATIOS):
        yield f"scattered {ratio}", scattered(ratio, seed)
    for seed in range(2):
        yield f"single {seed}", single(seed)
    for scope, of in product(("global", "local"), ("macs", "params", "channels")):
        yield f"{scope} {of}", budgeted(scope=scope, of=of)
    yield "rounded to 2", budgeted(scorer="random", of="channels", round_to=2)
    yield "rounded to 8", budgeted(scorer="l1", scope="local", round_to=8)


def fitted(coupling: Coupling, choose: Choose) -> tuple[Coupling, Alive, int]:
    """A choice that fits, the coupling it was made on, and how often it was refused before."""
    for refusals in range(ROUNDS):
        alive = choose(coupling)
        errors = misplaced(coupling, alive)
        if not errors:
            return coupling, alive, refusals
        coupling = refine(coupling, errors)
    raise Refused(f"{errors[0]} at {errors[0].node}")


# --- the four statements ------------------------------------------------------------------------


def identity(coupling: Coupling) -> None:
    """Keeping everything gives the same nodes, the same weights and the same bits."""
    whole = coupling.graph.proto
    same = rewrite(coupling, coupling.everything())
    assert list(same.graph.node) == list(whole.graph.node)
    weights = [
        {t.name: t.SerializeToString() for t in model.graph.initializer} for model in (whole, same)
    ]
    assert weights[0] == weights[1]
    feeds = plain.feeds(coupling.graph)
    for name, (before, after) in both(whole, same, feeds, optimize=True).items():
        assert bits(before) == bits(after), f"{name} is not the same bit for bit"


def masked(coupling: Coupling, alive: Alive, small: ModelProto) -> float:
    """Pruned and masked agree with the optimizer off and on; the largest difference."""
    feeds = plain.feeds(coupling.graph)
    whole = hold(coupling, alive)
    return max(agree(coupling.graph, whole, small, feeds, optimize) for optimize in (False, True))


def without_statistics(coupling: Coupling, alive: Alive, small: ModelProto) -> float:
    """Pruned and masked agree once lossy ops are replaced in both; the largest difference."""
    lossy = {reason.node for reason in lossy_at(coupling, alive)}
    named = names_of(coupling.graph)
    pair = [
        neutralised(m, lossy, lambda node: named.get((node.op_type, node.output[0]), ""))
        for m in (hold(coupling, alive), small)
    ]
    assert pair[0] is not None and pair[1] is not None, "a lossy op has no replacement"
    return agree(coupling.graph, pair[0], pair[1], plain.feeds(coupling.graph))


def works(coupling: Coupling, alive: Alive, small: ModelProto, exact: bool = True) -> None:
    """The small net is valid, keeps its interface, and takes every size the whole one takes."""
    graph = coupling.graph
    if all(o.type.tensor_type.HasField("shape") for o in small.graph.output):
        onnx.checker.check_model(small, full_check=True)
    assert list(small.graph.input) == list(graph.proto.graph.input)
    assert [o.name for o in small.graph.output] == list(graph.outputs)
    symbols = sorted({s for axes in graph.dynamic.values() for s in axes if s})
    whole = hold(coupling, alive)
    for size in BATCHES if symbols else (None,):
        feeds = feeds_at(graph, size)
        if exact:
            agree(graph, whole, small, feeds)
            continue
        for name, (want, got) in both(whole, small, feeds).items():
            assert want.shape == got.shape, f"{name} has shape {got.shape}, not {want.shape}"
            # a norm of numbers that happen to be equal is none in the masked net, too
            assert np.isfinite(got).all() or not np.isfinite(want).all(), f"{name} is not finite"


def cost(coupling: Coupling, alive: Alive, small: ModelProto) -> None:
    """MACs and parameters are what was promised, by spa's own count and by a second one.

    A tensor that is stored again, because its uses are cut in different ways, is not promised.
    """
    promised = Cost(coupling)(alive)
    again = analyse(read(small), strict=True)
    found = Cost(again)(again.everything())
    assert found.macs == promised.macs, f"{found.macs} MACs, {promised.macs} were promised"
    assert count_macs(again.graph) == promised.macs
    uses = Counter(p.tensor for p in coupling.notes.params.values() if p.tensor)
    copies = set(again.graph.consts) - set(coupling.graph.consts)
    if max(uses.values()) < 2 or not any(is_parameter(again.graph, name) for name in copies):
        assert found.params == promised.params, f"{found.params} params, {promised.params} promised"
    assert found.params == stored(small)
    assert count_params(again.graph) == found.params


def groups_of(coupling: Coupling) -> str:
    """Cells x channels of every group, sorted: `8 2x4`."""
    shapes = (group.cells.shape for group in coupling.groups)
    return " ".join(sorted(f"{c}x{n}".removeprefix("1x") for c, n in shapes))


# --- how they are looked at ---------------------------------------------------------------------


def both(
    whole: ModelProto, small: ModelProto, feeds: dict[str, np.ndarray], optimize: bool = False
) -> dict[str, tuple[Any, Any]]:
    """Every output of both nets."""
    before, after = (
        runtime.run(runtime.session(m, optimize=optimize, threads=1), feeds) for m in (whole, small)
    )
    assert list(before) == list(after)
    return {name: (before[name], after[name]) for name in before}


def agree(
    graph: Graph,
    whole: ModelProto,
    small: ModelProto,
    feeds: dict[str, np.ndarray],
    optimize: bool = False,
) -> float:
    """All outputs agree within the tolerance of the net's types; the largest difference.

    Products of bytes are exact on any processor: kernels that saturate do so at other numbers in
    another order of channels.  Numbers that lie between two steps of a quantiser are rounded by how
    their sum was ordered: what does not agree on these inputs is then looked at on others.
    """
    whole, small = (unsigned(model, graph.dtypes) for model in (whole, small))
    try:
        return _agreed(graph, whole, small, feeds, optimize)
    except AssertionError:
        if not any(node.op == "QuantizeLinear" for node in graph.order):
            raise
    other = {k: v * v.dtype.type(1.01) if v.dtype.kind == "f" else v for k, v in feeds.items()}
    return _agreed(graph, whole, small, other, optimize)


def _agreed(
    graph: Graph, whole: ModelProto, small: ModelProto, feeds: dict[str, Any], optimize: bool
) -> float:
    limit = tolerance(graph, optimize)
    plain = both(whole, small, feeds) if limit == INTEGER_KERNELS else {}
    worst = 0.0
    for name, (want, got) in both(whole, small, feeds, optimize).items():
        assert want.shape == got.shape, f"{name} has shape {got.shape}, not {want.shape}"
        if want.dtype.kind == "f" and want.size:
            found = difference(want, got)
            if found > limit and name in plain:  # no further than the two ways of either net
                exact = difference(*plain[name])
                assert exact <= tolerance(graph, False), f"{name} differs by {exact:.1e}"
                ways = zip((want, got), plain[name], strict=True)
                assert found <= exact + sum(difference(p, o) for o, p in ways), f"{name} differs"
            else:
                assert found <= limit, f"{name} differs by {found:.1e}"
            worst = max(worst, found)
        else:
            assert np.array_equal(want, got), f"{name} differs"
    return worst


def tolerance(graph: Graph, optimize: bool) -> float:
    """How far two ways of computing a graph may be apart."""
    if optimize and any(node.op == "DequantizeLinear" for node in graph.order):
        return INTEGER_KERNELS
    kinds = {np.dtype(d).name for d in graph.dtypes.values()} & set(TOLERANCE)
    return max((TOLERANCE[k] for k in kinds), default=0.0)


def difference(want: np.ndarray, got: np.ndarray) -> float:
    """The largest difference as a share of the largest value."""
    want, got = want.astype(np.float64), got.astype(np.float64)
    assert np.isfinite(want).all(), "the net gives infinities"
    assert np.isfinite(got).all(), "the small net gives infinities"
    return float(np.abs(want - got).max() / max(float(np.abs(want).max()), 1e-9))


def bits(value: Any) -> tuple[Any, ...]:
    """A value as bytes."""
    return value.shape, value.dtype, value.tobytes()


def feeds_at(graph: Graph, size: int | None) -> dict[str, np.ndarray]:
    """Inputs with every open axis `size` long."""
    if size is None:
        return plain.feeds(graph)
    shapes = {
        name: [
            size if s else n for s, n in zip(graph.dynamic[name], graph.shapes[name], strict=True)
        ]
        for name in graph.inputs
    }
    return plain.feeds(read(graph.proto, input_shapes=shapes), seed=size)


def count_params(graph: Graph) -> int:
    """Stored numbers that are neither sizes nor positions."""
    return sum(array.size for name, array in graph.consts.items() if is_parameter(graph, name))


def count_macs(graph: Graph) -> float:
    """Multiplications of all products for one sample, from shapes alone."""
    sized = [n for n in graph.order if all(t in graph.shapes for t in (*n.inputs, *n.outputs) if t)]
    counts = [(COUNTS.get(f"{n.domain}.{n.op}", COUNTS.get(n.op)), n) for n in sized]
    total = sum(count(graph, n) * n.times for count, n in counts if count)
    samples = graph.dims.get(BATCH, 1)
    assert 4 * total % samples == 0  # of two branches the mean
    return total / samples


def _conv(graph: Graph, node: Any) -> int:
    return int(np.prod(graph.shapes[node.outputs[0]]) * np.prod(graph.shapes[node.inputs[1]][1:]))


def _conv_transpose(graph: Graph, node: Any) -> int:
    return int(np.prod(graph.shapes[node.inputs[0]]) * np.prod(graph.shapes[node.inputs[1]][1:]))


def _gemm(graph: Graph, node: Any) -> int:
    depth = graph.shapes[node.inputs[0]][0 if node.attrs.get("transA") else 1]
    return int(np.prod(graph.shapes[node.outputs[0]])) * depth


def _matmul(graph: Graph, node: Any) -> int:
    return int(np.prod(graph.shapes[node.outputs[0]])) * graph.shapes[node.inputs[0]][-1]


def _einsum(graph: Graph, node: Any) -> int:
    terms = node.attrs["equation"].replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.inputs, strict=True):
        sizes.update(zip(term, graph.shapes[name], strict=True))
    return int(np.prod(list(sizes.values())))


def _recurrent(graph: Graph, node: Any) -> int:
    steps, batch, _ = graph.shapes[node.inputs[0]]
    return steps * batch * sum(int(np.prod(graph.shapes[w])) for w in node.inputs[1:3])


def _attention(graph: Graph, node: Any) -> int:
    """Scores and sums; 3-D or 4-D, packed or not, keys repeated for groups of queries."""
    shapes = [graph.shapes[name] if name else () for name in node.inputs[:3]]
    batch, heads = shapes[0][0], node.attrs.get("q_num_heads") or node.attrs["num_heads"]
    kept = node.attrs.get("kv_num_heads", heads)
    packed = not (len(shapes) > 1 and shapes[1])
    if packed and len(shapes[0]) == 5:  # batch, tokens, heads, 3, size
        sizes, keys = [shapes[0][4]] * 2, shapes[0][1]
    elif packed:
        sizes, keys = [shapes[0][2] // (heads + 2 * kept)] * 2, shapes[0][1]
    else:
        each = [s[3] if len(s) == 4 else s[2] // kept for s in shapes[1:]]
        sizes, keys = each, shapes[1][-2]
    queries = shapes[0][1] if packed or len(shapes[0]) == 3 else shapes[0][2]
    return batch * heads * queries * keys * sum(sizes)


def _projected(graph: Graph, node: Any) -> int:
    (batch, tokens, read), (_, columns) = (graph.shapes[name] for name in node.inputs[:2])
    widths = node.attrs.get("qkv_hidden_sizes") or [columns // 3] * 3
    return batch * tokens * (read * columns + tokens * (widths[0] + widths[2]))


def _n_bits(graph: Graph, node: Any) -> int:
    blocks = graph.shapes[node.inputs[1]][1]
    return int(np.prod(graph.shapes[node.outputs[0]])) * blocks * node.attrs["block_size"]


def _experts(graph: Graph, node: Any) -> int:
    weights = [graph.shapes[node.inputs[i]] for i in (2, 4, 6) if i < len(node.inputs)]
    tokens = int(np.prod(graph.shapes[node.inputs[0]][:-1]))
    return tokens * node.attrs.get("k", 1) * sum(int(np.prod(w[1:])) for w in weights)


def _at(weight: int) -> Callable[[Graph, Any], int]:
    """A convolution whose weight is another input."""
    return lambda graph, node: int(
        np.prod(graph.shapes[node.outputs[0]]) * np.prod(graph.shapes[node.inputs[weight]][1:])
    )


COUNTS: dict[str, Callable[[Graph, Any], int]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Einsum": _einsum,
    "FusedConv": _conv,
    "FusedMatMul": _matmul,
    "MatMulNBits": _n_bits,
    "MoE": _experts,
    "ConvInteger": _conv,
    "QLinearConv": _at(3),
    **dict.fromkeys(
        ("MatMulInteger", "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"), _matmul
    ),
    "com.microsoft.Attention": _projected,
    "QAttention": _projected,
    **dict.fromkeys(("Attention", "MultiHeadAttention", "GroupQueryAttention"), _attention),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), _recurrent),
}
