"""Attention cut in three ways: by channels of every head, by positions in all, by heads."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest

import spa
from spa.budgets.limits import limits
from spa.cli.main import run
from spa.coupling import Coupling, analyse
from spa.errors import UsageError
from spa.graph import read
from spa.recipe import Recipe
from spa.rewrite import rewrite
from tests import oracles
from tests.nets import MOTIFS, Net
from tests.support import needs_runtime

GROUPS = {
    "attention_separate": ("12 4 4", "12 3"),
    "attention_fused_by_gather": ("12 2x4", "12 3"),
    "attention_fused_per_head": ("12 4 4", "12 2"),
    "attention_fused_by_split": ("12 4 4", "12 2"),
    "attention_fused_by_squeeze": ("12 2x4", "12 2"),
    "attention_grouped_queries": ("12 4 4", "12 2"),
    "attention_by_einsum": ("12 4 4", "12 3"),
    "attention_linear": ("4 4", "2"),
    "attention_across_channels": ("12 4 6", "12 4 6"),  # a single head: as ever
    "rope_on_half": ("12 4 8", "12 2"),
    "rope_on_a_part": ("12 2 4 8", "12 2"),
    "rope_in_one_projection": ("12 2x4", "12 2"),
    "rope_on_all_of_a_part": ("12 4 8", "12 2"),
    "rope_interleaved": ("12 4 8", "12 2"),
    "talking_heads": ("12 3 4 4", "12 3 3 3"),
    "heads_by_shape_arithmetic": ("4 4 8", "3 8"),
    "attention_with_projection": ("10 10 12 3 3 4 5", "10 10 12 2 2"),
    "attention_of_many_heads": ("12 2x4 4 5", "12 2 2"),
    "attention_of_bytes": ("12 12 12 2x4 2x4", "12 12 12 2 2"),
    "attention_of_groups": ("12 2 2", "12 2 2"),  # its kernel takes whole heads only
    "rotated_by_a_node": ("12 4 4", "12 2"),
    "rotated_in_part": ("12 2 2 4", "12 2"),
    "grouped": (MOTIFS["grouped"].groups,) * 2,  # groups of a convolution are no heads
}
"""What is found with tied heads, and with whole ones."""

CASES = [(name, heads) for name in GROUPS for heads in ("tied", "whole")]


@cache
def coupled(name: str, heads: str) -> Coupling:
    graph = read(MOTIFS[name].build(norms=False))
    return analyse(graph, strict=True, heads=heads)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "heads"), CASES)
def test_finds_the_groups_and_cuts_them(name: str, heads: str) -> None:
    needs_runtime(MOTIFS[name].build(norms=False))
    coupling = coupled(name, heads)
    assert oracles.groups_of(coupling) == GROUPS[name][heads == "whole"]
    oracles.identity(coupling)
    for choose in (oracles.scattered(0.5, 0), oracles.single(2)):
        fits, alive, refusals = oracles.fitted(coupling, choose)
        assert not refusals
        small = rewrite(fits, alive)
        oracles.masked(fits, alive, small)
        oracles.works(fits, alive, small)
        oracles.cost(fits, alive, small)


def test_whole_heads_take_scores_and_rows_along() -> None:
    coupling = coupled("attention_separate", "whole")
    (group,) = [g for g in coupling.groups if g.size == 3]
    assert group.width == 4, "a head has four channels"
    alive = coupling.everything()
    alive[group.cells[0, 1]] = False
    small = rewrite(coupling, alive)
    before, after = (
        {t.name: t.dims for t in m.graph.initializer} for m in (coupling.graph.proto, small)
    )
    cut = [tuple(after[n]) for n in after if list(before.get(n, [])) != list(after[n])]
    assert sorted(cut)[-4:] == [(8, 12), (12, 8), (12, 8), (12, 8)], "q, k, v and what reads them"
    inferred = onnx.shape_inference.infer_shapes(small)
    softmax = next(node.output[0] for node in small.graph.node if node.op_type == "Softmax")
    (shape,) = [v.type.tensor_type.shape for v in inferred.graph.value_info if v.name == softmax]
    assert shape.dim[1].dim_value == 2, "scores of two heads"


@pytest.mark.parametrize("heads", ["tied", "whole"])
def test_biases_of_positions_go_with_heads(heads: str) -> None:
    """A number per head and pair of tokens, as in Swin and T5."""
    n = Net()
    y = n.linear(n.input("x", 6, 5), 5, 12)
    q, k, v = (n.heads(n.linear(y, 12, 12), 6, 3, 4, key=i == 1) for i in range(3))
    scores = n.Add(n.MatMul(q, k), n.weight(1, 3, 6, 6))
    y = n.merge(n.MatMul(n.softmax(scores, 4), v), 6, 12)
    coupling = analyse(read(n.done(n.linear(y, 12, 5))), strict=True, heads=heads)  # type: ignore[arg-type]
    alive = oracles.scattered(0.4, 0)(coupling)
    small = rewrite(coupling, alive)
    oracles.masked(coupling, alive, small)
    (bias,) = [t for t in small.graph.initializer if len(t.dims) == 4]
    assert tuple(bias.dims) == ((1, 2, 6, 6) if heads == "whole" else (1, 3, 6, 6))


def test_a_scale_of_all_channels_of_a_head_does_not_hide_heads() -> None:
    """As with a norm of queries and keys: what it divides by has heads, but no channels of them."""
    n = Net()
    y, weight = n.linear(n.input("x", 6, 5), 5, 12), n.weight(4)

    def scaled(x: str) -> str:
        x = n.heads(x, 6, 3, 4)
        return n.Mul(n.Mul(x, n.Sigmoid(n.reduce("ReduceSum", x, -1))), weight)

    q, k, v = (n.linear(y, 12, 12) for _ in range(3))
    scores = n.MatMul(scaled(q), n.Transpose(scaled(k), perm=[0, 1, 3, 2]))
    z = n.merge(n.MatMul(n.softmax(scores, 4), n.heads(v, 6, 3, 4)), 6, 12)
    model = n.done(n.linear(n.Add(y, n.linear(z, 12, 12)), 12, 5))
    found = {}
    for heads in ("free", "tied", "whole"):
        coupling = analyse(read(model), strict=True, heads=heads)  # type: ignore[arg-type]
        found[heads] = oracles.groups_of(coupling)
        alive = oracles.scattered(0.4, 0)(coupling)
        oracles.masked(coupling, alive, rewrite(coupling, alive))
    assert found == {"free": "12 3x4 4", "tied": "12 4 4", "whole": "12 3"}


def test_rounding_counts_the_channels_of_a_head() -> None:
    """Twelve heads of 64 channels keep any number of heads: each is whole blocks of a kernel."""
    n = Net()
    y = n.linear(n.input("x", 4, 5), 5, 12)
    q, k, v = (n.heads(n.linear(y, 12, 768), 4, 12, 64, key=i == 1) for i in range(3))
    y = n.linear(n.merge(n.attend(q, k, v), 4, 768), 768, 12)
    coupling = analyse(read(n.done(n.linear(y, 12, 5))), strict=True, heads="whole")
    (number,) = [g.id for g in coupling.groups if g.width == 64]
    steps = limits(coupling, Recipe())[number].steps
    assert list(steps) == list(range(11)), "up to --max-layer-ratio"
    forced = limits(coupling, Recipe(round_to=128))[number].steps
    assert list(forced) == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("heads", ["free", "tied", "whole"])
def test_a_plan_says_how(heads: str, tmp_path: Path) -> None:
    """It is carried out, and verified, as it was made, without being told again."""
    model = MOTIFS["vision_transformer"].build()
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    plan = spa.plan(path, 0.3, scorer="l2", heads=heads, round_to=1).plan
    assert json.loads(plan.to_json())["recipe"]["heads"] == heads
    done = spa.apply(path, plan, output=tmp_path / "small.onnx")
    assert done.report["verify"]["level"] == "equivalence"
    assert done.plan.tensors == plan.tensors
    report = spa.verify(path, tmp_path / "small.onnx", level="equivalence")
    assert report["verify"]["passed"]
    assert report["input"]["channels"] == done.report["input"]["channels"]


def test_measured_scores_know_whole_heads() -> None:
    """Also after a round that leaves fewer heads."""
    model = MOTIFS["vision_transformer"].build()
    done = spa.prune(model, 0.3, heads="whole", scorer="obspa", round_to=1, steps=2, samples=16)
    assert done.report["verify"]["passed"]
    sizes = {g["channels_before"] for g in done.report["groups"]}
    assert 4 in sizes, "four heads, each a unit"


def test_the_shell_knows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(MOTIFS["attention_separate"].build(), path)
    assert run(["inspect", str(path), "--heads", "whole", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(g["channels_before"] for g in found["groups"]) == [3, 12]
    with pytest.raises(UsageError, match="did you mean whole"):
        Recipe(heads="whol").validate()  # type: ignore[arg-type]


def test_heads_are_cut_alike_or_apart() -> None:
    """Free heads may keep different positions, tied ones may not."""
    kept = {}
    for heads in ("free", "tied"):
        coupling = coupled("attention_separate", heads)
        alive = oracles.scattered(0.5, 3)(coupling)
        (param, *_) = [p for p in coupling.notes.params.values() if p.view == (12, 12)]
        index_map = param.index_map("makes")
        assert index_map is not None
        kept[heads] = alive[coupling.root[index_map.ids]].reshape(3, 4)
    assert (kept["tied"] == kept["tied"][0]).all()
    assert not (kept["free"] == kept["free"][0]).all()
    assert (kept["free"].sum(1) == np.int64(2)).all()
