"""Ways to break what models are fed, and what is summed over it."""

from __future__ import annotations

from tests.mutants.edit import Edit

HELD = ("tests/probes/test_held.py",)
CACHES = ("tests/graph/test_caches.py",)
SUMS = ("tests/executor/test_least_squares.py",)

INPUT_EDITS = (
    Edit(
        "columns that wait are forgotten",
        "spa/executor/least_squares.py",
        '''        """Sum of X Xᵀ, `[groups, features, features]`."""
        self._multiply()''',
        '''        """Sum of X Xᵀ, `[groups, features, features]`."""''',
        tests=SUMS,
    ),
    Edit(
        "columns do not wait",
        "spa/executor/least_squares.py",
        "        if self._columns >= GATHERED:",
        "        if True:",
        tests=SUMS,
    ),
    Edit(
        "samples of different sizes are put together",
        "spa/repairs/chunk.py",
        "columns >= GATHERED or waiting[-1].size != chunk.size)",
        "columns >= GATHERED)",
        tests=SUMS,
    ),
    Edit(
        "arrays of another type are converted",
        "spa/probes/held.py",
        "        if array.dtype != self.dtype and not (text or bytes_):",
        "        if False:",
        tests=HELD,
    ),
    Edit(
        "arrays of another size are adapted",
        "spa/probes/held.py",
        "        if wrong:",
        "        if False:",
        tests=HELD,
    ),
    Edit(
        "inputs may have different numbers of rows",
        "spa/probes/held.py",
        "            if known != size:",
        "            if not batch and known != size:",
        tests=HELD,
    ),
    Edit(
        "lengths of inputs that go together may differ",
        "spa/probes/held.py",
        "            if known != size:",
        "            if batch and known != size:",
        tests=HELD,
    ),
    Edit(
        "ids with fractions are rounded",
        "spa/probes/given.py",
        """array.dtype.kind == "f" and (array % 1 != 0).any():""",
        "False:",
        tests=HELD,
    ),
    Edit(
        "data are looked at when they are needed",
        "spa/pipeline/load.py",
        "            given = check_given(graph, recipe.probe, recipe.calib, *pixels)\n",
        "",
        tests=HELD,
    ),
    Edit(
        "everything that is put beside something is a cache",
        "spa/graph/caches.py",
        "            return own in free and any(name in self.made for name in others)",
        "            return True",
        tests=CACHES,
    ),
    Edit(
        "a picture that is multiplied by weights is a cache",
        "spa/graph/caches.py",
        "            return bool(others) and all(name in self.made for name in others)",
        "            return True",
        tests=CACHES,
    ),
    Edit(
        "axes stay where they are when a cache is transposed",
        "spa/graph/caches.py",
        "        yield node.output[0], tuple(axes[k] for k in turn)",
        "        yield node.output[0], axes",
        tests=CACHES,
    ),
    Edit(
        "of two batches the same rows are counted",
        "spa/coupling/rows.py",
        "    return lambda node: found.get(node) or 1",
        "    return lambda node: max(sizes.values())",
        tests=("tests/probes/test_axes.py",),
    ),
    Edit(
        "rows of a fixed batch are drawn run by run",
        "spa/probes/probe.py",
        "        return max(1, min(TOGETHER // (self.rows or 1), NUMBERS // max(numbers, 1)))",
        "        return 1",
        tests=("tests/probes/test_rows.py",),
    ),
)
