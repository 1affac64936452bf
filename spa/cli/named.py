"""A choice by name of what is registered, here or by an installed package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from spa.registry import Registry

if TYPE_CHECKING:
    Type = click.ParamType[str]
else:
    Type = click.ParamType  # which no older click makes generic


class Named(Type):
    """One of a registry's names; packages are asked only where a name is not spa's own."""

    name = "choice"

    def __init__(self, registry: Registry[Any]) -> None:
        """Keep the registry; nothing is read before it is needed."""
        self.registry = registry

    def words(self) -> str:
        """What can be chosen, each with what it means."""
        found = self.registry.words().items()
        return "; ".join(f"{name}: {_inside(help)}" for name, help in found)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """All names."""
        return f"[{'|'.join(self.registry.choices())}]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, if there is one."""
        if self.registry.offers(value):
            return value
        choices = ", ".join(map(repr, self.registry.choices()))
        self.fail(f"{value!r} is not one of {choices}.", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names that begin so, with what they mean."""
        found = self.registry.words().items()
        return [CompletionItem(n, help=help) for n, help in found if n.startswith(incomplete)]


def _inside(line: str) -> str:
    """A line as it stands inside a sentence."""
    return (line[:1].lower() + line[1:] if line[1:2].islower() else line).rstrip(".")
