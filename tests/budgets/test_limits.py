"""What the options let every group lose."""

from __future__ import annotations

import numpy as np
import pytest

from spa.budgets.limits import keeper, limits, matches, multiple_for, names
from spa.coupling import Group
from spa.errors import UsageError
from spa.recipe import Recipe
from tests.carried import coupling_of


def steps(name, **options):
    """Per group: its name, its size per cell, its allowed steps."""
    coupling = coupling_of(name)
    found = limits(coupling, Recipe(**{"round_to": 1, **options}).validate())
    return [
        (group, limit.steps.tolist(), limit.forced)
        for group, limit in zip(coupling.groups, found, strict=True)
    ]


def cut(name, **options):
    """The names of the groups that may lose anything."""
    return {group.name for group, allowed, _ in steps(name, **options) if len(allowed) > 1}


def test_without_options_one_channel_stays_and_a_tenth_stays():
    for group, allowed, forced in steps("digits"):
        assert allowed == list(range(int(0.9 * group.size + 1e-9) + 1)) and forced == 0
    for group, allowed, _ in steps("digits", max_layer_ratio=1.0):
        assert allowed[-1] == group.size - 1


@pytest.mark.parametrize(("share", "most"), [(0.25, 4), (0.3, 4), (0.3125, 5), (1e-6, 0)])
def test_max_layer_ratio_rounds_down(share, most):
    stem = steps("digits", max_layer_ratio=share)[0]
    assert stem[0].size == 16 and stem[1][-1] == most


def test_min_channels_counts_the_group_and_not_the_cell():
    for group, allowed, _ in steps("attention_separate", min_channels=7, max_layer_ratio=1.0):
        left = group.channels - allowed[-1] * len(group.cells)
        assert left >= 7, group.name
        assert left - len(group.cells) < 7, "one more step would have been allowed"
    assert all(allowed == [0] for _, allowed, _ in steps("attention_separate", min_channels=99))


@pytest.mark.parametrize("multiple", [2, 3, 4, 5, 8, 32])
@pytest.mark.parametrize("name", ["digits", "grouped", "attention_separate", "one_channel"])
def test_what_is_kept_is_a_multiple(name, multiple):
    for group, allowed, _ in steps(name, round_to=multiple, max_layer_ratio=1.0):
        cells, size = group.cells.shape
        assert allowed[0] == 0
        for gone in allowed[1:]:
            assert cells * (size - gone) % multiple == 0
        possible = [n for n in range(1, size) if cells * n % multiple == 0]
        assert len(allowed) == 1 + len(possible), "a multiple was passed over"


def test_auto_keeps_whole_blocks():
    assert [multiple_for(n) for n in (4, 8, 9, 16, 17, 96)] == [4, 4, 8, 8, 16, 16]
    for group, (zero, *allowed), _ in steps("digits", round_to="auto"):
        assert zero == 0
        assert all((group.size - n) % multiple_for(group.channels) == 0 for n in allowed)


# Which option keeps a group


def test_auto_keeps_nothing_that_a_budget_may_cut():
    narrow = Group(0, "w", np.arange(1, 4)[None], ())
    recipe = Recipe()
    assert recipe.round_to == "auto" and keeper(narrow, recipe) is None
    assert keeper(narrow, Recipe(of="latency")) == "--round-to", "time keeps to blocks of 4"


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"ignore": ("w",)}, "--ignore"),
        ({"only": ("v",)}, "--only"),
        ({"round_to": 8}, "--round-to"),
        ({"min_channels": 3}, "--set min-channels"),
        ({"max_layer_ratio": 0.3}, "--set max-layer-ratio"),
        ({"layer_ratio": {"w": 0.1}}, "--set layer-ratio"),
        ({"layer_ratio": {"w": 0.5}}, None),
        ({"round_to": 2}, None),
    ],
)
def test_the_option_that_keeps_a_group_is_named(options, option):
    narrow = Group(0, "w", np.arange(1, 4)[None], ())
    assert keeper(narrow, Recipe(**options)) == option


# Names


def test_a_group_answers_to_its_tensors_and_nodes():
    stem = coupling_of("digits").groups[0]
    assert {"stem.conv.weight", "stem.bn.bias", "block1.body.second.conv.weight"} <= {*names(stem)}
    nodes = {m.node for m in stem.members}
    assert nodes <= {*names(stem)} and len(nodes) > 2
    assert all(matches(stem, [node]) for node in nodes)
    assert not matches(stem, ["STEM.*", "stem", "stem.conv"]) and matches(stem, ["x", "*.conv.w*"])


def test_ignore_and_only():
    everything = cut("digits")
    assert len(everything) == 6
    head = cut("digits", only=("head.*",))
    assert head == {"head.conv.weight", "block2.body.second.conv.weight"}  # what it makes and reads
    assert cut("digits", ignore=("head.*",)) == everything - head
    assert cut("digits", ignore=("head.bn.bias",)) == everything - {"head.conv.weight"}
    assert cut("digits", only=("block*",), ignore=("block[23]*",)) == {
        "block1.body.first.conv.weight"
    }
    assert cut("digits", ignore=("*",)) == set()


def test_a_node_is_a_name_too():
    coupling = coupling_of("digits")
    expand = next(g for g in coupling.groups if g.name == "block3.body.expand.conv.weight")
    depthwise = next(m.node for m in expand.members if ".depth" in m.tensor)
    assert cut("digits", only=(depthwise,)) == {expand.name}
    silent = next(n.name for n in coupling.graph.nodes if n.op == "Relu")
    assert cut("digits", only=(silent,)) == set()  # known, although it holds no channels


@pytest.mark.parametrize(
    "options",
    [{"ignore": ("haed*",)}, {"only": ("head*", "haed*")}, {"layer_ratio": {"haed*": 0.3}}],
)
def test_a_pattern_that_matches_nothing_is_an_error(options):
    with pytest.raises(UsageError, match=r"'haed\*' matches no .* `spa inspect` lists"):
        steps("digits", **options)


# Shares by name


def test_a_layer_ratio_is_forced_and_nothing_else():
    for group, allowed, forced in steps("digits", layer_ratio={"head.conv.weight": 0.25}):
        named = any(m.tensor == "head.conv.weight" for m in group.members)
        assert forced == (round(0.25 * group.size) if named else 0)
        assert not named or allowed == [0, forced]


def test_the_first_pattern_that_fits_decides():
    found = steps("digits", layer_ratio={"stem.conv.*": 0.5, "*": 0.0})
    assert [forced for *_, forced in found] == [8, 0, 0, 0, 0, 0]


def test_a_layer_ratio_beats_max_layer_ratio_but_not_min_channels():
    options = {"layer_ratio": {"stem.conv.*": 0.95}, "max_layer_ratio": 0.2}
    assert steps("digits", **options)[0][2] == 15
    assert steps("digits", **options, min_channels=6)[0][2] == 10


def test_a_layer_ratio_and_round_to():
    ratio = {"stem.conv.*": 0.3}
    assert steps("digits", layer_ratio=ratio, round_to=4)[0][2] == 4  # 12 of 16 are nearest
    assert steps("digits", layer_ratio={"stem.conv.*": 0.45}, round_to=4)[0][2] == 8
    assert steps("digits", layer_ratio=ratio, round_to="auto")[0][2] == 5  # said is said


def test_limits_come_in_the_order_of_the_groups():
    coupling = coupling_of("digits")
    found = limits(coupling, Recipe(only=("head.conv.weight",), round_to=1))
    sizes = np.array([len(limit.steps) for limit in found])
    assert [g.name for g, n in zip(coupling.groups, sizes, strict=True) if n > 1] == [
        "block2.body.second.conv.weight",
        "head.conv.weight",
    ]
