"""Write docs/reference from the code: options, Python API, operators, report and exit codes.

    reference.py [--check]

--check writes nothing and fails where a page is not what the code says; the tests do the same.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

import click

import spa
from spa import allowed, errors
from spa.cli import COMMANDS, EXIT_CODES
from spa.cli import spa as group
from spa.config import as_json
from spa.recipe import CHOICES, OPTIONS, Recipe
from spa.registry import NAMED, REPORTS
from spa.reports import schema, verdicts
from spa.reports.ops import MEANINGS
from spa.rules import catalogue
from spa.torch import _HOME as HOMES
from spa.torch.registry import listed as gradients

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
BAR = "&#124;"
MARK = "<!-- Written by scripts/docs/reference.py from the code; do not edit. -->"


def cell(words: object) -> str:
    """Text as it may stand in a table."""
    return " ".join(str(words).split()).replace("|", BAR)


def code(words: object) -> str:
    """Code in a table; where it has a bar, in the one spelling that every renderer reads."""
    text = str(words)
    return f"<code>{escape(text, quote=False)}</code>" if "|" in text else f"`{text}`"


def table(*heads: str) -> Callable[[Iterator[tuple[object, ...]]], Iterator[str]]:
    """A table of Markdown with these heads."""

    def rows(cells: Iterator[tuple[object, ...]]) -> Iterator[str]:
        yield f"| {' | '.join(heads)} |"
        yield f"|{'---|' * len(heads)}"
        for each in cells:
            yield f"| {' | '.join(map(cell, each))} |"
        yield ""

    return rows


def paragraphs(text: str) -> Iterator[str]:
    """A docstring's paragraphs, each on a line of its own."""
    for part in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        yield " ".join(part.split())
        yield ""


# The shell


def shell() -> Iterator[str]:
    """Every command and every option."""
    yield from ["# Commands", "", MARK, ""]
    yield "Every option can be set by an environment variable: `SPA_PRUNE_RATIO=0.5` for"
    yield "`spa prune --ratio 0.5`, and those of `prune`, `plan`, `sweep` and `zoo` by a"
    yield "[config](../howto/config.md). [Exit codes](exit_codes.md) are those of all commands."
    yield ""
    for name in COMMANDS:
        yield from command(name)


def command(name: str) -> Iterator[str]:
    """One command: what it does, an example, its options by section."""
    made = group.get_command(None, name)  # type: ignore[arg-type]
    assert made is not None
    context = click.Context(made, info_name=f"spa {name}")
    yield from [f"## spa {name}", ""]
    examples = []
    for part in paragraphs(made.help or ""):
        if part.startswith("Example: "):
            examples.append(part.removeprefix("Example: "))
        elif part or not examples:
            yield part
    usage = " ".join(made.collect_usage_pieces(context))
    yield from ["```text", f"spa {name} {usage}", "```", ""]
    if examples:
        yield from ["```sh", *examples, "```", ""]
    sections: dict[str, list[click.Option]] = {}
    for parameter in made.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            sections.setdefault(getattr(parameter, "section", "Output"), []).append(parameter)
    for title, found in sections.items():
        yield from [f"**{title}**", ""]
        yield from table("option", "default", "meaning")(option(each, context) for each in found)
    more = [
        p for p in made.params if isinstance(p, click.Option) and p.name in OPTIONS and p.hidden
    ]
    if more and name == "prune":
        yield from ["**More, by `--set NAME=VALUE` or in a config**", ""]
        yield from table("name", "default", "meaning")(map(setting, more))
    elif more:
        names = ", ".join(f"`{spelt(each)}`" for each in more)
        yield from [f"More, by `--set NAME=VALUE` ([what they mean](#spa-prune)): {names}.", ""]


def spelt(made: click.Option) -> str:
    """An option's name as `--set` has it."""
    return (made.name or "").replace("_", "-")


def setting(made: click.Option) -> tuple[str, str, str]:
    """An option that `--help` does not list, as a row."""
    name = made.name or ""
    choices = NAMED[name].choices() if name in NAMED else CHOICES.get(name, ())
    form = OPTIONS[name].form or "|".join(choices)
    default = as_json(Recipe())[name]
    shown = "" if default in (None, {}, []) else code(str(default).lower())
    return code(f"{spelt(made)}={form}" if form else spelt(made)), shown, meaning(name)


def meaning(name: str) -> str:
    """What a field of a recipe means, and where its choices are told."""
    words = OPTIONS[name].help
    return f"{words} ([choices](choices.md#{name}))." if name in NAMED else words


def option(made: click.Option, context: click.Context) -> tuple[str, str, str]:
    """An option as a row."""
    names, words = made.get_help_record(context) or ("", "")
    words, _, extra = words.partition("  [")
    facts = dict(each.partition(": ")[::2] for each in extra.removesuffix("]").split("; "))
    default = facts.get("default", "required" if "required" in facts else "")
    return code(names), code(default) if default else "", words


# Python


def python() -> Iterator[str]:
    """Everything that `import spa` offers."""
    yield from ["# Python", "", MARK, ""]
    yield "Everything here is a name of the modules `spa` and `spa.torch`; whatever else can be"
    yield "imported may change."
    yield ""
    for name in spa.__all__:
        value = getattr(spa, name)
        if inspect.isfunction(value):
            yield from function(f"spa.{name}", value, "##")
        elif inspect.isclass(value):
            yield from class_of(f"spa.{name}", value, "##")
    yield from ["## spa.torch", "", "Gradients need PyTorch: `pip install 'onnx-spa[torch]'`.", ""]
    for name, home in sorted(HOMES.items()):
        value = declared(home, name)
        kind = function if inspect.isfunction(value) else class_of
        yield from kind(f"spa.torch.{name}", value, "###")
    yield from ["## Errors", "", "All are `spa.SpaError`s of the module `spa.errors`.", ""]
    kinds = [v for v in vars(errors).values() if inspect.isclass(v)]
    yield from table("error", "exit code", "meaning")(
        (f"`{kind.__name__}`", kind.exit_code, (kind.__doc__ or "").split(".")[0]) for kind in kinds
    )


def declared(module: str, name: str) -> Any:
    """A function or class of a module without what it does, so that nothing is imported for it."""
    source = (Path(spa.__file__).parents[1] / module.replace(".", "/")).with_suffix(".py")
    body = ast.parse(source.read_text(encoding="utf-8")).body
    (found,) = (each for each in body if getattr(each, "name", "") == name)
    for each in ast.walk(found):
        if isinstance(each, ast.FunctionDef):
            each.body, each.decorator_list = each.body[:1], []  # its docstring
        elif isinstance(each, ast.ClassDef):
            each.bases, each.body = [], [p for p in each.body if _is_described(p)]
    names: dict[str, Any] = {}
    flags = annotations.compiler_flag
    exec(compile(ast.Module([found], []), str(source), "exec", flags), names)
    return names[name]


def _is_described(part: ast.stmt) -> bool:
    """Whether a statement of a class is its docstring, or a method that is called by its name."""
    if isinstance(part, ast.FunctionDef):
        return not part.decorator_list
    return isinstance(part, ast.Expr)


def class_of(name: str, value: type, heading: str) -> Iterator[str]:
    """A class: what it is, its fields, its public methods."""
    yield from [f"{heading} {name}", ""]
    yield from docstring(value.__doc__ or "")
    if dataclasses.is_dataclass(value):
        hints = {field.name: field for field in dataclasses.fields(value)}
        yield from table("field", "type", "default")(
            (code(field.name), code(plain(field.type)), default_of(field))
            for field in hints.values()
        )
        if value is Recipe:
            yield from table("field", "meaning")((code(name), meaning(name)) for name in OPTIONS)
    for method, made in vars(value).items():
        made = made.__func__ if isinstance(made, (classmethod, staticmethod)) else made
        if inspect.isfunction(made) and not method.startswith("_"):
            yield from function(f"{name}.{method}", made, f"{heading}#")


def default_of(field: dataclasses.Field[Any]) -> str:
    """A field's default, as code."""
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    factory = field.default_factory
    return f"`{factory()!r}`" if factory is not dataclasses.MISSING else ""


def function(name: str, made: Callable[..., Any], heading: str) -> Iterator[str]:
    """A function: its signature and what its docstring says."""
    yield from [f"{heading} {name}", "", "```python", *signature(name, made), "```", ""]
    yield from docstring(made.__doc__ or "")


def signature(name: str, made: Callable[..., Any]) -> Iterator[str]:
    """A signature, on one line if it fits."""
    found = inspect.signature(made)
    parts, star = [], False
    for each in found.parameters.values():
        if each.kind is each.KEYWORD_ONLY and not star:
            parts.append("*")
        star = star or each.kind in (each.KEYWORD_ONLY, each.VAR_POSITIONAL)
        parts.append(parameter(each))
    end = f") -> {plain(found.return_annotation)}"
    line = f"{name}({', '.join(parts)}{end}"
    yield from [line] if len(line) <= 96 else [f"{name}(", *(f"    {p}," for p in parts), end]


def parameter(each: inspect.Parameter) -> str:
    """A parameter as a person would write it."""
    stars = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
    words = f"{stars}{each.name}"
    words += f": {plain(each.annotation)}" if each.annotation is not each.empty else ""
    if each.default is each.empty:
        return words
    plainly = json.dumps(each.default) if isinstance(each.default, str) else repr(each.default)
    return f"{words} = {getattr(each.default, '__name__', plainly)}"


def plain(annotation: object) -> str:
    """A type as a person would write it."""
    words = annotation if isinstance(annotation, str) else str(annotation)
    words = re.sub(r"allowed\.(\w+)", allowed_type, words)
    return words.strip("'").replace("'", '"')


def allowed_type(found: re.Match[str]) -> str:
    """The plain type of one that has bounds."""
    return re.sub(r"<class '(\w+)'>", r"\1", str(bare(getattr(allowed, found[1]))))


def bare(kind: Any) -> Any:
    """A type without its bounds."""
    while hasattr(kind, "__metadata__"):
        kind = kind.__origin__
    inside = get_args(kind)
    if not inside or get_origin(kind) is Literal:
        return kind
    if get_origin(kind) is tuple:
        return f"tuple[{', '.join('...' if i is ... else allowed_name(i) for i in inside)}]"
    return " | ".join(map(allowed_name, inside))


def allowed_name(kind: Any) -> str:
    """A bare type by name."""
    found = bare(kind)
    return found.__name__ if isinstance(found, type) else str(found).replace("typing.", "")


def docstring(text: str) -> Iterator[str]:
    """A docstring of Google's kind as paragraphs and tables."""
    for part in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        head, _, rest = part.partition("\n")
        if all(line.startswith("    ") for line in part.splitlines()):
            yield from ["```python", *inspect.cleandoc(part).splitlines(), "```", ""]
        elif head in ("Args:", "Attributes:", "Raises:", "Warns:"):
            yield from [f"**{head[:-1]}**", ""]
            yield from table("name", "meaning")(entries(rest))
        elif head == "Returns:":
            yield from [f"**Returns** {' '.join(rest.split())}", ""]
        elif not part.startswith(">>>"):
            yield from [" ".join(part.split()), ""]


def entries(text: str) -> Iterator[tuple[str, str]]:
    """What a section of a docstring lists, name by name."""
    for each in re.split(r"\n(?=\S)", inspect.cleandoc(text)):
        name, _, words = each.partition(":")
        yield f"`{name}`", words


# The rest


def operators() -> Iterator[str]:
    """What `spa ops` lists."""
    yield from ["# Operators", "", MARK, ""]
    yield "What `spa ops` lists: operators by domain, and what is done with channels at each;"
    yield "*torch* says which have [gradients](../howto/train_in_torch.md)."
    yield ""
    yield from table("status", "meaning")((f"*{key}*", words) for key, words in MEANINGS.items())
    facts, known = catalogue(), gradients()
    for domain in dict.fromkeys(fact["domain"] for fact in facts):
        found = [fact for fact in facts if fact["domain"] == domain]
        yield from [f"## {domain or 'ai.onnx'}", ""]
        yield from table("operator", "status", "torch", "note")(
            (
                f"`{fact['op']}`",
                fact["status"],
                "yes" if (domain, fact["op"]) in known else "",
                fact["note"],
            )
            for fact in found
        )
    more = sorted(
        f"`{op}`"
        for domain, op in known
        if (domain, op) not in {(fact["domain"], fact["op"]) for fact in facts}
    )
    if more:
        yield from [f"With gradients alone: {', '.join(more)}.", ""]


def choices() -> Iterator[str]:
    """What is chosen by name, and what there is to say of each."""
    yield from ["# Choices by name", "", MARK, ""]
    yield "What options take by name. Packages may bring more of every kind: see"
    yield "[Add a criterion](../contributing/add_a_criterion.md)."
    yield ""
    for name, registry in {**NAMED, "report": REPORTS}.items():
        yield from [f"## {name}", ""]
        yield from table("name", "meaning")(
            (f"`{key}`", f"{words.rstrip('.')}.") for key, words in registry.words().items()
        )
        for entry in registry.own.values():
            if entry.known.docs:
                told = [" ".join(part.split()) for part in entry.known.docs.split("\n\n")]
                yield from [f"**{entry.name}**: {told[0]}", ""]
                yield from (line for part in told[1:] for line in (part, ""))


def report() -> Iterator[str]:
    """The report's schema."""
    yield from ["# Report", "", MARK, ""]
    yield f"What `--json` prints and `--report FILE.json` writes: schema {schema.SCHEMA_VERSION}. A"
    yield "section that was not reached is null; keys that are marked optional may be missing."
    yield ""
    every = (vars(schema) | vars(verdicts)).values()
    kinds = [v for v in every if is_typeddict(v) and v.__name__[0] != "_"]
    kinds.sort(key=lambda kind: kind is not schema.Report)
    for kind in kinds:
        yield from [f"## {kind.__name__}", ""]
        yield from paragraphs(kind.__doc__ or "")
        hints = get_type_hints(kind)
        yield from table("key", "type", "")(
            (code(key), code(type_of(hint)), "" if key in kind.__required_keys__ else "optional")
            for key, hint in hints.items()
        )
    yield from [
        "## JSON Schema",
        "",
        "The same for programs, one definition a line.",
        "",
        "```json",
    ]
    whole = schema.json_schema()
    kinds_as_json = whole.pop("$defs")
    lines = [f"  {json.dumps(name)}: {json.dumps(made)}" for name, made in kinds_as_json.items()]
    yield json.dumps(whole)[:-1] + ', "$defs": {'
    yield ",\n".join(lines)
    yield from ["}}", "```"]


def type_of(hint: Any) -> str:
    """A type of the report as people write it."""
    words = hint.__name__ if isinstance(hint, type) and hint.__module__ != "types" else hint
    words = str(hint) if hasattr(hint, "__args__") else str(words)
    words = re.sub(r"\bspa\.reports\.(schema|verdicts)\.|\btyping\.", "", words)
    return words.replace("NoneType", "None").replace("'", '"')


def exit_codes() -> Iterator[str]:
    """What a script reads."""
    yield from ["# Exit codes", "", MARK, ""]
    found = re.findall(r"^  (\d+) +(.+)$", EXIT_CODES, re.MULTILINE)
    by_code = {
        kind.exit_code: kind.__name__
        for kind in vars(errors).values()
        if inspect.isclass(kind) and kind is not errors.SpaError
    }
    yield from table("code", "meaning", "in Python")(
        (code, words, f"`{by_code[int(code)]}`" if int(code) in by_code else "")
        for code, words in found
    )
    yield "Every error is one sentence on standard error that says what, where and what next."


PAGES = {
    "cli": shell,
    "python": python,
    "choices": choices,
    "operators": operators,
    "report": report,
    "exit_codes": exit_codes,
}


def page(name: str) -> str:
    """A page of the reference."""
    return "\n".join(PAGES[name]()).rstrip("\n") + "\n"


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    check = parser.parse_args().check
    stale = []
    for name in PAGES:
        path, text = FOLDER / f"{name}.md", page(name)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    print(f"{'stale' if check else 'written'}: {', '.join(stale) or 'nothing'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
