"""Ways to break the proof of a cut: what it then lets pass, or refuses, some test must notice."""

from __future__ import annotations

from tests.mutants.edit import Edit

SIZES = ("tests/validate/test_sizes.py",)
BORDERS = ("tests/validate/test_borders.py",)
RUNS = ("tests/validate/test_runs.py",)
OWN = ("tests/validate/test_own.py",)
BYTES = ("tests/validate/test_bytes.py",)
GATE = ("tests/gates/test_proof.py",)

PROOF_EDITS = (
    Edit(
        "no larger sizes are tried",
        "spa/validate/sizes.py",
        "    for way in (SMALLER, LARGER):",
        "    for way in (SMALLER,):",
        tests=SIZES,
    ),
    Edit(
        "symbols move only all at once",
        "spa/validate/sizes.py",
        "        search.one_by_one()\n        search.in_pairs()\n",
        "",
        tests=SIZES,
    ),
    Edit(
        "symbols do not move in pairs",
        "spa/validate/sizes.py",
        "        search.in_pairs()\n",
        "",
        tests=SIZES,
    ),
    Edit(
        "other sizes are run but not compared",
        "spa/validate/verify.py",
        '        run(feeds, True, f" at {told(sizes, graph.dims)}")',
        "        pass",
        tests=SIZES,
    ),
    Edit(
        "a mask has one batch baked in",
        "spa/validate/mask.py",
        "        if not self.graph.dims or version < RANGES:",
        "        if True:",
        tests=SIZES,
    ),
    Edit(
        "blocks of an axis are taken for turns",
        "spa/validate/layout.py",
        "        return i // max(1, length // self.outer) * self.inner + i % self.inner",
        "        return i % (self.outer * self.inner)",
        tests=SIZES,
    ),
    Edit(
        "what enters a decision is not compared",
        "spa/validate/borders.py",
        "    compared = [n for border in found for n in border.compared if n not in handed]",
        "    compared: list[str] = []",
        tests=BORDERS,
    ),
    Edit(
        "the cut decides by itself",
        "spa/validate/borders.py",
        "                if name in border.given:\n                    node.input[i]",
        "                if False:\n                    node.input[i]",
        tests=BORDERS,
    ),
    Edit(
        "a comparison is no decision",
        "spa/rules/pointwise.py",
        'trait("Equal", *ORDER, "Mod", decides=(0, 1))',
        "pass",
        tests=BORDERS,
    ),
    Edit(
        "a step of a quantiser is no decision",
        "spa/rules/quantize.py",
        "domain=domain, decides=(0,), zero=2,",
        "domain=domain, zero=2,",
        tests=BORDERS,
    ),
    Edit(
        "a range that is measured is no decision",
        "spa/rules/quantize.py",
        'trait("DynamicQuantizeLinear", decides=(0,), zero_made=2)',
        'trait("DynamicQuantizeLinear", zero_made=2)',
        tests=BORDERS,
    ),
    Edit(
        "every session keeps its memory",
        "spa/runtime.py",
        "    options.enable_cpu_mem_arena = timed if arena is None else arena",
        "    options.enable_cpu_mem_arena = True",
        tests=SIZES,
    ),
    Edit(
        "the nearest sizes are not tried first",
        "spa/validate/sizes.py",
        "        found = [PATCH, 1, *sorted(found)] if size >= PATCH else sorted(found)",
        "        found = list(found)",
        tests=SIZES,
    ),
    Edit(
        "a choice of the largest is no decision",
        "spa/rules/reduce.py",
        'trait("TopK", decides=(0,), sized=(1,))',
        'trait("TopK", sized=(1,))',
        tests=BORDERS,
    ),
    Edit(
        "random numbers are no limit of a proof",
        "spa/validate/verify.py",
        '        return "partial" if self.limits else "complete"',
        '        return "complete"',
        tests=BORDERS,
    ),
    Edit(
        "nothing compared is a proof",
        "spa/validate/verify.py",
        "    error = total.error if total.compared else None",
        "    error = total.error",
        tests=BORDERS,
    ),
    Edit(
        "numbers that are not finite agree with any",
        "spa/validate/gap.py",
        "    return finite if np.array_equal(a[~finite], b[~finite], equal_nan=True) else None",
        "    return finite",
        tests=BORDERS,
    ),
    Edit(
        "nothing is compared before it breaks",
        "spa/validate/proof.py",
        "        if found.silent:\n",
        "        if False:\n",
        tests=BORDERS,
    ),
    Edit(
        "sizes of inputs are data",
        "spa/validate/lengths.py",
        "            if reads & shaped:\n",
        "            if True:\n",
        tests=BORDERS,
    ),
    Edit(
        "any output may have any length",
        "spa/validate/lengths.py",
        "name in free and a.ndim == b.ndim",
        "a.ndim == b.ndim",
        tests=BORDERS,
    ),
    Edit(
        "a model that ends in a plugin is not run",
        "spa/validate/runs.py",
        "        if part is None:\n            raise\n",
        "        raise\n",
        tests=RUNS,
    ),
    Edit(
        "what enters a plugin is not compared",
        "spa/validate/runs.py",
        "    outputs += [helper.make_empty_tensor_value_info(n) for n in entering if n in made]",
        "    assert entering is not None and made is not None",
        tests=RUNS,
    ),
    Edit(
        "a proof that ends at a plugin is complete",
        "spa/validate/proof.py",
        "        self.limits.update(dict.fromkeys(map(end_of, self.original.unknown)))\n",
        "",
        tests=RUNS,
    ),
    Edit(
        "the input itself is never run",
        "spa/pipeline/verdict.py",
        "    check_own(given)\n",
        "",
        tests=OWN,
    ),
    Edit(
        "what the original makes at one size is taken for all",
        "spa/validate/original.py",
        "        key = id(feeds), optimize",
        "        key = 0, optimize",
        tests=("tests/validate/test_original.py",),
    ),
    Edit(
        "pictures are not halved below",
        "spa/validate/sizes.py",
        "else [half, near, size // 2, 1]",
        "else [near, size // 2, 1]",
        tests=SIZES,
    ),
    Edit(
        "random numbers of the input count as a mistake",
        "spa/validate/own.py",
        "    if error <= limit or _is_unsteady(own, feeds, limit):",
        "    if error <= limit:",
        tests=OWN,
    ),
    Edit(
        "any noise excuses a copy",
        "spa/validate/own.py",
        "    limit = max(limit, noise if hidden else min(noise, LOOSEST))",
        "    limit = max(limit, noise)",
        tests=OWN,
    ),
    Edit(
        "products of bytes saturate",
        "spa/validate/bytes.py",
        "                if signed and kinds",
        "                if False and kinds",
        tests=BYTES,
    ),
    Edit(
        "weights move without their zero points",
        "spa/validate/bytes.py",
        "                    for place in (weight, zero):",
        "                    for place in (weight,):",
        tests=BYTES,
    ),
    Edit(
        "a proof in part passes the gate",
        "spa/pipeline/gates.py",
        'float(proof["status"] == "complete")',
        "1.0",
        tests=GATE,
    ),
)
