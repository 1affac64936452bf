"""A plan says all there is to know about a cut."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import numpy_helper

from spa.plans import Plan, place, plan_of
from spa.rewrite import rewrite
from tests import oracles
from tests.carried import coupling_of
from tests.nets import MOTIFS
from tests.plans.checkpoint import cut

NETS = [*MOTIFS, "digits", "fashion"]
CHOICES = dict(oracles.all_choices())


def planned(name, choice):
    coupling = coupling_of(name)
    alive = CHOICES[choice](coupling)
    return coupling, alive, plan_of(coupling, alive)


def stored(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


@pytest.mark.parametrize("name", NETS)
def test_a_plan_cuts_a_checkpoint_like_the_model_and_is_read_back_as_the_same_choice(name):
    for choice in "scattered 0.5", "single 1":
        coupling, alive, plan = planned(name, choice)
        small = rewrite(coupling, alive)
        cuts_a_checkpoint(coupling, plan, stored(small))
        again, missing = place(coupling, Plan.from_json(plan.to_json()))
        assert missing == ()
        for group in coupling.groups:
            assert (again[group.cells] == alive[group.cells]).all(), group.name
        assert plan_of(coupling, again) == plan
        if (again != alive).any():  # what is in no group does not count
            assert rewrite(coupling, again) == small


def cuts_a_checkpoint(coupling, plan, small):
    for tensor, entry in plan.tensors.items():
        uses = [entry, *entry.get("others", ())]
        parts = [cut(coupling.graph.consts[tensor], use) for use in uses]
        for use, part in zip(uses, parts, strict=True):
            assert use["shape"] == list(coupling.graph.shapes[tensor])
            assert use["new_shape"] == list(part.shape), tensor
        same = [tensor in small and np.array_equal(part, small[tensor]) for part in parts]
        assert any(same), f"{tensor} is none of what the plan says"
        copies = [v for k, v in small.items() if k.startswith(tensor)]
        for part in parts:  # each use has what it needs, under this name or a copy's
            assert any(np.array_equal(part, v) for v in copies), tensor
    for tensor in small.keys() & coupling.graph.consts.keys() - plan.tensors.keys():
        whole = coupling.graph.consts[tensor]
        if whole.dtype.kind == "f":
            assert np.array_equal(small[tensor], whole, equal_nan=True), tensor


def test_the_list_has_what_is_hard():
    """Blocks along the first axis and along the one before, uses that differ, whole uses."""
    found = {name: planned(name, "scattered 0.5")[2].tensors.values() for name in MOTIFS}
    blocks = {name: [e["blocks"] for e in found[name] if "blocks" in e] for name in found}
    assert blocks["grouped"] and blocks["attention_by_einsum"] and blocks["experts"]
    assert blocks["grouped"][0] == {"1": {"0": 2}}
    assert all(each == {"2": {"1": 3}} for each in blocks["attention_by_einsum"][:3])
    (entry,) = [e for e in found["shared_bias"] if "others" in e]
    assert entry["use"] == 0 and [other["use"] for other in entry["others"]] == [1, 2]
    assert entry["others"][1]["keep"] == {}, "the third use keeps all"


def test_keep_lists_are_ascending_positions():
    plan = planned("fashion", "scattered 0.5")[2]
    for entry in plan.tensors.values():
        for axis, keep in entry["keep"].items():
            assert keep == sorted(set(keep))
            assert keep[0] >= 0 and keep[-1] < entry["shape"][int(axis)]
            assert len(keep) == entry["new_shape"][int(axis)] < entry["shape"][int(axis)]


def test_groups_and_source():
    coupling, alive, plan = planned("digits", "scattered 0.5")
    assert plan.source["sha256"] == coupling.graph.source.sha256 and plan.source["opset"] == 17
    for group, said in zip(coupling.groups, plan.groups, strict=True):
        assert (said["name"], said["before"]) == (group.name, group.channels)
        assert said["after"] == alive[group.cells].sum() < said["before"]
        assert set(said["tensors"]) == {m.tensor for m in group.members}


def test_nothing_cut_is_an_empty_plan():
    coupling = coupling_of("digits")
    plan = plan_of(coupling, coupling.everything())
    assert not plan.tensors and all(g["before"] == g["after"] for g in plan.groups)
    assert place(coupling, plan)[0].all()


def test_the_same_plan_is_the_same_text_and_hash():
    first, second, other = (
        planned("digits", choice)[2] for choice in ("scattered 0.5", "scattered 0.5", "single 1")
    )
    assert first.to_json() == second.to_json() and first.sha256 == second.sha256
    assert first.sha256 != other.sha256
    assert first.to_json().endswith("}\n") and first.to_json().count("\n") == 1
    body = json.loads(first.to_json())
    assert Plan.from_json(json.dumps(body, indent=3)).to_json() == first.to_json()
    assert Plan.from_json(json.dumps(body)).sha256 == first.sha256


def test_the_hash_is_of_what_is_kept_and_not_of_how_it_was_found():
    coupling, alive, plan = planned("digits", "single 1")
    assert plan_of(coupling, alive, {"seed": 3}).sha256 == plan.sha256
    assert plan_of(coupling, alive, {"seed": 3}).to_json() != plan.to_json()
