"""Ways to break what crosses the borders of If, Loop and Scan."""

from __future__ import annotations

from tests.mutants.edit import UNCHECKED, UNTRIED, Edit

FLOW = "spa/rules/flow.py"
NODES = "spa/graph/nodes.py"
SCOPES = "spa/graph/scopes.py"

FLOW_EDITS = (
    Edit(
        "a state need not be what a step makes of it",
        FLOW,
        "    return Image(shape, meet(op, images, wide_axes(op, [shape, shape])))",
        "    return images[0]",
        ("state_that_rolls", "loop_with_state"),
        also=(UNTRIED, UNCHECKED),
    ),
    Edit(
        "the branches of an If need not agree",
        FLOW,
        '@border("If branches")\ndef branches(op: Op, *_: Image) -> Image:'
        "  # what either branch makes\n    return _met(op)",
        '@border("If branches")\ndef branches(op: Op, *_: Image) -> Image:'
        "  # what either branch makes\n    return op.operand(0)",
        ("if_with_weights", "if_hands_on"),
        also=(UNTRIED, UNCHECKED),
    ),
    Edit(
        "channels that a Scan walks along may be cut",
        FLOW,
        "    x = op.only(op.operand(0, rest), *rest, reason=STEPS)\n",
        "    x = op.operand(0, rest)\n",
        ("scan_along_channels",),
        also=(UNTRIED, UNCHECKED),
    ),
    Edit(
        "slices forget which axis went",
        FLOW,
        "    return Image(shape, labels.placed(x.maps, lambda a: a - (a > axis), rank - 1))",
        "    return Image(shape, labels.placed(x.maps, lambda a: max(a - 1, 0), rank - 1))",
        ("scan_of_columns",),
    ),
    Edit(
        "a stack grows at its front whatever is asked",
        FLOW,
        '    axis = int(op.attr("axis", 0)) % len(shape)\n    return',
        "    axis = 0\n    return",
        ("scan_of_columns",),
    ),
    Edit(
        "a final state is that of another",
        NODES,
        "            [finals[k]],",
        "            [finals[states - 1 - k]],",
        ("loop_from_zeros", "scan_both_ways"),
    ),
    Edit(
        "stored states keep their size",
        "spa/rewrite/build.py",
        "        for border in (*node.before, *node.after):\n            self._cut_constants",
        "        for border in ():\n            self._cut_constants",
        ("loop_from_zeros",),
    ),
    Edit(
        "bodies are written as they were",
        "spa/rewrite/build.py",
        "                body.node.extend(written)\n",
        "                body.node.extend(attribute.g.node)\n",
        ("loop_from_zeros",),
    ),
    Edit(
        "bodies say old sizes",
        "spa/rewrite/build.py",
        "                    self._resize(info)\n\n    def _remember",
        "                    pass\n\n    def _remember",
        ("loop_from_zeros", "loop_with_state"),
    ),
    Edit(
        "names inside bodies may clash",
        SCOPES,
        "                if opened and name in self.seen:",
        "                if False:",
        ("names_that_clash",),
    ),
    Edit(
        "a state that changes is read from outside",
        SCOPES,
        "        if handed != given or final in shown or not node.input[front + k]:",
        "        if final in shown or not node.input[front + k]:",
        ("loop_with_state", "weights_go_round"),
    ),
    Edit(
        "a branch hands on what lies outside",
        SCOPES,
        "            replace_nodes(body, nodes + self._handed_on(body, nodes))",
        "            replace_nodes(body, nodes)",
        ("stored_branch",),
    ),
)
