"""The command `spa`: a thin shell over the pipeline, and the only place that prints.

A subcommand's module is imported when it is used, so that `spa --help` answers at once.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import cast

import click

from spa._version import __version__

# Command: what the list says about it.  The module has the command's name.
COMMANDS = {
    "prune": "Slim one model, validate it and report",
    "inspect": "Show coupled-channel groups: what can be cut, what is frozen and why",
    "plan": "Score and allocate, write plan.json, change nothing",
    "apply": "Apply a plan to a model or to a fresh export of it",
    "tune": "Teach a pruned model by its original: gradients, no labels needed",
    "verify": "Compare two models: loads, shapes, drift, latency; gates for CI",
    "bench": "Latency and memory in onnxruntime, side by side in one run",
    "sweep": "Try several ratios, or find the smallest model that passes its gates",
    "probe": "Write inputs for a model that nobody has data for, for other tools",
    "zoo": "Prune many models: isolated, resumable, parallel, on one machine or a cluster",
    "ops": "List the supported operators",
    "doctor": "Versions, providers, limits; paste this into a bug report",
}

EXIT_CODES = """\b
Exit codes:
  0    done and verified
  1    internal error
  2    usage
  3    input missing, unreadable, invalid or unsupported
  4    target not reached or nothing to prune
  5    verification or a gate failed
  6    some models of a zoo failed
  7    time or memory limit
  130  interrupted (Ctrl-C, SIGTERM)"""

SETTINGS = {
    "auto_envvar_prefix": "SPA",
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Keep the order of the table: the order in which people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or say that there is none of that name."""
        if cmd_name not in COMMANDS:
            near = difflib.get_close_matches(cmd_name, COMMANDS, n=1)
            if near and not ctx.resilient_parsing:
                ctx.fail(f"No such command {cmd_name!r}, did you mean {near[0]}?")
            return None
        return cast(click.Command, getattr(import_module(f"spa.cli.{cmd_name}"), cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup, invoke_without_command=True, context_settings=SETTINGS, epilog=EXIT_CODES
)
@click.version_option(
    __version__, "-V", "--version", message="spa %(version)s", allow_from_autoenv=False
)
@click.pass_context
def spa(ctx: click.Context) -> None:
    """Structured (channel) pruning for ONNX files: no training framework, no data needed."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
