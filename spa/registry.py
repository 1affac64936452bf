"""What is chosen by name, of every kind: one file adds one, here or in anybody's package.

One of spa's own is a function in the folder of its kind, below the kind's decorator:

    @criterion(measures=True)
    def act(context: Context) -> Scores:
        "Activation energy times weight norm."  # what `--help` says; the rest is for the reference

Nothing is listed anywhere else.  Names, words and facts are read from the source, not by running
it, so that `--help` imports nothing heavy.  A package brings one with an entry point of the
kind's group, `mine = "my_package:function"`.  Installed packages are asked only for a name that is
not spa's own, or for all names, and imported only where theirs is chosen.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from spa.errors import SpaError, UsageError, first_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

F = TypeVar("F", bound=Callable[..., Any])
Facts = Mapping[str, bool | str]
MARK = "spa_facts"
"""The attribute of a function in which a decorator leaves what it was told."""


@dataclass(frozen=True)
class Said:
    """What is known of one: a line for `--help`, more for the reference, and the kind's facts."""

    help: str
    docs: str
    facts: Facts


@dataclass(frozen=True, eq=False)
class Entry(Generic[F]):
    """One that can be chosen.

    Attributes:
        kind: of what.
        name: by which it is chosen.
        where: `module:function`.
        defaults: facts of the kind, where nothing else is said.
        said: what its source says; None of one from outside, which has not been imported yet.
        origin: the package that brings it, and its version; empty for spa's own.
    """

    kind: str
    name: str
    where: str
    defaults: Facts
    said: Said | None = None
    origin: str = ""

    @cached_property
    def function(self) -> F:
        """The function itself.

        Raises:
            UsageError: what somebody else's package brings cannot be imported, or is no function.
                The function raises it, too, where it fails.
        """
        module, _, path = self.where.partition(":")
        if not self.origin:
            return cast("F", getattr(import_module(module), path))
        try:
            found = import_module(module)
            for part in path.split(".") if path else ():
                found = getattr(found, part)
        except Exception as error:  # whatever runs when a module is imported
            raise self._broken("cannot be loaded", error) from error
        if not callable(found):
            raise self._broken(f"is no function ({self.where})", None)
        return cast("F", self._guarded(found))

    def _guarded(self, function: Callable[..., object]) -> Callable[..., object]:
        @wraps(function)
        def call(*args: object, **settings: object) -> object:
            try:
                return function(*args, **settings)
            except (SpaError, MemoryError):
                raise
            except Exception as error:
                raise self._broken("failed", error) from error

        return call

    def _broken(self, what: str, error: Exception | None) -> UsageError:
        why = f": {type(error).__name__}: {first_line(error)}" if error else ""
        return UsageError(
            f"the {self.kind} '{self.name}' of the package {self.origin} {what}{why}; "
            f"choose another {self.kind}, or tell the package's authors"
        )

    @cached_property
    def known(self) -> Said:
        """What is said of it; imports one from outside.  Raises as `function` does."""
        if self.said is not None:
            return self.said
        text = (self.function.__doc__ or "").strip()
        help, _, docs = text.partition("\n")
        facts = {**self.defaults, **getattr(self.function, MARK, {})}
        return Said(help.strip(), docs.strip(), facts)

    @property
    def help(self) -> str:
        """One line; of one from outside, which is not imported for it, where it comes from."""
        return f"from {self.origin}" if self.said is None else self.said.help


class Registry(Generic[F]):
    """All of one kind.

    Args:
        kind: what a sentence calls one of them.
        source: the package, or the module, that holds spa's own.
        group: of the entry points of others; by default the source's name.
        mark: what the decorator is called in spa's sources; by default the kind's name.
        more: words that can be chosen as well, which leave something open, and what they mean.
        facts: what the decorator may be told, with defaults.
    """

    def __init__(
        self,
        kind: str,
        source: str,
        *,
        group: str = "",
        mark: str = "",
        more: Mapping[str, str] | None = None,
        **facts: bool | str,
    ) -> None:
        self.kind, self.source, self.group = kind, source, group or source
        self.mark, self.more, self.facts = mark or kind, more or {}, facts

    def __call__(self, name: str = "", **facts: bool | str) -> Callable[[F], F]:
        """The decorator.

        Args:
            name: by which it is chosen; by default the function's, with `-` for `_`.
            facts: those of the kind.
        """
        unknown = facts.keys() - self.facts.keys()
        if unknown:
            raise TypeError(f"a {self.kind} knows nothing of {', '.join(sorted(unknown))}")

        def mark(function: F) -> F:
            setattr(function, MARK, facts)
            return function

        return mark

    @cached_property
    def own(self) -> Mapping[str, Entry[F]]:
        """Spa's own by name, in the order of files and lines."""
        spec = find_spec(self.source)
        assert spec is not None and spec.origin is not None
        folders = spec.submodule_search_locations
        files = sorted(Path(folders[0]).glob("*.py")) if folders else [Path(spec.origin)]
        return {
            entry.name: entry
            for file in files
            for entry in self._read(file, f"{self.source}.{file.stem}" if folders else self.source)
        }

    def _read(self, file: Path, module: str) -> Iterator[Entry[F]]:
        text = file.read_text(encoding="utf-8")
        if f"@{self.mark}(" not in text:
            return
        for node in ast.parse(text).body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                continue
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) == self.mark:
                    help, _, docs = (ast.get_docstring(node) or "").partition("\n")
                    told = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
                    said = Said(help, docs.strip(), {**self.facts, **told})
                    given = [str(ast.literal_eval(each)) for each in call.args]
                    name = given[0] if given else node.name.replace("_", "-")
                    yield Entry(self.kind, name, f"{module}:{node.name}", self.facts, said)

    @cached_property
    def outside(self) -> Mapping[str, Entry[F]]:
        """What installed packages bring, by name; not what is called as one of spa's own.

        Raises:
            UsageError: two packages bring the same name.
        """
        from importlib.metadata import entry_points

        found: dict[str, Entry[F]] = {}
        for point in entry_points(group=self.group):
            if point.name in self.own or point.name in self.more:
                continue
            entry = self._from(point)
            known = found.setdefault(point.name, entry)
            if known.where != entry.where:
                raise UsageError(
                    f"the packages {known.origin} and {entry.origin} both bring a {self.kind} "
                    f"'{point.name}'; uninstall one of them"
                )
        return found

    def _from(self, point: EntryPoint) -> Entry[F]:
        made = point.dist
        origin = f"{made.name} {made.version}" if made is not None else point.value
        return Entry(self.kind, point.name, point.value, self.facts, None, origin)

    def entries(self) -> tuple[Entry[F], ...]:
        """All of them."""
        return (*self.own.values(), *self.outside.values())

    def choices(self) -> tuple[str, ...]:
        """All names, those that leave something open first."""
        return (*self.more, *(entry.name for entry in self.entries()))

    def words(self) -> dict[str, str]:
        """What can be chosen, and a line on each."""
        return {**self.more, **{entry.name: entry.help for entry in self.entries()}}

    def __contains__(self, name: str) -> bool:
        return name in self.own or name in self.outside

    def offers(self, name: str) -> bool:
        """Whether that can be chosen, or leaves something open."""
        return name in self.more or name in self

    def __getitem__(self, name: str) -> Entry[F]:
        """One by its name.

        Raises:
            UsageError: there is none.
        """
        found = self.own.get(name) or self.outside.get(name)
        if found is None:
            names = ", ".join(self.choices())
            raise UsageError(f"there is no {self.kind} {name!r}; choose one of {names}")
        return found

    def get(self, name: str) -> F:
        """The function of that name; errors as for an entry and its function."""
        return self[name].function

    def says(self, name: str, fact: str) -> bool | str:
        """A fact about one; errors as for `get`."""
        return self[name].known.facts[fact]


# What a function of a kind takes and gives is said in the package of that kind.

CRITERIA: Registry[Any] = Registry(
    "scorer",
    "spa.criteria",
    mark="criterion",
    more={"auto": "Obspa, or l2 where the model cannot be run."},
    measures=False,
    comparable=False,
    gradients=False,
    relative=False,
)
UNITS: Registry[Any] = Registry(
    "unit", "spa.budgets", group="spa.units", counted=False, timed=False
)
ALLOCATIONS: Registry[Any] = Registry("allocation", "spa.budgets", group="spa.allocations")
REPAIRS: Registry[Any] = Registry(
    "repair",
    "spa.repairs",
    more={"auto": "Full with a scorer that measures, else none.", "none": "Nothing."},
    shared=False,
)
INPUTS: Registry[Any] = Registry(
    "kind of inputs",
    "spa.probes",
    group="spa.inputs",
    mark="inputs",
    more={
        "auto": "What suits the model.",
        "tokens": "Sequences of token ids; nothing is taken for a signal.",
    },
    of="pictures",
    noun="",
)
ENGINES: Registry[Any] = Registry(
    "device",
    "spa.devices",
    group="spa.engines",
    mark="engine",
    more={"auto": "A GPU where there is one."},
)

NAMED: Mapping[str, Registry[Any]] = {
    "scorer": CRITERIA,
    "of": UNITS,
    "allocation": ALLOCATIONS,
    "repair": REPAIRS,
    "probe": INPUTS,
    "device": ENGINES,
}
"""By the option, and the field of a recipe, that chooses one."""

REPORTS: Registry[Any] = Registry("report", "spa.reports", mark="face")
"""By the suffix of a report's file, without the dot."""
