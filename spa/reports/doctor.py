"""What a bug report needs: versions, providers, limits, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType

from spa.reports import wording
from spa.reports.screen import line, shown
from spa.reports.wording import Table


def screen(facts: Mapping[str, object]) -> RenderableType:
    """Show single values first, then one table per section, and problems last."""
    sections = {key: value for key, value in facts.items() if isinstance(value, Mapping)}
    single = {key: value for key, value in facts.items() if key not in {*sections, "problems"}}
    problems = facts.get("problems")
    said = problems if isinstance(problems, Sequence) and not isinstance(problems, str) else ()
    return Group(
        *(_section(key, found) for key, found in {"": single, **sections}.items() if found),
        *(line("Problem", words, "bad") for words in said),
        *([line("Problems", "none", "good")] if problems == [] else []),
    )


def _section(title: str, found: Mapping[str, object]) -> RenderableType:
    pairs = [(name, wording.value(value)) for name, value in found.items()]
    return shown(Table(("", ""), pairs, left=2), title or None)
