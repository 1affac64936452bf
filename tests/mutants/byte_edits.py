"""Ways to break what is said of tables and products of bytes."""

from __future__ import annotations

from tests.mutants.edit import BLIND, Edit

RULES = "spa/rules"

BYTE_EDITS = (
    Edit(
        "a table of bytes makes no channels",
        "spa/trace/param.py",
        '    return is_float(dtype) or name.lstrip("u") in SHORT',
        "    return is_float(dtype)",
        ("tables_of_bytes",),
    ),
    Edit(
        "nobody asks the readers of bytes what zero is",
        "spa/validate/mask.py",
        'wanted.get(first, ""))',
        '"")',
        ("tables_of_bytes",),
    ),
    Edit(
        "which of two tensors of bytes is taken decides for all channels",
        f"{RULES}/integers.py",
        "together(op.facing(0, 1, 4), (0, 1, 2), len(op.out()))",
        "together(op.facing(1), (0,), len(op.out()))",
        ("chosen_bytes",),
        BLIND,
    ),
    Edit(
        "a softmax of bytes over channels is exact",
        f"{RULES}/normalize.py",
        "    if set(axes) & x.axes:\n        op.lossy(reason)\n    return op.like(x)",
        "    return op.like(x)",
        ("softmax_of_bytes",),
    ),
    Edit(
        "scales of a table in bits stay as many",
        f"{RULES}/blocks.py",
        "    op.param(2, (rows, blocks), follows=lanes)\n",
        "",
        ("tables_in_bits",),
    ),
    Edit(
        "a block of a table stands for one column",
        f"{RULES}/blocks.py",
        "np.repeat(read, width)",
        "np.tile(read, width)",
        ("tables_in_bits",),
    ),
    Edit(
        "zero points of a table in bits stay as many",
        f"{RULES}/blocks.py",
        "        _beside(op, 3, np.zeros(rows, np.int64), read)\n",
        "        pass\n",
        ("tables_in_bits",),
    ),
    Edit(
        "tables of bytes that are added are cut apart",
        f"{RULES}/contrib.py",
        '        alongside(op, i, own, axis, reason="added to a table that cannot be cut")',
        "        pass",
        ("embedded_bytes",),
    ),
)
