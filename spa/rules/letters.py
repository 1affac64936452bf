"""Letters for axes: the same for the same channels, in the order in which they are first met."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from spa import labels
from spa.labels import Ids, Image, IndexMap, Shape
from spa.trace import Param

Letters = list[tuple[str, int]]
LETTERS = {
    "reads": "ikl",
    "makes": "oj",
    "scales": "cde",
    "follows": "cde",
    "both": "gh",
    "": "abcdefpqstuvwxyz",
}


@dataclass(frozen=True)
class Word:
    """What to write for an axis, and how often it is repeated as a whole and element by element."""

    text: str
    outer: int = 1
    inner: int = 1

    def repeated(self) -> str:
        """With the numbers of repetitions."""
        around = ([str(n)] if n > 1 else [] for n in (self.outer, self.inner))
        return _wrap([*next(around), self.text, *next(around)])


@dataclass
class Writer:
    """Letters for sequences of units; one that was met before is written with its letters."""

    root: Ids
    names: dict[bytes, Letters] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)
    _used: set[str] = field(default_factory=set)

    def _units(self, p: IndexMap) -> IndexMap:
        return labels.tighten(IndexMap(self.root[p.ids], p.axes))

    def _free(self, role: str = "") -> str:
        pool = (*LETTERS[role], *LETTERS[""], *(f"x{n}" for n in range(99)))
        letter: str = next(c for c in pool if c not in self._used)
        self._used.add(letter)
        return letter

    def name_axes(self, param: Param) -> None:
        """Give letters to the axes of a view: one letter, whichever index maps lie along it."""
        maps = [(role, self._units(p)) for role, p in param.maps]
        maps = [(role, p) for role, p in maps if p.axes and p.ids.any()]
        given: dict[int, str] = {}
        for role, p in maps:
            if p.dense.tobytes() in self.names or (len(p.axes) == 1 and self._known(p.dense)):
                continue
            for a in p.axes:
                shared = sum(a in q.axes for _, q in maps) > 1
                if a not in given:
                    given[a] = self._free("both" if shared else role)
            letters = [given[a] for a in p.axes]
            self.names[p.dense.tobytes()] = list(zip(letters, p.dense.shape, strict=True))

    def role(self, param: Param, role: str) -> list[str]:
        """The letters of a param's index maps of one role."""
        maps = [self._units(p) for r, p in param.maps if r == role]
        found = [self.names.get(p.dense.tobytes(), []) for p in maps if p.axes]
        return [c for letters in found for c, _ in letters]

    def param(self, param: Param, shape: Shape) -> str:
        """A stored tensor, its axes written as the view splits them."""
        words = self._words([p for _, p in param.maps])
        axes = []
        for coarse, fine in labels.cut(shape, param.view) or ():
            named = [words[a] for a in fine if a in words]
            axes += [_wrap(named) if named else "*"] if coarse else []
        return _bracket(axes)

    def image(self, x: Image) -> str:
        """An activation, axis by axis."""
        words = self._words(x.maps)
        return _bracket([words.get(a, "*") for a in range(len(x.shape))])

    def _words(self, maps: Iterable[IndexMap]) -> dict[int, str]:
        """What to write for every axis that some index map lies along."""
        found: dict[int, list[Word]] = {}
        for p in (self._units(p) for p in maps):
            if not p.ids.any():
                continue
            single = len(p.axes) == 1
            words = [self._sequence(p.dense)] if single else [Word(w) for w in self._split(p)]
            for a, word in zip(p.axes, words, strict=True):
                letters = [w.text.partition("=")[0] for w in found.setdefault(a, [])]
                found[a] += [] if word.text.partition("=")[0] in letters else [word]
        return {
            a: words[0].repeated()
            if len(words) == 1  # several index maps on one axis: the slowest comes first
            else _wrap([w.text for w in sorted(words, key=lambda w: -w.inner)])
            for a, words in found.items()
        }

    def _split(self, p: IndexMap) -> list[str]:
        """A word for each axis of an index map; a letter that lies along two of them is split."""
        key, sizes = p.dense.tobytes(), p.dense.shape
        old = self.names.get(key, [("", p.dense.size)])
        runs = labels.cut(sizes, tuple(n for _, n in old)) or ()
        new: Letters = []
        words: dict[int, Letters] = {}
        for coarse, fine in runs:
            whole = len(coarse) == 1 and all(old[a][0] for a in fine)
            letters = (
                [old[a] for a in fine] if whole else [(self._free(), sizes[a]) for a in coarse]
            )
            new += letters
            words |= {a: letters if whole else [letters[k]] for k, a in enumerate(coarse)}
        self.names[key] = new
        return [self._group(words[a]) for a in range(len(sizes))]

    def _sequence(self, ids: Ids) -> Word:
        """Units along one axis: known ones, or new ones."""
        word = self._known(ids)
        if word is None:
            outer, core, inner = _core(ids)
            self.names[core.tobytes()] = [(self._free(), len(core))]
            word = Word(self._group(self.names[core.tobytes()]), outer, inner)
        return word

    def _known(self, ids: Ids) -> Word | None:
        """A sequence in letters that are known: all of them, some, repeated, or beside others."""
        outer, core, inner = _core(ids)
        for units, around in ((ids, (1, 1)), (core, (outer, inner))):
            if units.tobytes() in self.names:
                return Word(self._group(self.names[units.tobytes()]), *around)
        for seen, letters in self.names.items():
            units = np.frombuffer(seen, np.int64)
            unique = len(np.unique(ids)) == len(ids) and len(np.unique(units)) == len(units)
            if unique and np.isin(ids, units).all():
                order = np.argsort(units)
                where = order[np.searchsorted(units[order], ids)]
                return Word(self._group(letters) + _picked(where))
        joined = self._joined(ids)
        return Word(joined) if joined else None

    def _joined(self, ids: Ids) -> str:
        """Known sequences beside new ones and whole ones (or nothing, if none is known)."""
        words: list[str] = []
        at = met = 0
        while at < len(ids):
            fits = [
                (seen, letters)
                for seen, letters in self.names.items()
                if np.array_equal(np.frombuffer(seen, np.int64), ids[at : at + len(seen) // 8])
            ]
            if fits:
                words.append(self._group(fits[0][1]))
                at, met = at + len(fits[0][0]) // 8, met + 1
            else:
                sort, n = ("*", "new")[int(ids[at] != 0)], 1
                if words and words[-1].endswith(f" {sort}"):
                    n += int(words.pop().split()[0])
                words, at = [*words, f"{n} {sort}"], at + 1
        return f"({' + '.join(words)})" if met else ""

    def _group(self, letters: Letters) -> str:
        words = [c if c in self.said else f"{c}={n}" for c, n in letters]
        self.said.update(c for c, _ in letters)
        return _wrap(words)


def _core(ids: Ids) -> tuple[int, Ids, int]:
    """(outer, core, inner): `ids` are the core, each element `inner` times, `outer` times."""
    first = int(np.argmax(np.append(ids != ids[0], True)))
    inner = first if np.array_equal(ids, np.repeat(ids[::first], first)) else 1
    core = ids[::inner]
    for n in range(1, len(core)):
        if len(core) % n == 0 and np.array_equal(core, np.tile(core[:n], len(core) // n)):
            return len(core) // n, core[:n], inner
    return 1, core, inner


def _wrap(words: Sequence[str]) -> str:
    """One word as it is, several in brackets."""
    flat = " ".join(w[1:-1] if w.startswith("(") and "+" not in w else w for w in words)
    return f"({flat})" if len(words) > 1 else words[0]


def _bracket(words: Sequence[str]) -> str:
    short = [w for k, w in enumerate(words) if w != "*" or k == 0 or words[k - 1] != "*"]
    return f"[{', '.join(short)}]"


def _picked(index: Ids) -> str:
    """An index in brackets, as a slice where it is one."""
    steps = set(np.diff(index).tolist())
    if len(steps) > 1:
        return f"[{','.join(map(str, index))}]"
    step = steps.pop() if steps else 1
    stop = index[-1] + step
    return f"[{index[0]}:{stop if stop >= 0 else ''}{'' if step == 1 else f':{step}'}]"
