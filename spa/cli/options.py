"""The options: those of a recipe are made from its fields, the shell's own are declared here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args

import click
from click.core import ParameterSource

from spa.cli import values
from spa.cli.named import Named
from spa.config import Config, project_config, read_config, recipe_from, unknown
from spa.errors import UsageError
from spa.recipe import CHOICES, OPTIONS, Recipe, kinds
from spa.registry import NAMED

Decorator = Callable[[Any], Any]
DEFAULT = Recipe()
SECTIONS = ("How much", "By what", "Keeping accuracy", "Inputs", "Where", "Model", "Checks")
SETTING = "--set"
CONFIGURED = ("prune", "plan", "sweep", "zoo")
CONFIG_KEY = "spa.config"
FORMS: Mapping[str, Mapping[str, Any]] = {
    "SIZE": {"type": values.memory},
    "INT|auto": {"type": values.round_to},
    "SECONDS|off": {"type": values.seconds},
    "good|risky": {"type": click.Choice(["good", "risky"])},
    "GLOB": {"multiple": True},
    "GLOB=FLOAT": {"type": values.LAYER_RATIO, "multiple": True, "callback": values.unique},
    "NAME:1,3,224,224": {"type": values.INPUT_SHAPE, "multiple": True, "callback": values.unique},
    "LO,HI": {"type": values.numbers("0,255")},
    "A,B,C": {"type": values.numbers("0.485,0.456,0.406")},
    "FILE": {"type": click.Path()},
    "PATH": {"type": click.Path()},
    "COMMAND": {},
    "TIME|off": {},
}
"""What reads a value, by how it is written."""


class Option(click.Option):
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


class Command(click.Command):
    """A command whose options are listed under headings, and reached by `--set`, too."""

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
        more = [each.name for each in self.params if each.name in OPTIONS and _hidden(each)]
        if more:
            with formatter.section("More, by --set"):
                formatter.write_text(", ".join(name.replace("_", "-") for name in more if name))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `--set NAME=VALUE` as the option of that name."""
        if any(each.name == "set" for each in self.params):
            args = list(self._spelt(iter(args)))
        return super().parse_args(ctx, args)

    def _spelt(self, words: Iterator[str]) -> Iterator[str]:
        for word in words:
            if word == SETTING:
                yield from self._option(next(words, ""))
            elif word.startswith(f"{SETTING}="):
                yield from self._option(word.partition("=")[2])
            else:
                yield word
            if word == "--":
                yield from words

    def _option(self, written: str) -> Sequence[str]:
        name, found, value = written.partition("=")
        if not found:
            raise UsageError(f"--set {written!r} is not written like NAME=VALUE")
        fields = {each.name: each for each in self.params if each.name in OPTIONS}
        option = fields.get(name.replace("-", "_"))
        if option is None:
            raise click.UsageError(unknown(name, [f.replace("_", "-") for f in fields if f]))
        if not getattr(option, "is_flag", False):
            return option.opts[-1], value
        on = click.BOOL.convert(value, option, None)
        return [option.opts[0] if on else option.secondary_opts[0]]


def option(section: str, *names: str, **settings: Any) -> Decorator:
    """Declare one option under a heading."""
    return click.option(*names, cls=Option, section=section, **settings)


def _hidden(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and parameter.hidden


def recipe(
    *sections: str, without: Sequence[str] = (), unlisted: Sequence[str] = ()
) -> tuple[Decorator, ...]:
    """The options of a recipe's fields, by the headings that a command has."""
    return tuple(
        _field(name, said.shown and name not in unlisted)
        for section in sections
        for name, said in OPTIONS.items()
        if said.section == section and name not in without
    )


def _field(name: str, shown: bool) -> Decorator:
    said, default = OPTIONS[name], getattr(DEFAULT, name)
    spelt = f"--{name.replace('_', '-')}"
    settings: dict[str, Any] = {"help": said.help, "hidden": not shown}
    if said.form is not None:
        settings |= {"metavar": said.form, **FORMS[said.form]}
    elif name in NAMED:
        settings["type"] = Named(NAMED[name])
    elif name in CHOICES:
        settings["type"] = click.Choice(CHOICES[name])
    elif (kind := _kind(kinds()[name])) is bool:
        spelt = f"{spelt}/--no-{name.replace('_', '-')}"
    else:
        settings["type"] = kind
    if not settings.get("multiple"):
        settings |= {"default": default, "show_default": default is not None}
    paired = [each for each in said.names if "/" in each]
    names = paired or [*said.names, spelt]
    return option(said.section, *names, name, **settings)


def _kind(hint: object) -> type:
    """The plain type below the bounds of a field's."""
    while not isinstance(hint, type):
        hint = get_args(hint)[0]
    return hint


REPORT = (
    option(
        "Output",
        "--report",
        type=click.Path(),
        metavar="FILE.(json|html|md|xml)",
        multiple=True,
        help="Write a report, also on failure; repeatable.",
    ),
)
FORCE = (option("Output", "--force", is_flag=True, help="Replace an existing output."),)
RESUME = (
    option(
        "Keeping accuracy",
        "--resume",
        is_flag=True,
        help="Go on where the tuning of a run with the same files and options was interrupted.",
    ),
)
SHELL = (
    option("Output", "--json", is_flag=True, help="Report on stdout, people's text on stderr."),
    option("Output", "-q", "--quiet", is_flag=True, help="Print nothing but errors."),
    option("Output", "-v", "--verbose", count=True, help="Print notes, durations, tracebacks."),
    option("Output", "--no-color", is_flag=True, hidden=True, help="Print without colours."),
)
SET = (
    option(
        "Settings",
        "--set",
        metavar="NAME=VALUE",
        multiple=True,
        expose_value=False,
        allow_from_autoenv=False,
        help="One of the options above, or of those listed at the end; repeatable.",
    ),
)
TIMEOUT = (
    option(
        "Output",
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="Give up after so long.  Default: only where one run of a model takes more than 30 s "
        "and its size does not explain that.",
    ),
)


def _configured(ctx: click.Context, option: click.Parameter, path: str | None) -> None:
    """Take the options of a file for those that are not given here."""
    from importlib import import_module

    known: dict[str, None] = {}
    for name in CONFIGURED:
        command = getattr(import_module(f"spa.cli.{name}"), name)
        known |= {each.name: None for each in command.params}
    names = [name for name in known if name not in ("config", "set", "source", "sources")]
    config = read_config(path, names) if path else project_config(names)
    if config is not None:
        ctx.meta[CONFIG_KEY] = config
        ctx.default_map = {name: _listed(value) for name, value in config.options.items()}


def _listed(value: object) -> object:
    return list(value.items()) if isinstance(value, dict) else value


def config_in_use() -> Config | None:
    """The file whose options the running command has taken."""
    found: Config | None = click.get_current_context().meta.get(CONFIG_KEY)
    return found


CONFIG = (
    option(
        "Settings",
        "--config",
        metavar="FILE",
        type=click.Path(),
        is_eager=True,
        expose_value=False,
        callback=_configured,
        help="TOML with options by name, which those given here beat; also a report, whose recipe "
        "is taken.  Default: [tool.spa] in pyproject.toml.",
    ),
)


def output(words: str) -> tuple[Decorator]:
    """Declare -o with what it holds."""
    return (option("Output", "-o", "--output", metavar="OUTPUT", help=words),)


def recipe_of(chosen: Mapping[str, Any]) -> Recipe:
    """The checked recipe of a command's options; what is not given keeps its default."""
    contradict("scorer", "saliency")
    contradict("ratio", "speedup")
    given = {name: value for name, value in chosen.items() if name in OPTIONS}
    _settle(given, "reconstruct", "repair")
    return recipe_from(given)


def says_budget(chosen: Mapping[str, Any]) -> bool:
    """Whether options say how much is to go."""
    return any(chosen[name] is not None for name in ("ratio", "speedup"))


def _settle(given: dict[str, Any], *names: str) -> None:
    """Of options that say the same thing, those given by hand beat those of the environment."""
    context = click.get_current_context(silent=True)
    source = context.get_parameter_source if context else lambda name: None
    by_hand = [name for name in names if source(name) is ParameterSource.COMMANDLINE]
    for name in names:
        if by_hand and name not in by_hand:
            given.pop(name, None)


def contradict(first: str, second: str) -> None:
    """Refuse two options given together by hand; one of them from the environment just loses."""
    context = click.get_current_context()
    names = (first, second)
    if all(context.get_parameter_source(n) is ParameterSource.COMMANDLINE for n in names):
        raise UsageError(f"--{first} and --{second} contradict each other; give one of them")
