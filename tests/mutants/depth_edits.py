"""Ways to break branches and their bypass; tests must notice, as no motif asks for a bypass."""

from __future__ import annotations

from tests.mutants.edit import Edit

FOUND = ("tests/depth/test_branches.py",)
TAKEN = ("tests/depth/test_bypass.py",)

DEPTH_EDITS = (
    Edit(
        "what is read outside a branch goes with it",
        "spa/depth/reach.py",
        "            if left or made in self.graph.outputs:",
        "            if made in self.graph.outputs:",
        tests=FOUND,
    ),
    Edit(
        "an output inside a branch goes with it",
        "spa/depth/reach.py",
        "            if left or made in self.graph.outputs:",
        "            if left:",
        tests=FOUND,
    ),
    Edit(
        "a sum of other shapes ends a branch, too",
        "spa/depth/branches.py",
        "        if not self._fits(name, shortcut, end):",
        "        if False:",
        tests=FOUND,
    ),
    Edit(
        "any operator carries a shortcut",
        "spa/depth/reach.py",
        "        if like.linear in FIRST_ONLY or exact or like.statistics is not None:",
        "        if True:",
        tests=FOUND,
    ),
    Edit(
        "a shortcut that is itself bypassed is still read",
        "spa/rewrite/bypass.py",
        "            shortcut = stands.get(branch.shortcut, branch.shortcut)",
        "            shortcut = branch.shortcut",
        tests=TAKEN,
    ),
    Edit(
        "a sum that is an output, or is read in a body, loses its name",
        "spa/rewrite/bypass.py",
        "            if branch.name not in named:",
        "            if True:",
        tests=TAKEN,
    ),
    Edit(
        "a sum that a body reads loses its name",
        "spa/rewrite/bypass.py",
        "    named = within.union(graph.outputs)",
        "    named = set(graph.outputs)",
        tests=TAKEN,
    ),
    Edit(
        "any difference to the silenced original passes",
        "spa/validate/zeroed.py",
        "        if here.error > limit or not here.compared:",
        "        if not here.compared:",
        tests=TAKEN,
    ),
    Edit(
        "the silenced original adds what it did",
        "spa/validate/zeroed.py",
        "            copy.input[list(node.inputs).index(branch.end)] = name",
        "            pass",
        tests=TAKEN,
    ),
    Edit(
        "the hash of a plan says nothing of its bypass",
        "spa/plans/model.py",
        '        kept += json.dumps(sorted(self.bypass)) if self.bypass else ""\n',
        "",
        tests=TAKEN,
    ),
    Edit(
        "what a plan says of groups inside a branch still counts",
        "spa/pipeline/shorten.py",
        "    if groups is original or not gone:",
        "    if True:",
        tests=TAKEN,
    ),
    Edit(
        "branches do not count towards the ratio",
        "spa/pipeline/shorten.py",
        "    return max(0.0, 1 - (1 - recipe.ratio) * whole / rest)",
        "    return recipe.ratio",
        tests=TAKEN,
    ),
)
