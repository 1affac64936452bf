"""Ways to break branches and their bypass; tests must notice, as no motif asks for a bypass."""

from __future__ import annotations

from tests.mutants.edit import Edit

FOUND = ("tests/depth/test_branches.py",)
TAKEN = ("tests/depth/test_bypass.py",)
REFITTED = ("tests/depth/test_refit.py",)
ORDERED = ("tests/depth/test_importance.py",)
CHOSEN = ("tests/pipeline/test_depth.py",)
SPEEDS = ("tests/sweep/test_speeds.py",)
FRONTIER = ("tests/sweep/test_frontier.py",)
LEAST = ("tests/depth/test_least.py",)
SOUGHT = ("tests/pipeline/test_search.py",)

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
        "a product of bytes carries no shortcut",
        "spa/depth/reach.py",
        'ALONE = frozenset(("scales", "divides", "multiplies"))',
        'ALONE = frozenset(("scales", "divides"))',
        tests=FOUND,
    ),
    Edit(
        "runs are found where shapes agree at one size",
        "spa/graph/model.py",
        "        return all(len(each) == 1 and None not in each for each in found)",
        "        return True",
        tests=FOUND,
    ),
    Edit(
        "a run goes on where another stream comes in",
        "spa/depth/runs.py",
        "            if any(self._joins(node, first, inside) for node in step):",
        "            if False:",
        tests=FOUND,
    ),
    Edit(
        "a run does not end before the next product",
        "spa/depth/runs.py",
        "            if not turns or turns > LONGEST or (run and multiplied):",
        "            if not turns or turns > LONGEST:",
        tests=FOUND,
    ),
    Edit(
        "a tensor that is an output is passed by a run",
        "spa/depth/runs.py",
        "        if any(name in self.reach.graph.outputs for name in names):",
        "        if False:",
        tests=FOUND,
    ),
    Edit(
        "the bias before a norm stays when its branch goes",
        "spa/validate/zeroed.py",
        '                copy.input[beside] = ""',
        "                pass",
        tests=TAKEN,
    ),
    Edit(
        "any difference to a run is taken for what it is given",
        "spa/validate/zeroed.py",
        "            made = _instead(model, graph, own, branch.shortcut, branch.name)",
        "            made = [make.Identity([own], [branch.name])]",
        tests=TAKEN,
    ),
    Edit(
        "a shortcut that is itself bypassed is still read",
        "spa/rewrite/bypass.py",
        "            found[name] = found.get(source, source)",
        "            found[name] = source",
        tests=TAKEN,
    ),
    Edit(
        "a sum that is an output, or is read in a body, loses its name",
        "spa/rewrite/bypass.py",
        "        if name is not None and name not in named:",
        "        if name is not None:",
        tests=TAKEN,
    ),
    Edit(
        "a sum that a body reads loses its name",
        "spa/rewrite/bypass.py",
        "    named = {name for node in graph.proto.graph.node for name in captured_names(node)}",
        "    named: set[str] = set()",
        tests=TAKEN,
    ),
    Edit(
        "an activation behind a sum goes, whatever made the shortcut",
        "spa/rewrite/bypass.py",
        "            if source not in maker or not _alike(graph, node, maker[source]):",
        "            if source not in maker:",
        tests=TAKEN,
    ),
    Edit(
        "a shortcut that is read elsewhere stands for the sum, too",
        "spa/rewrite/bypass.py",
        "        if any(read(name) for name in chain[:-1]):",
        "        if False:",
        tests=REFITTED,
    ),
    Edit(
        "a sum that stands for a lost one is fitted to what it was",
        "spa/repairs/targets.py",
        "        if last is not None:",
        "        if False:",
        tests=REFITTED,
    ),
    Edit(
        "a stream that has lost a branch is taken for that of the original",
        "spa/repairs/targets.py",
        "            was = self.select(stream, dense[other or stream][batch])",
        "            was = self.select(stream, dense[stream][batch])",
        tests=REFITTED,
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
        "            copy.input[place] = name",
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
        "    return max(0.0, 1 - (1 - recipe.share) * whole / rest)",
        "    return recipe.share",
        tests=TAKEN,
    ),
    Edit(
        "what a branch saves has no say in its importance",
        "spa/depth/importance.py",
        "                again = (found - self._last) / more",
        "                again = found - self._last",
        tests=ORDERED,
    ),
    Edit(
        "a branch inside another that has gone goes, too",
        "spa/depth/importance.py",
        "        if more <= TINY:",
        "        if False:",
        tests=ORDERED,
    ),
    Edit(
        "what stands in for a branch has no summand",
        "spa/repairs/standins.py",
        "np.nan_to_num(y - slope * x))",
        "np.zeros_like(y))",
        tests=ORDERED,
    ),
    Edit(
        "an option does not keep a branch that is chosen",
        "spa/pipeline/depth.py",
        "            and holds(whole.graph, each, self.settled.recipe) is None",
        "",
        tests=CHOSEN,
    ),
    Edit(
        "branches alone need not be enough",
        "spa/pipeline/depth.py",
        '        if small.recipe.width == "off" and not _enough(groups, small):',
        "        if False:",
        tests=CHOSEN,
    ),
    Edit(
        "the last number of branches that was tried is taken",
        "spa/depth/least.py",
        "    return min(known, key=lambda k: (known[k], k))",
        "    return max(known)",
        tests=LEAST,
    ),
    Edit(
        "numbers of branches are looked at after the error has risen",
        "spa/depth/least.py",
        "        if known[k] > RISE * min(known.values()):",
        "        if False:",
        tests=LEAST,
    ),
    Edit(
        "what is beside the best number of branches is looked at, whatever it can give",
        "spa/depth/least.py",
        "(1 - WORTH) * known[best]",
        "math.inf",
        tests=LEAST,
    ),
    Edit(
        "the order of branches ends where the first budget did",
        "spa/depth/importance.py",
        "        while self._waiting and self._saved(len(self._steps)) < enough:",
        "        while self._waiting and not self._steps:",
        tests=ORDERED,
    ),
    Edit(
        "a search by speed does not go on above the first",
        "spa/pipeline/trials.py",
        "                low, high = (middle, high) if passed else (low, middle)",
        "                low, high = (low, middle)",
        tests=SPEEDS,
    ),
    Edit(
        "what passes less is told beside a larger cut that passes",
        "spa/reports/trials.py",
        "    if ranks[0] != ranks[1]:",
        "    if False:",
        tests=FRONTIER,
    ),
    Edit(
        "a larger cut that keeps more is told beside a milder one",
        "spa/reports/trials.py",
        "        if best is not None and _worse(row, best):",
        "        if False:",
        tests=FRONTIER,
    ),
    Edit(
        "a search tunes what it found, and does not judge it again",
        "spa/pipeline/trials.py",
        "            return finish(written, best.settled, branch, self.output, weigh=True), branch",
        "            return written, branch",
        tests=SOUGHT,
    ),
    Edit(
        "demands of size are not held after a search",
        "spa/pipeline/trials.py",
        "            check_sizes(self.best.report, recipe)",
        "            pass",
        tests=SOUGHT,
    ),
    Edit(
        "a ratio beside a gate searches, too",
        "spa/recipe.py",
        "        alone = self.ratio is None and self.speedup is None and not self.bypass",
        "        alone = self.speedup is None and not self.bypass",
        tests=SOUGHT,
    ),
)
