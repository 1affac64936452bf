"""Ways to break spa in a line or two, each of which some oracle must notice."""

from __future__ import annotations

from tests.mutants.byte_edits import BYTE_EDITS
from tests.mutants.depth_edits import DEPTH_EDITS
from tests.mutants.edit import UNCHECKED, UNTRIED, Edit
from tests.mutants.flow_edits import FLOW_EDITS
from tests.mutants.input_edits import INPUT_EDITS
from tests.mutants.mixture_edits import MIXTURE_EDITS
from tests.mutants.other_edits import OTHER_EDITS
from tests.mutants.proof_edits import PROOF_EDITS
from tests.mutants.rule_edits import RULE_EDITS
from tests.mutants.symbol_edits import SYMBOL_EDITS

EDITS = (
    *RULE_EDITS,
    *BYTE_EDITS,
    *MIXTURE_EDITS,
    *FLOW_EDITS,
    *PROOF_EDITS,
    *SYMBOL_EDITS,
    *OTHER_EDITS,
    *INPUT_EDITS,
    *DEPTH_EDITS,
    # labels
    Edit(
        "a reshape forgets labels of merged axes",
        "spa/labels.py",
        "        ids = np.broadcast_to(p.ids, full).reshape(sizes)",
        "        ids = np.sort(np.broadcast_to(p.ids, full).reshape(sizes), axis=-1)",
        ("shuffle_of_channels",),
    ),
    # the analysis
    Edit(
        "graph outputs may be cut",
        "spa/trace/collect.py",
        "                self._frozen.append((np.unique(p.ids), "
        'Reason("graph output", "output", name)))',
        "                pass",
        ("output_in_the_middle",),
    ),
    Edit(
        "what an unknown op reads may be cut",
        "spa/trace/collect.py",
        "        for name in {*node.inputs, *node.captured}:\n",
        "        for name in ():\n",
        ("result_of_unknown_size",),
    ),
    Edit(
        "what a body captures may be cut",
        "spa/trace/collect.py",
        "        for name in {*node.inputs, *node.captured}:\n",
        "        for name in node.inputs:\n",
        ("sequence_of_tensors",),
    ),
    Edit(
        "freezing is forgotten",
        "spa/trace/collect.py",
        "            self._frozen.append((hit, Reason(reason, node.op, node.name)))",
        "            pass",
        ("positions_of_channels",),
    ),
    Edit(
        "cells are ignored",
        "spa/trace/collect.py",
        "            self.sides.append((sides, Reason(TIED, node.op, node.name)))",
        "            pass",
        ("inverted_bottleneck", "depth_multiplier"),
    ),
    Edit(
        "rows of no tensor are ignored",
        "spa/trace/collect.py",
        "        self.extra[node.index].append(index_map)",
        "        pass",
        ("group_norm",),
    ),
    Edit(
        "lockstep is ignored",
        "spa/coupling/partition.py",
        "        if (made_of != made_of[:1]).any():",
        "        if False:",
        ("attention_fused_by_gather",),
    ),
    Edit(
        "rows are no cells",
        "spa/coupling/partition.py",
        "            np.add.at(cell, rows.ravel(), np.repeat(per_row, rows.shape[1]))",
        "            pass",
        ("attention_separate",),
    ),
    Edit(
        "choices are not tried out",
        *UNTRIED,
        tests=("tests/coupling/test_trials.py",),
    ),
    Edit(
        "not all that a file holds is counted",
        "spa/coupling/cost.py",
        "    held = [t for t in model.graph.initializer if t.name in summed or _is_told(t)]",
        "    held = [t for t in model.graph.initializer[:1] if t.name in summed or _is_told(t)]",
        ("shared_with_different_cuts", "shared_bias"),
    ),
    # the rewriter
    Edit(
        "constants shared by several uses are cut once",
        "spa/rewrite/build.py",
        "            free = name not in self.kept and name not in self.fresh",
        "            free = True",
        ("shared_bias", "shared_with_different_cuts"),
    ),
    Edit(
        "uses of one weight go apart",
        "spa/coupling/shared.py",
        "                notes.tie(maps[0].ids, index_map.ids, tied)",
        "                pass",
        ("shared_again_and_again", "shared_twice"),
    ),
    Edit(
        "all uses of a constant are cut alike",
        "spa/rewrite/build.py",
        "                mark = signature(param, self.left)",
        '                mark = b""',
        ("shared_bias", "shared_activation_slope"),
    ),
    Edit(
        "computed shapes lose what depends on the batch",
        "spa/rewrite/override.py",
        "np.asarray(old == new))",
        "np.zeros_like(old, bool))",
        ("attention_separate",),
    ),
    Edit(
        "grouped weights are cut as if they had no groups",
        "spa/rewrite/shrink.py",
        "    if all(lines):",
        "    if True:",
        ("grouped",),
    ),
    Edit(
        "shapes of what is between are not corrected",
        "spa/rewrite/build.py",
        "                dim.dim_value = new",
        "                pass",
        ("plain",),
    ),
    Edit(
        "the rewriter does not look at what it was told",
        *UNCHECKED,
        tests=("tests/coupling/test_trials.py",),
    ),
)

QUICK = (
    "operands that meet are not the same",
    "Split keeps its sizes",
    "BatchNormalization keeps its variance",
    "constants shared by several uses are cut once",
    "lockstep is ignored",
)
"""The edits that every test run applies."""
