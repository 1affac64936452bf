"""A bypass is exact: the sum becomes its shortcut, the rest computes what it did, names stay."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import pytest

import spa
from spa import pipeline, runtime
from spa.checkpoints.carry import carry
from spa.errors import UsageError, VerifyError
from spa.graph import read
from spa.plans import Plan
from spa.recipe import Recipe
from spa.rewrite.bypass import bypassed
from spa.validate.zeroed import prove_bypass, zeroed
from tests.depth.cases import coupled, every, found, net
from tests.nets import deep, straight
from tests.nets.bodies import loop


def names(make, **options):
    return [each.name for each in found(make, **options)[1].found]


def outputs(model, seed=0, **sizes):
    graph = read(model)
    random = np.random.default_rng(seed)
    feeds = {}
    for info in model.graph.input:
        dims = info.type.tensor_type.shape.dim
        shape = [sizes.get(d.dim_param, 2) if d.dim_param else d.dim_value for d in dims]
        feeds[info.name] = random.standard_normal(shape).astype(np.float32)
    return runtime.run(runtime.session(graph.proto, optimize=False, device="cpu"), feeds)


def prune(model, *bypass, ratio=None, **options):
    share = 0.5 if ratio is None else ratio
    recipe = Recipe(ratio=share, scorer="l2", bypass=bypass, **options)
    plan = Plan({}) if ratio is None else None
    return pipeline.prune(model, recipe, plan=plan, dry_run=True)


NETS = [deep.resnet, deep.inverted, deep.pre_norm, deep.post_norm, deep.parallel, deep.nested]
RUNS = [straight.plain, straight.unet, straight.stack, straight.gated, straight.mixed]
FUSED = [
    straight.skipped,
    partial(straight.skipped, plain=True, bias=False),
    straight.skipped_first,
    partial(straight.skipped_first, plain=True),
]


@pytest.mark.parametrize("batch", [2, "N"])
@pytest.mark.parametrize("make", [*NETS, *RUNS], ids=lambda make: make.__name__)
def test_any_branches_of_a_net_are_bypassed_exactly(make, batch):
    model = net(make, batch=batch)
    coupling, known = every(make, batch=batch)
    for chosen in ([known.found[0]], [known.found[-1]], known.found):
        short = bypassed(coupling.graph, chosen)
        onnx.checker.check_model(short)
        for size in (1, 3) if batch == "N" else (2,):
            want = outputs(zeroed(coupling.graph, chosen), N=size, L=size + 2)
            got = outputs(short, N=size, L=size + 2)
            assert want.keys() == got.keys()
            for name in want:
                np.testing.assert_array_equal(want[name], got[name])
        gone = {n for each in chosen for k in each.nodes for n in coupling.graph.nodes[k].outputs}
        made = {name for node in short.graph.node for name in node.output}
        assert not made & gone
        assert made <= {name for node in read(model).nodes for name in node.outputs}


@pytest.mark.parametrize("opset", [13, 17, 21])
@pytest.mark.parametrize("make", FUSED)
def test_a_sum_that_is_part_of_a_norm_leaves_the_norm(make, opset):
    coupling, known = found(make, batch="N", opset=opset)
    for chosen in ([known.found[0]], [known.found[-1]], known.found):
        short = bypassed(coupling.graph, chosen)
        assert prove_bypass(coupling.graph, chosen, short).gap.error < 1e-5
        counts = Counter(node.op_type.startswith("Skip") for node in short.graph.node)
        assert counts[True] == len(known.found) - len(chosen)
    before = outputs(coupling.graph.proto, N=2, L=3)
    after = outputs(short, N=2, L=3)
    assert any(not np.allclose(before[name], after[name], atol=1e-3) for name in before)


def test_the_bias_before_a_norm_goes_with_its_branch():
    """As where the sum is a node of its own."""
    coupling, known = found(straight.skipped, batch="N")
    graph = bypassed(coupling.graph, known.found[:1]).graph
    (left,) = (node for node in graph.node if node.op_type.startswith("Skip"))
    norm = next(
        node for node in graph.node if node.name == coupling.graph.at(known.found[0].add).name
    )
    assert norm.op_type == "LayerNormalization" and len(norm.input) == 3 and len(left.input) == 5


@pytest.mark.parametrize(("scale", "wide"), [(0.1, 8), (0.07, 8), (0.07, 12)])
def test_a_sum_of_bytes_scales_as_it_did(scale, wide):
    make = partial(straight.of_bytes, scale=scale, make=wide)
    coupling, known = found(make, batch="N", opset=13)
    short = bypassed(coupling.graph, known.found)
    want, got = (outputs(each, N=2) for each in (zeroed(coupling.graph, known.found), short))
    whole = outputs(coupling.graph.proto, N=2)
    for name in want:
        np.testing.assert_array_equal(want[name], got[name])
        assert not np.array_equal(want[name], whole[name])
    result = prune(net(make, batch="N", opset=13), known.found[0].name)
    assert result.report["verify"]["passed"] and result.report["reduction"]["params"] > 0.4


def test_a_run_is_checked_against_what_it_is_given():
    """Another tensor of that shape is not taken for it."""
    coupling, known = every(straight.stack, batch="N")
    first, second, _ = known.found
    wrong = bypassed(coupling.graph, [replace(second, shortcut=first.shortcut)])
    with pytest.raises(VerifyError, match="does not compute"):
        prove_bypass(coupling.graph, [second], wrong)


def test_zeroed_changes_what_the_original_computes():
    coupling, known = found(deep.resnet)
    whole = outputs(coupling.graph.proto)
    for each in known.found:
        none = outputs(zeroed(coupling.graph, [each]))
        assert any(not np.array_equal(whole[name], none[name]) for name in whole)


def test_a_wrong_bypass_is_refused():
    coupling, known = found(deep.resnet, batch="N")
    first, second, _ = known.found
    with pytest.raises(VerifyError, match="does not compute"):
        prove_bypass(coupling.graph, [first], bypassed(coupling.graph, [second]))


def test_weights_that_only_a_branch_used_leave_the_file_and_shared_ones_stay():
    coupling, known = found(deep.inverted, batch="N")
    first = known.found[0]
    short = bypassed(coupling.graph, [first])
    before = {t.name: np.prod(t.dims) for t in coupling.graph.proto.graph.initializer}
    after = {t.name for t in short.graph.initializer}
    assert sum(n for name, n in before.items() if name not in after) == first.params


def test_a_sum_that_is_an_output_keeps_its_name():
    model = net(deep.shown_sum, batch="N")
    first = names(deep.shown_sum, batch="N")[0]
    result = prune(model, first)
    assert [o.name for o in result.model.graph.output] == [o.name for o in model.graph.output]
    assert first in [o.name for o in result.model.graph.output]


@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
def test_prune_bypasses_alone_and_beside_a_ratio(make):
    model = net(make, batch="N")
    every = names(make, batch="N")
    whole = pipeline.inspect(model, Recipe()).report["branches"]
    alone = prune(model, every[-1])
    assert alone.plan.bypass == (every[-1],) and alone.report["verify"]["passed"]
    cost = whole[-1]["macs"]
    assert alone.report["input"]["macs"] - alone.report["output"]["macs"] == cost
    assert [each["name"] for each in alone.report["bypassed"]] == [every[-1]]
    share = cost / alone.report["input"]["macs"]
    both = prune(model, every[-1], ratio=min(0.9, share + 0.1), round_to=1, max_layer_ratio=1.0)
    assert both.report["reduction"]["macs"] >= min(0.9, share + 0.1) - 1e-9
    assert both.report["recipe"]["ratio"] == min(0.9, share + 0.1) == both.plan.recipe["ratio"]
    enough = prune(model, every[-1], ratio=share / 2)
    assert enough.report["output"]["macs"] == alone.report["output"]["macs"]


def test_groups_inside_a_branch_go_and_groups_through_the_sum_stay():
    model = net(deep.resnet, batch="N")
    last = names(deep.resnet, batch="N")[-1]
    groups = {g["name"]: g["channels_before"] for g in prune(model).report["groups"]}
    left = {g["name"]: g["channels_before"] for g in prune(model, last).report["groups"]}
    assert sorted(groups.values()) == [6, 6, 6, 8, 12]
    assert sorted(left.values()) == [6, 6, 8, 12]


def test_a_plan_with_a_bypass_is_applied_and_verified(tmp_path):
    model = net(deep.resnet, batch="N")
    every = names(deep.resnet, batch="N")
    plan = pipeline.make_plan(model, Recipe(ratio=0.3, scorer="l2", round_to=1)).plan
    said = json.loads(plan.to_json())
    assert "bypass" not in said
    said["bypass"] = every[:1]  # by hand: the widths inside the branch then mean nothing
    edited = Plan.from_json(json.dumps(said))
    assert edited.sha256 != plan.sha256 and Plan.from_json(edited.to_json()) == edited
    result = pipeline.apply(model, edited, Recipe(), dry_run=True)
    assert result.report["verify"]["passed"] and result.report["verify"]["proof"]["compared"]
    assert result.plan.bypass == tuple(every[:1])
    seen = pipeline.verify(model, result.model, Recipe(), level="equivalence").report
    assert seen["verify"]["passed"] and seen["verify"]["equivalence_error"] < 1e-5


def test_verify_finds_a_bypass_that_is_none():
    model = net(deep.resnet, batch="N")
    result = prune(model, names(deep.resnet, batch="N")[0])
    weight = result.model.graph.initializer[0]
    values = onnx.numpy_helper.to_array(weight) + 1
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    with pytest.raises(VerifyError):
        pipeline.verify(model, result.model, Recipe(), level="equivalence")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (deep.convolved_features, "cannot be bypassed: something inside it is needed outside"),
        (deep.stretched, "stretches one of its inputs"),
    ],
)
def test_what_is_no_branch_is_refused_in_a_sentence(make, words):
    with pytest.raises(UsageError, match=words):
        prune(net(make, batch="N"), "Add_*")


def test_a_sum_that_a_body_reads_keeps_its_name():
    def read_inside(n):
        x = n.Relu(n.linear(n.input("x", 4), 4, 6))
        y = n.Add(x, n.linear(n.Relu(n.linear(x, 6, 5)), 5, 6))
        weight = n.weight(6, 6)
        z = loop(n, 2, lambda _, h: [n.Tanh(n.Add(n.MatMul(h, weight), y))], [x], 1)
        return n.linear(z, 6, 3)

    coupling, known = found(read_inside, batch="N")
    want = outputs(zeroed(coupling.graph, known.found), N=3)
    got = outputs(bypassed(coupling.graph, known.found), N=3)
    for name in want:
        np.testing.assert_array_equal(want[name], got[name])
    assert prune(net(read_inside, batch="N"), "*").report["verify"]["passed"]


def test_the_default_of_an_input_stays_where_only_a_branch_read_it():
    def scaled(n):
        x = n.Relu(n.linear(n.input("x", 4), 4, 6))
        scale = n.const(np.full(6, 0.5, np.float32), n.input("scale", 6, batched=False))
        return n.linear(n.Add(x, n.Mul(n.linear(x, 6, 6), scale)), 6, 3)

    model = net(scaled, batch="N")
    result = prune(model, "*")
    assert {info.name for info in result.model.graph.input} == {"x", "scale"}
    assert "scale" in {tensor.name for tensor in result.model.graph.initializer}


def test_weights_that_others_use_stay_where_one_of_two_branches_goes():
    first, _ = names(deep.of_one_weight, batch="N")
    one = prune(net(deep.of_one_weight, batch="N"), first).report
    assert one["verify"]["passed"] and one["reduction"]["params"] == 0
    assert prune(net(deep.of_one_weight, batch="N"), "*").report["reduction"]["params"] > 0


@pytest.mark.parametrize("opset", [8, 9, 13, 21])
def test_a_bypass_is_proved_in_old_files_and_in_half_precision(opset):
    kinds = (np.float32, np.float16) if opset > 8 else (np.float32,)
    for dtype in kinds:
        model = net(deep.inverted, batch="N", opset=opset, dtype=dtype)
        result = prune(model, names(deep.inverted, batch="N", opset=opset, dtype=dtype)[0])
        assert result.report["verify"]["passed"] and result.report["verify"]["proof"]["compared"]


@pytest.mark.parametrize(("option", "globs"), [("ignore", 0), ("only", 1)])
def test_what_is_left_alone_is_not_bypassed(option, globs):
    """By the name of a branch, or of anything in it."""
    model = net(deep.resnet, batch="N")
    coupling, known = found(deep.resnet, batch="N")
    first, second, _ = known.found
    inside = [
        coupling.graph.nodes[k].name for k in first.nodes if "Conv" in str(coupling.graph.nodes[k])
    ]
    for patterns in ([first.name], inside) if option == "ignore" else ([second.name],):
        held = prune(model, "*", **{option: tuple(patterns)})
        kept = {"ignore": {second.name, known.found[2].name}, "only": {second.name}}[option]
        assert set(held.plan.bypass) == kept
        told = spa.inspect(model, **{option: patterns})["branches"]
        assert {each["name"] for each in told if each["reason"] is None} == kept
        assert {each["reason"] for each in told} == {None, f"kept by --{option}"}
        with pytest.raises(UsageError, match=f"{first.name} cannot be bypassed: --{option} keeps"):
            prune(model, first.name, **{option: tuple(patterns)})
    # a plan has been decided on already
    assert pipeline.apply(
        model, Plan({}, bypass=(first.name,)), Recipe(ignore=(first.name,)), dry_run=True
    ).plan.bypass == (first.name,)


def test_only_asks_for_all_that_a_branch_stores():
    model = net(deep.resnet, batch="N")
    coupling, known = found(deep.resnet, batch="N")
    nodes = [coupling.graph.nodes[k] for k in known.found[0].nodes]
    stores = [n.name for n in nodes if n.op != "Relu"]
    assert prune(model, "*", only=tuple(stores)).plan.bypass == (known.found[0].name,)
    with pytest.raises(UsageError, match="--only keeps it"):
        prune(model, "*", only=tuple(stores[1:]))


def test_plans_and_sweeps_bypass_too(tmp_path):
    model = net(deep.resnet, batch="N")
    first = names(deep.resnet, batch="N")[0]
    share = pipeline.inspect(model, Recipe()).report
    share = share["branches"][0]["macs"] / share["input"]["macs"]
    options = {"bypass": (first,), "scorer": "l2", "round_to": 1, "max_layer_ratio": 1.0}
    for ratio in (share / 2, share + 0.2):
        recipe = Recipe(ratio=ratio, **options)
        made = pipeline.prune(model, recipe, dry_run=True)
        planned = pipeline.make_plan(model, recipe)
        assert planned.plan == made.plan and made.plan.bypass == (first,)
        assert planned.report["reduction"]["macs"] == made.report["reduction"]["macs"]
        swept = pipeline.sweep(model, recipe, ratios=(ratio,))
        assert swept.plan == made.plan
        assert swept.report["rows"][1]["reduction"] == made.report["reduction"]["macs"] >= ratio
        assert swept.report["rows"][1]["ratio"] == ratio
    alone = pipeline.make_plan(model, Recipe(bypass=(first,)), plan=Plan({}))
    assert alone.plan.bypass == (first,) and not alone.plan.tensors
    assert pipeline.apply(model, alone.plan, Recipe(), dry_run=True).plan.bypass == (first,)


def test_python_bypasses_too(tmp_path):
    model = net(deep.resnet, batch="N")
    first = names(deep.resnet, batch="N")[0]
    result = spa.prune(model, 0.5, scorer="l2", bypass=[first], round_to=1)
    assert result.plan.bypass == (first,) and result.report["reduction"]["macs"] >= 0.5
    alone = spa.apply(model, spa.Plan({}, bypass=(first,)))
    assert alone.report["reduction"]["macs"] < 0.5


def test_a_checkpoint_cannot_be_bypassed():
    with pytest.raises(UsageError, match="apply the plan to the ONNX file"):
        carry({}, Plan({}, bypass=("y",)), None, None)


def test_a_name_of_no_branch_is_refused():
    model = net(deep.resnet, batch="N")
    with pytest.raises(UsageError, match="no branch of this model; `spa inspect"):
        prune(model, "nothing*")
    with pytest.raises(UsageError, match="no branch of this model"):
        pipeline.apply(model, Plan({}, bypass=("[a]",)), Recipe(), dry_run=True)


def test_the_refit_goes_on_without_the_branch():
    model = net(deep.resnet, batch="N")
    first = names(deep.resnet, batch="N")[0]
    recipe = Recipe(ratio=0.5, round_to=1, bypass=(first,))
    result = pipeline.prune(model, recipe, dry_run=True)
    assert result.report["verify"]["passed"]
    assert result.report["reduction"]["macs"] >= 0.5
    assert result.report["verify"]["drift"]


def test_what_two_branches_share_goes_with_the_second():
    coupling = coupled(deep.parallel)
    _, known = found(deep.parallel)
    one, both = (
        [n.op_type for n in bypassed(coupling.graph, chosen).graph.node]
        for chosen in (known.found[:1], known.found)
    )
    assert "LayerNormalization" in one and "LayerNormalization" not in both
