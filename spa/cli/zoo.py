"""`spa zoo`: many models, each in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spa.cli import options as declare
from spa.cli import values
from spa.cli.shell import Answer, Task, command
from spa.events import Callback

if TYPE_CHECKING:
    from spa.zoo.run import Plan


OF_ONE = ("labels", "saliency", "ignore", "only", "input_shape")
"""Options that name parts of one model, which a config has under a glob; `--help` lists others."""
RUNNING = (
    declare.option(
        "Running",
        "-d",
        "--dest",
        metavar="DEST",
        type=click.Path(file_okay=False),
        required=True,
        help="Folder of the results, which keep their paths below the sources.",
    ),
    declare.option(
        "Running",
        "-j",
        "--jobs",
        type=click.IntRange(min=1),
        help="Models at once on this machine.  Default: half of its processors.",
    ),
    declare.option(
        "Running",
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Give up on a model after so long.",
    ),
    declare.option(
        "Running",
        "--memory",
        type=values.memory,
        metavar="SIZE",
        help="End a model's process that holds more than this, such as 4G.",
    ),
    declare.option(
        "Running",
        "--retries",
        type=click.IntRange(min=0),
        default=1,
        show_default=True,
        help="How often a model whose process crashed is tried again.",
    ),
    declare.option(
        "Running",
        "--shard",
        metavar="I/N",
        help="Only this share of the models; shares need not know of each other.",
    ),
    declare.option(
        "Running",
        "--engine",
        type=click.Choice(["local", "dask", "ray"]),
        default="local",
        show_default=True,
        help="Who does the work.",
    ),
    declare.option(
        "Running", "--address", help="Where the scheduler or head of a cluster answers."
    ),
    declare.option("Running", "--fail-fast", is_flag=True, help="End with the first failure."),
    declare.option(
        "Running",
        "--accept",
        type=click.Choice(["unchanged", "refused", "missed", "none"]),
        multiple=True,
        default=("unchanged",),
        show_default=True,
        help="What is no failure, besides a pruned model; repeatable.",
    ),
    declare.option("Running", "--force", is_flag=True, help="Prune also what is done already."),
)


@command(
    "zoo",
    RUNNING,
    declare.recipe(*declare.SECTIONS, without=("memory",), unlisted=OF_ONE),
    declare.CONFIG,
    declare.SET,
)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
def zoo(sources: tuple[str, ...], **options: Any) -> Task:
    """Prune many models, each in a process of its own; run it again to go on.

    SOURCE is a folder, a file, a glob, a list (.txt with a path or URL a line, .toml with a
    [[model]] each), here or behind a URL (s3://, gs://, https://...).

    Example: spa zoo models/ -d slim/ --ratio 0.5 --jobs 4
    """

    def work(callback: Callback) -> Answer:
        plan = _plan(sources, options)
        from spa.cli.zoo_live import listening
        from spa.zoo.run import zoo

        with listening(quiet=options["quiet"], plain=options["verbose"] > 0) as listen:
            made = zoo(plan, listen)
        return Answer(made, made["exit_code"])

    return Task(work, "zoo_screen:summary", limits={})  # those given are of each model


def _plan(sources: tuple[str, ...], options: dict[str, Any]) -> Plan:
    recipe = declare.recipe_of({**options, "memory": None})
    from spa.zoo.config import Common
    from spa.zoo.run import Plan

    mine = {name: options[name] for name in ("timeout", "memory", "retries", "force")}
    config = declare.config_in_use()
    return Plan(
        sources=sources,
        dest=Path(options["dest"]),
        common=Common(recipe, **mine),
        rules=config.models if config else (),
        jobs=options["jobs"] or max(1, (os.cpu_count() or 1) // 2),
        accepted=[each for each in options["accept"] if each != "none"],
        **{name: options[name] for name in ("shard", "engine", "address", "fail_fast")},
    )
