"""Ways to break bounds, measures, writers and picks: some test must notice each."""

from __future__ import annotations

from tests.mutants.edit import UNCHECKED, UNTRIED, Edit

FOLDING = ("tests/graph/test_budget.py", "tests/graph/test_folding.py")
REACH = ("tests/budgets/test_reach.py",)
DRIFT = ("tests/validate/test_drift.py",)
OBSPA = ("tests/criteria/test_obspa.py",)
LATENCY = ("tests/validate/test_latency.py",)
PLACES = ("tests/storage/test_places.py",)
ATOMIC = ("tests/storage/test_atomic.py",)
WRITING = ("tests/graph/test_writing.py",)
EXTERNAL = ("tests/graph/test_writing.py", "tests/storage/test_kills.py")
INTEGERS = ("tests/pipeline/test_integers.py",)
BRANCHES = ("tests/pipeline/test_branches.py",)
REGISTRY = ("tests/test_registry.py",)
CRITERIA = ("tests/criteria/test_lamp.py", "tests/criteria/test_bn_scale.py")

MOVED_DATA = "            if data is not None and new:\n                data[0].put(data[1])\n"
MOVED_MODEL = "            draft.put(target)\n"
BLIND = (UNTRIED, UNCHECKED)

OTHER_EDITS = (
    Edit(
        "an allocation of another package is held to no limits",
        "spa/budgets/search.py",
        "    if entry.origin:",
        "    if not entry:",
        tests=REGISTRY,
    ),
    Edit(
        "what another package raises is nobody's",
        "spa/registry.py",
        "            except (SpaError, MemoryError):",
        "            except Exception:",
        tests=REGISTRY,
    ),
    Edit(
        "facts of another package are not asked for",
        "spa/registry.py",
        "        facts = {**self.defaults, **getattr(self.function, MARK, {})}",
        "        facts = dict(self.defaults)",
        tests=REGISTRY,
    ),
    Edit(
        "biases count in LAMP",
        "spa/criteria/lamp.py",
        "    if sum(size > 1 for size in array.shape) < 2:",
        "    if not array.shape:",
        tests=CRITERIA,
    ),
    Edit(
        "weights count in a mean of scales",
        "spa/criteria/bn_scale.py",
        "        return np.abs(array) if tensor in scales else None",
        "        return np.abs(array) * np.float32(tensor in scales)",
        tests=CRITERIA,
    ),
    Edit(
        "nothing that folding makes is counted",
        "spa/graph/budget.py",
        "        self.made -= made\n",
        "        pass\n",
        tests=FOLDING,
    ),
    Edit(
        "no work that folding does is counted",
        "spa/graph/budget.py",
        "        self.work -= cost\n",
        "        pass\n",
        tests=FOLDING,
    ),
    Edit(
        "windows cost folding nothing",
        "spa/graph/budget.py",
        "    return read + made * windows(node)",
        "    return read + made",
        tests=FOLDING,
    ),
    Edit(
        "a product costs folding no more than what it reads",
        "spa/graph/budget.py",
        "    if node.op_type in PRODUCTS:",
        "    if False:",
        tests=FOLDING,
    ),
    Edit(
        "a target that no scores could reach is scored first",
        "spa/budgets/reach.py",
        "    if most >= recipe.share - 1e-9:",
        "    if most >= -1:",
        tests=REACH,
    ),
    Edit(
        "what can be removed at most is what the first width removes",
        "spa/budgets/reach.py",
        "    deepest = int(np.argmin(left))",
        "    deepest = 0",
        tests=REACH,
    ),
    Edit(
        "the bound is the smallest cut, not the deepest",
        "spa/budgets/reach.py",
        "int(limit.steps[-1])",
        "int(limit.steps[0])",
        tests=REACH,
    ),
    Edit(
        "what holds the rest is named without its option",
        "spa/budgets/reach.py",
        'lets no more of the group {group.name} go", option',
        'lets no more of the group {group.name} go", None',
        tests=REACH,
    ),
    Edit(
        "columns are not centred",
        "spa/validate/spread.py",
        "            varies = np.maximum(sums.square - sums.total * mean, 0.0)",
        "            varies = np.maximum(sums.square, 0.0)",
        tests=DRIFT,
    ),
    Edit(
        "all columns are of one unit",
        "spa/validate/spread.py",
        "        if self.one_unit:\n",
        "        if True:\n",
        tests=DRIFT,
    ),
    Edit(
        "shares of one whole are units of their own",
        "spa/validate/spread.py",
        "        if self.one_unit:\n",
        "        if False:\n",
        tests=DRIFT,
    ),
    Edit(
        "a column that hardly ever fires counts for all",
        "spa/validate/spread.py",
        "min(moved / energy, CAP**2)",
        "moved / energy",
        tests=DRIFT,
    ),
    Edit(
        "what never varies drifts by nothing",
        "spa/validate/spread.py",
        "        if self._repeated and not self._varied:\n            return None",
        "        if self._repeated and not self._varied:\n            return 0.0",
        tests=DRIFT,
    ),
    Edit(
        "the columns are those of the first axis",
        "spa/validate/spread.py",
        "for axis in (None, *range(1, old.ndim)):",
        "for axis in (None,):",
        tests=DRIFT,
    ),
    Edit(
        "one label in all rows is agreement",
        "spa/validate/labels.py",
        "        if not self._entries or (equal and len(self._counts[0]) < 2):",
        "        if not self._entries:",
        tests=DRIFT,
    ),
    Edit(
        "lists of entries are compared in their order",
        "spa/validate/labels.py",
        "        if self._sets and self._rows > 1:\n",
        "        if False:\n",
        tests=DRIFT,
    ),
    Edit(
        "lists of other lengths have all in common",
        "spa/validate/labels.py",
        "            self._entries += max(old.size, new.size)",
        "            pass",
        tests=DRIFT,
    ),
    Edit(
        "rows that hold an entry twice are sets",
        "spa/validate/labels.py",
        "        self._sets = bool((ordered[:, 1:] != ordered[:, :-1]).all())",
        "        pass",
        tests=DRIFT,
    ),
    Edit(
        "what is read may be written over",
        "spa/storage/places.py",
        "                if same_file(write, read):",
        "                if write == read:",
        tests=PLACES,
    ),
    Edit(
        "two results may lie at one place",
        "spa/storage/places.py",
        "        if place in seen:",
        "        if False:",
        tests=PLACES,
    ),
    Edit(
        "two names of one file are two files",
        "spa/storage/places.py",
        "            if same_file(path, other):",
        "            if False:",
        tests=PLACES,
    ),
    Edit(
        "names that differ in case are two files everywhere",
        "spa/storage/places.py",
        "os.path.realpath(path)).casefold()",
        "os.path.realpath(path))",
        tests=PLACES,
    ),
    Edit(
        "whatever is no folder may be replaced",
        "spa/storage/places.py",
        "    if kind is not None and not stat.S_ISREG(kind):",
        "    if kind is not None and stat.S_ISDIR(kind):",
        tests=PLACES,
    ),
    Edit(
        "what is written stays beside its place when a run ends early",
        "spa/storage/atomic.py",
        "                self.path.unlink()\n",
        "                pass\n",
        tests=ATOMIC,
    ),
    Edit(
        "leftovers are taken from those who still write them",
        "spa/storage/stale.py",
        "            if not lock(handle, wait=False):\n                return\n",
        "            lock(handle, wait=False)\n",
        tests=ATOMIC,
    ),
    Edit(
        "what killed runs left stays",
        "spa/storage/stale.py",
        "            if DRAFT.fullmatch(path.name) or path.name.startswith(SCRATCH):",
        "            if False:",
        tests=ATOMIC,
    ),
    Edit(
        "data are moved after the model",
        "spa/graph/write.py",
        MOVED_DATA + MOVED_MODEL,
        MOVED_MODEL + MOVED_DATA,
        tests=EXTERNAL,
    ),
    Edit(
        "data of a model that was never moved stay",
        "spa/graph/write.py",
        "                data[1].unlink(missing_ok=True)\n            raise",
        "                pass\n            raise",
        tests=EXTERNAL,
    ),
    Edit(
        "old data that a run reads are removed",
        "spa/graph/write.py",
        "            if not any(same_file(old, each) for each in reads):",
        "            if True:",
        tests=EXTERNAL,
    ),
    Edit(
        "old data stay",
        "spa/graph/write.py",
        "        for old in outdated(target):",
        "        for old in ():",
        tests=EXTERNAL,
    ),
    Edit(
        "data that another model needs are removed",
        "spa/graph/datafiles.py",
        "or any(_names(m, path.name) for m in models)",
        "or False",
        tests=EXTERNAL,
    ),
    Edit(
        "no weight is quantised",
        "spa/coupling/quantised.py",
        "            elements[few or param.node in rounded] += prod(param.view)",
        "            elements[False] += prod(param.view)",
        tests=INTEGERS,
    ),
    Edit(
        "one form that differs takes all others along",
        "spa/rewrite/compact.py",
        "            for name in wrong:\n                del forms[name]",
        "            forms.clear()",
        tests=("tests/pipeline/test_size.py",),
    ),
    Edit(
        "copies of a weight are other weights",
        "spa/graph/copies.py",
        "        node.input[:] = [first.get(name, name) for name in node.input]",
        "        pass",
        also=(
            (
                "spa/graph/copies.py",
                "    drop_initializers(graph, set(first))",
                "    pass",
            ),
        ),
        tests=BRANCHES,
    ),
    Edit(
        "copies that were folded apart are other weights",
        "spa/graph/fold.py",
        "        share_copies(proto.graph, WEIGHTED)  # copies that were folded apart\n",
        "",
        tests=BRANCHES,
    ),
    Edit(
        "weights of one number are one weight",
        "spa/graph/copies.py",
        "            if raw == raw[: len(raw) // count] * count:  # one number, or none",
        "            if not raw:",
        tests=BRANCHES,
    ),
    Edit(
        "floats of a byte can be refitted",
        "spa/coupling/quantised.py",
        "not is_float(kind) or kind.itemsize == 1",
        "not is_float(kind)",
        tests=INTEGERS,
    ),
    Edit(
        "floats that the graph rounds can be refitted",
        "spa/coupling/quantised.py",
        "elements[few or param.node in rounded]",
        "elements[few]",
        tests=INTEGERS,
    ),
    Edit(
        "an index of elements is not cut with the channels it lies beside",
        "spa/rules/gather.py",
        "    moving = [*images, *(op.operand(i) for i in inputs if not op.is_const(i))]",
        "    moving = [*images]",
        ("rows_picked_by_an_expanded_index", "every_channel_picks_its_own"),
        BLIND,
    ),
    Edit(
        "channels along the axis that elements are picked from may go",
        "spa/rules/gather.py",
        "    x = op.only(x, *[a for a in range(len(x.shape)) if a != axis], "
        'reason="addressed by position")\n    for a',
        "    for a",
        ("channels_picked_by_number",),
        BLIND,
    ),
    Edit(
        "a shorter index picks from all channels",
        "spa/rules/gather.py",
        "        if a != axis and a in x.axes and n < x.shape[a]:",
        "        if False:",
        ("fewer_channels_than_there_are",),
        BLIND,
    ),
    Edit(
        "stored indices of elements stay as long as they are",
        "spa/rules/gather.py",
        '            follow(op, i, op.shape(i), maps, "follows")\n    return maps',
        "            pass\n    return maps",
        ("picked_by_a_stored_index",),
        BLIND,
    ),
    Edit(
        "channels that are written to by position may go",
        "spa/rules/scatter.py",
        '            op.squash(p, others, "addressed by position")',
        "            pass",
        ("written_into_channels_by_number",),
        BLIND,
    ),
    Edit(
        "integers are ranked without their zero point",
        "spa/criteria/meant.py",
        "        array = array if own is None else array - own",
        "        pass",
        tests=("tests/criteria/test_meant.py",),
    ),
    Edit(
        "integers are ranked without their scale",
        "spa/criteria/meant.py",
        "        array = array if own is None else array * own",
        "        pass",
        tests=("tests/criteria/test_meant.py",),
    ),
    Edit(
        "averages of a wide site's columns count as their sums",
        "spa/criteria/obspa.py",
        "        return self.sizes[:, None] * averaged",
        "        return averaged",
        tests=OBSPA,
    ),
    Edit(
        "a run that warms up is timed",
        "spa/validate/latency.py",
        "    rounds = np.asarray(known[1:], np.float64) * 1e3",
        "    rounds = np.asarray(known, np.float64) * 1e3",
        tests=LATENCY,
    ),
)
