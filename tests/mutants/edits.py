"""Ways to break spa in one line, each of which some oracle must notice.

`by` names the motifs that are looked at first; it makes the search shorter and proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """In `file`, `old` (there exactly once) becomes `new`; `what` says what is wrong then."""

    what: str
    file: str
    old: str
    new: str
    by: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


RULES = "spa/rules"

EDITS = (
    # what is the same channel
    Edit(
        "operands that meet are not the same",
        f"{RULES}/meet.py",
        "    op.same(p.ids, q.ids)\n    return p if",
        "    return p if",
        ("residual",),
    ),
    Edit(
        "meeting a tensor without labels freezes nothing",
        f"{RULES}/meet.py",
        '                op.freeze(q, "meets a tensor that cannot be cut")\n    return tuple(joined)',
        "                pass\n    return tuple(joined)",
        ("positions_of_channels",),
    ),
    Edit(
        "a single channel may be stretched over others",
        f"{RULES}/meet.py",
        "keep = [a for a in whole.axes if a in own or a not in broad]",
        "keep = list(whole.axes)",
        ("statistics_over_channels",),
    ),
    Edit(
        "a constant shared along an axis merges nothing",
        f"{RULES}/meet.py",
        "    for k, p in partial:\n        op.same(p.ids, made[k].ids)",
        "    for k, p in partial:\n        pass",
        ("rope_on_half",),
    ),
    Edit(
        "constants do not follow the channels they meet",
        f"{RULES}/meet.py",
        "            follow(op, i, views[i], (*planes, *born))",
        "            pass",
        ("residual",),
    ),
    Edit(
        "contracted channels of two activations are not the same",
        f"{RULES}/einsum.py",
        "                op.same(p.ids, q.ids)\n                taken.add(k)",
        "                taken.add(k)",
        ("attention_separate",),
    ),
    Edit(
        "what is contracted without a partner is not frozen",
        f"{RULES}/einsum.py",
        "        else:\n            op.freeze(p, reason)\n    for k, q",
        "    for k, q",
        ("sparse_constant",),
    ),
    Edit(
        "an axis of the weight that both operands share is not read",
        f"{RULES}/einsum.py",
        "            summed = {lx[a] for a in q.axes} - set(out)",
        "            summed = set()",
        ("plain",),
    ),
    Edit(
        "batches that a weight shares are not tied to cells",
        f"{RULES}/einsum.py",
        "        _cells(op, planes[-1], read, lw, batch)\n",
        "",
        ("experts",),
    ),
    Edit(
        "the weight makes no labels along its batch letters",
        f"{RULES}/einsum.py",
        "if lw[a] in brought or (brought and lw[a] in batch))",
        "if lw[a] in brought)",
        ("experts",),
    ),
    Edit(
        "wrong batch letters where ranks differ",
        f"{RULES}/contract.py",
        "a = (\"k\",) if ra == 1 else (*batch[len(batch) - ra + 2 :], *left)",
        "a = (\"k\",) if ra == 1 else (*batch[: ra - 2], *left)",
        ("weight_on_the_left",),
    ),
    Edit(
        "transB is ignored",
        f"{RULES}/contract.py",
        'b = "ok" if op.attr("transB", 0) else "ko"',
        'b = "ko"',
        ("residual",),
    ),
    Edit(
        "the bias of Gemm stays whole",
        f"{RULES}/contract.py",
        "        follow(op, 2, shape, out.planes)\n        return out",
        "        return out",
        ("gemm_transposed",),
    ),
    Edit(
        "MACs forget channels that pass a weight by",
        f"{RULES}/einsum.py",
        "times=times if alone else 0.0",
        "times=times",
        ("mlp_mixer",),
    ),
    # convolutions
    Edit(
        "a convolution reads the batch axis",
        f"{RULES}/convolve.py",
        "    g, (go, i, *k) = op.attr(\"group\", 1), op.shape(1)\n    read = op.along(x, 1, MIXED).reshape(g, i)\n    make",
        "    g, (go, i, *k) = op.attr(\"group\", 1), op.shape(1)\n    read = np.resize(op.along(x, 0, MIXED), (g, i))\n    make",
        ("plain",),
    ),
    Edit(
        "groups of a convolution are no cells",
        f"{RULES}/convolve.py",
        "    op.cells(make, read)\n",
        "",
        ("inverted_bottleneck", "depth_multiplier"),
    ),
    Edit(
        "the number of groups stays as it was",
        f"{RULES}/convolve.py",
        'return {"group": int(new.view(key)[0])} if "group" in new.node.attrs else {}',
        "return {}",
        ("inverted_bottleneck",),
    ),
    Edit(
        "a transposed convolution reads what it makes",
        f"{RULES}/convolve.py",
        "(g, gi // g, o, *k), read, (0, 1), float",
        "(g, gi // g, o, *k), read, (0, 2), float",
        ("transposed_convolution",),
    ),
    Edit(
        "the bias of a convolution stays whole",
        f"{RULES}/convolve.py",
        "    per_channel(op, bias, len(made.shape), made.planes)\n    return made",
        "    return made",
        ("plain",),
    ),
    # norms and statistics
    Edit(
        "BatchNormalization keeps its variance",
        f"{RULES}/normalize.py",
        "    for i in range(1, 5):\n        per_channel",
        "    for i in range(1, 4):\n        per_channel",
        ("residual",),
    ),
    Edit(
        "LayerNormalization is taken for exact",
        f"{RULES}/normalize.py",
        "    if len(rows) < len(whole.planes):\n        op.lossy(MEAN)",
        "    if len(rows) < len(whole.planes):\n        pass",
        ("vision_transformer",),
    ),
    Edit(
        "a Softmax over channels is taken for exact",
        f"{RULES}/normalize.py",
        "    if set(axes) & x.axes:\n        op.lossy(reason)",
        "    if set(axes) & x.axes:\n        pass",
        ("attention_across_channels",),
    ),
    Edit(
        "groups of GroupNormalization need not be even",
        f"{RULES}/normalize.py",
        "        op.rows(p.dense.reshape(groups, -1))\n",
        "",
        ("group_norm",),
    ),
    Edit(
        "a mean over channels is taken for exact",
        f"{RULES}/reduce.py",
        "    return _reduce(op, lossy=True)",
        "    return _reduce(op, lossy=False)",
        ("norms_spelt_out",),
    ),
    Edit(
        "ArgMax over channels freezes nothing",
        f"{RULES}/reduce.py",
        '        op.freeze(p, "positions of channels are returned")',
        "        pass",
        ("positions_of_channels",),
    ),
    # movement
    Edit(
        "Concat puts labels side by side in the wrong order",
        f"{RULES}/join.py",
        "Plane(np.concatenate(wanted, axis), tuple(sorted(axes)))",
        "Plane(np.concatenate(wanted[::-1], axis), tuple(sorted(axes)))",
        ("dense", "inception"),
    ),
    Edit(
        "Concat along tokens forgets that channels are the same",
        f"{RULES}/join.py",
        "        return Image(op.out(), meet(op, others, wide))",
        "        return Image(op.out(), others[0].planes)",
        ("vision_transformer",),
    ),
    Edit(
        "Split keeps its sizes",
        f"{RULES}/join.py",
        "    if ends[-1] == size:\n        return {}",
        "    return {}",
        ("gated_by_split",),
    ),
    Edit(
        "Split hands out the parts in the wrong order",
        f"{RULES}/join.py",
        "        labels.take(x, np.arange(begin, end), axis)",
        "        labels.take(x, np.arange(begin, end)[::-1], axis)",
        ("shuffle_after_split",),
    ),
    Edit(
        "Slice keeps its bounds",
        f"{RULES}/slices.py",
        "            starts[k], ends[k] = _rebound(kept, start, end, step)",
        "            pass",
        ("slices",),
    ),
    Edit(
        "Slice forgets its step",
        f"{RULES}/slices.py",
        "np.arange(x.shape[axis])[start:end:step], axis)",
        "np.arange(x.shape[axis])[start:end], axis)",
        ("slices",),
    ),
    Edit(
        "Gather keeps its indices",
        f"{RULES}/gather.py",
        "    if kept.all():\n        return {}",
        "    return {}",
        ("picked_channels",),
    ),
    Edit(
        "a channel picked alone is free to go",
        f"{RULES}/gather.py",
        '            op.freeze(p, "picked alone from its channels")',
        "            pass",
        ("picked_channels",),
    ),
    Edit(
        "rows of an embedding are channels",
        f"{RULES}/gather.py",
        'x = op.only(op.operand(0, rest), *rest, reason="indexed by data")',
        "x = op.operand(0)",
        ("tied_embedding",),
    ),
    Edit(
        "Pad keeps its amounts",
        f"{RULES}/pad.py",
        "                    result[axes.index(wide[0]) + side * len(axes)] = new.born(turn).sum()\n",
        "",
        ("pad_channels",),
    ),
    Edit(
        "Reshape keeps its target",
        f"{RULES}/move.py",
        "        if now[a] != old[a] and n != -1 and not copied:\n            target[a] = now[a]",
        "        pass",
        ("attention_separate",),
    ),
    Edit(
        "Reshape writes the sizes it was analysed at",
        f"{RULES}/move.py",
        "        if now[a] != old[a] and n != -1 and not copied:\n",
        "        if True:\n",
        ("windows", "heads_by_shape_arithmetic"),
    ),
    Edit(
        "Expand keeps its target",
        f"{RULES}/move.py",
        "        if now[a + lead] != old[a + lead] and n != 1:",
        "        if False:",
        ("vision_transformer",),
    ),
    Edit(
        "Transpose leaves labels where they were",
        f"{RULES}/move.py",
        'return labels.transpose(x, op.attr("perm") or range(len(x.shape))[::-1])',
        "return Image(op.out(), x.planes)",
        ("shuffle_of_channels",),
    ),
    Edit(
        "Tile repeats every label in place",
        f"{RULES}/move.py",
        "return Plane(np.tile(p.ids, times), p.axes)",
        "return Plane(p.ids.repeat(times[1], 1), p.axes)",
        ("tiled",),
    ),
    Edit(
        "DepthToSpace takes blocks for channels",
        f"{RULES}/rearrange.py",
        'if op.attr("mode", "DCR") == "DCR" else',
        'if op.attr("mode", "DCR") == "CRD" else',
        ("pixel_shuffles",),
    ),
    Edit(
        "Resize keeps its sizes",
        f"{RULES}/resize.py",
        "    return {3: _resized(new, axes, sizes)}",
        "    return {}",
        ("feature_pyramid",),
    ),
    # labels
    Edit(
        "an image with holes is taken for a box",
        "spa/labels.py",
        "        if not living.size or (living != living[0]).any():",
        "        if not living.size:",
        ("grouped", "attention_separate"),
    ),
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
        "                self._rocks.append((np.unique(p.ids), Reason(end.text, \"output\", name)))",
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
        ("choice_by_if",),
    ),
    Edit(
        "freezing is forgotten",
        "spa/trace/collect.py",
        "            self._rocks.append((hit, Reason(reason, node.op, node.name)))",
        "            pass",
        ("positions_of_channels",),
    ),
    Edit(
        "cells are ignored",
        "spa/trace/collect.py",
        "            self._cells.append(sides)",
        "            pass",
        ("inverted_bottleneck", "depth_multiplier"),
    ),
    Edit(
        "rows of no tensor are ignored",
        "spa/trace/collect.py",
        "        self.extra[node.index].append(plane)",
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
        "spa/coupling/analyse.py",
        "        errors = _try_out(notes, roots, parts)",
        "        errors = []",
        ("shuffle_of_channels",),
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
        "grouped weights are cut as if all groups kept the same",
        "spa/rewrite/shrink.py",
        "    apart = all(len(p.axes) == 1 for p in planes)",
        "    apart = True",
        ("grouped",),
    ),
    Edit(
        "shapes of what is between are not corrected",
        "spa/rewrite/build.py",
        "                    dim.dim_value = new",
        "                    pass",
        ("plain",),
    ),
    Edit(
        "the rewriter does not look at what it was told",
        "spa/rewrite/build.py",
        "    if errors:\n        raise errors[0]",
        "    pass",
        ("slices",),
    ),
)
"""Most important first where one line is broken twice."""

QUICK = (
    "operands that meet are not the same",
    "Split keeps its sizes",
    "BatchNormalization keeps its variance",
    "constants shared by several uses are cut once",
    "lockstep is ignored",
)
"""The edits that every test run applies."""
