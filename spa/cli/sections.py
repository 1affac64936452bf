"""Options under headings, so that a long `--help` can be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from spa.cli.named import Named

Decorator = Callable[[Any], Any]


class SectionOption(click.Option):
    """An option that knows under which heading `--help` lists it."""

    def __init__(self, *names: Any, section: str, **settings: Any) -> None:
        """Keep the heading; the rest is click's."""
        super().__init__(*names, **settings)
        self.section = section

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """With what can be chosen, where the names are registered."""
        plain = self.help
        if isinstance(self.type, Named):
            self.help = f"{plain}: {self.type.words()}."
        try:
            return super().get_help_record(ctx)
        finally:
            self.help = plain


class SectionCommand(click.Command):
    """A command whose many options are listed under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section per heading, in the order of declaration."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                title = getattr(parameter, "section", "Output")
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def option(section: str, *names: str, **settings: Any) -> Decorator:
    """Declare one option under a heading."""
    return click.option(*names, cls=SectionOption, section=section, **settings)


def options(*sets: Sequence[Decorator]) -> Decorator:
    """Give a command sets of options, listed in this order."""

    def decorate(function: Any) -> Any:
        for each in reversed([one for group in sets for one in group]):
            function = each(function)
        return function

    return decorate


def without(name: str, decorators: Sequence[Decorator]) -> tuple[Decorator, ...]:
    """Options but one, whose name means something else, or nothing, to some command."""

    def declares(decorator: Decorator) -> bool:
        def blank() -> None: ...

        decorator(blank)
        return name in [each.name for each in blank.__click_params__]  # type: ignore[attr-defined]

    return tuple(each for each in decorators if not declares(each))
