"""Ways to take what holds at one size for what holds at all."""

from __future__ import annotations

from tests.mutants.edit import UNCHECKED, UNTRIED, Edit

SYMBOLS = "spa/graph/symbols.py"
TESTS = ("tests/symbols/test_lengths.py",)
AXES = ("tests/symbols/test_axes.py",)

SYMBOL_EDITS = (
    Edit(
        "every value holds at every size",
        "spa/trace/op.py",
        "        return self.sized(i) if self._mask(i) is None else None",
        "        return self.sized(i)",
        tests=TESTS,
    ),
    Edit(
        "axes are as long at every size",
        SYMBOLS,
        "                    known |= np.not_equal(shape, there)",
        "                    pass",
        tests=TESTS,
        also=((SYMBOLS, "there.shape != value.shape else there != value", "False else False"),),
    ),
    Edit(
        "what comes of symbolic values is fixed where it looks so",
        SYMBOLS,
        "        return mask | self._carried(node, k, value.shape)",
        "        return mask",
        tests=TESTS,
    ),
    Edit(
        "what is joined of fixed and symbolic parts is symbolic as a whole",
        SYMBOLS,
        '        elif node.op == "Concat":\n',
        '        elif node.op == "nothing":\n',
        tests=TESTS,
    ),
    Edit(
        "computed bounds of a Slice hold at every size",
        "spa/rules/slices.py",
        "    x = op.besides(0, _moving(op, bounds), UNKNOWN)",
        "    x = op.operand(0)",
        tests=TESTS,
    ),
    Edit(
        "parts of a computed size are cut off at the same place at every size",
        "spa/rules/join.py",
        "    if op.has(1) and op.value(1) is None:\n        x = op.besides",
        "    if op.has(1) and op.sized(1) is None:\n        x = op.besides",
        tests=TESTS,
        also=(
            (
                "spa/rules/join.py",
                'stated = op.attr("split") if op.version < 13 else op.value(1)',
                'stated = op.attr("split") if op.version < 13 else op.sized(1)',
            ),
        ),
    ),
    Edit(
        "rows of a table that positions pick are told apart",
        "spa/trace/op.py",
        "self.only(self.operand(i, rest), *rest, reason=reason) if moving else self.operand(i)",
        "self.operand(i)",
        tests=TESTS,
    ),
    Edit(
        "tokens times channels in one axis are as many as were analysed",
        "spa/rewrite/override.py",
        "(scaled := symbolic & (old != new) & (new > 0)).any():",
        "(scaled := symbolic & (old != new) & (new > 0)).sum() > 99:",
        tests=TESTS,
        also=(UNTRIED, UNCHECKED),
    ),
    Edit(
        "an axis is fixed where it looks so",
        SYMBOLS,
        "            if hidden.any():\n",
        "            if False:\n",
        tests=AXES,
    ),
    Edit(
        "lengths that look fixed are forgotten by the next node",
        SYMBOLS,
        "        lengths = frozenset[int]().union(*inherited)",
        "        lengths = frozenset[int]()",
        tests=AXES,
    ),
    Edit(
        "what is picked of fixed and symbolic parts is symbolic as a whole",
        SYMBOLS,
        "        elif node.op in MOVES and ",
        "        elif False and ",
        tests=AXES,
    ),
    Edit(
        "computed repeats hold at every size",
        "spa/rules/move.py",
        '    x = op.besides(0, moving, "repeated as often as is computed")',
        "    x = op.operand(0)",
        tests=AXES,
    ),
    Edit(
        "an axis that is resized to a computed size is not where the sizes agree",
        "spa/rules/resize.py",
        "    moved |= {axes[k] for i in _stated(op)",
        "    moved |= {axes[k] for i in ()",
        tests=AXES,
    ),
    Edit(
        "copies along an axis as long as the input may go",
        "spa/rules/move.py",
        "    wide = [a for a, n in enumerate(shape) if n > 1 and a not in moving]",
        "    wide = [a for a, n in enumerate(shape) if n > 1]",
        tests=AXES,
    ),
    Edit(
        "numbers along an axis as long as the input may go",
        "spa/rules/move.py",
        "tuple(a for a, n in enumerate(shape) if n > 1 and a not in moving))",
        "tuple(a for a, n in enumerate(shape) if n > 1))",
        tests=AXES,
    ),
)
