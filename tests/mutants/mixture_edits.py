"""Ways to break what rules say where channels meet what has labels on some of its axes only."""

from __future__ import annotations

from tests.mutants.edit import Edit

RULES = "spa/rules"

MIXTURE_EDITS = (
    Edit(
        "an index map that meets a whole axis is frozen along the others, too",
        f"{RULES}/meet.py",
        "        keep = [a for a in q.axes if a not in stays]\n",
        "        keep = [] if stays & set(q.axes) else q.axes\n",
        ("split_attention",),
    ),
    Edit(
        "batch maps without a partner are handed on free",
        f"{RULES}/einsum.py",
        "            op.freeze(p, reason)\n        else:",
        "            partner[-1] = p\n        else:",
        ("talking_heads",),
    ),
    Edit(
        "contracted axes without labels on the other side take along what passes",
        f"{RULES}/einsum.py",
        "    whole = summed - (frozenset().union(*over[0]) & frozenset().union(*over[1]))",
        "    whole = frozenset[str]()",
        ("experts_weighed_by_choice",),
    ),
    Edit(
        "contracted axes with labels on both sides stay whole",
        f"{RULES}/einsum.py",
        "    whole = summed - (frozenset().union(*over[0]) & frozenset().union(*over[1]))",
        "    whole = summed",
        ("many_experts_weighed",),
    ),
    Edit(
        "what passes is cut even where what is summed is longer",
        f"{RULES}/einsum.py",
        "        if passing and prod(sizes[c] for c in passing) > ",
        "        if passing or prod(sizes[c] for c in passing) > ",
        ("many_experts_weighed",),
    ),
    Edit(
        "what is summed is cut even where what passes is longer",
        f"{RULES}/einsum.py",
        "            whole |= letters & summed",
        "            pass",
        ("few_experts_weighed",),
    ),
    Edit(
        "the longer one is chosen anew after the cut",
        f"{RULES}/einsum.py",
        "    whole = op.decide(lambda: _whole(found, terms, summed, has, sizes))",
        "    whole = _whole(found, terms, summed, has, sizes)",
        ("few_experts_weighed", "many_experts_weighed"),
    ),
    Edit(
        "matrices that are picked by data have one set of channels",
        f"{RULES}/gather.py",
        "    return apart(op, 0, *[[a] for a in axes]) if matrices else op.operand(0, axes)",
        "    return op.operand(0, axes)",
        ("experts_picked_by_data",),
    ),
    Edit(
        "copies of one element have no labels",
        f"{RULES}/move.py",
        "    return Image(shape, (*x.maps, *_copies(op, x, moving)))",
        "    return Image(shape, x.maps)",
        ("vectors_of_length_one",),
    ),
    Edit(
        "tiled copies of one element have no labels",
        f"{RULES}/move.py",
        "    return Image(shape, (*[_repeat(p, repeats) for p in x.maps], "
        "*_copies(op, x, moving)))",
        "    return Image(shape, tuple(_repeat(p, repeats) for p in x.maps))",
        ("vectors_of_length_one_by_tile",),
    ),
    Edit(
        "Tile repeats as often as before",
        f"{RULES}/move.py",
        "    return {1: np.where(copied, now, repeats).astype(repeats.dtype)}",
        "    return {}",
        ("vectors_of_length_one_by_tile",),
    ),
    Edit(
        "Tile repeats what it did not copy",
        f"{RULES}/move.py",
        "    copied = (now != old) & (np.array(new.old_shape(0)) == 1)",
        "    copied = now != old",
        ("tiled",),
    ),
    Edit(
        "a pool over channels says nothing of what it loses",
        f"{RULES}/pool.py",
        '        op.lossy(f"{op.node.op} over channels, of which some are gone")',
        "        pass",
        ("norm_by_global_pool",),
    ),
    Edit(
        "what a pool sums up is handed on",
        f"{RULES}/pool.py",
        "for p in x.maps if not gone & set(p.axes)",
        "for p in x.maps",
        ("norm_by_global_pool",),
    ),
    Edit(
        "a filter cannot slide along channels",
        f"{RULES}/convolve.py",
        "    return across and x.shape",
        "    return False and x.shape",
        ("gate_from_neighbours",),
    ),
    Edit(
        "a filter along channels sees the same neighbours as before",
        f"{RULES}/convolve.py",
        '    op.lossy("a convolution along channels, of which some are gone")\n',
        "",
        ("gate_from_neighbours",),
    ),
    Edit(
        "a filter along channels costs nothing",
        f"{RULES}/convolve.py",
        "    op.work(view, 1.0, *[",
        "    print(view, 1.0, *[",
        ("gate_from_neighbours",),
    ),
)
