"""`excise`: one sub-command a file in this folder."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text
from typer.main import get_command

import excise.cli.arena_report_command
import excise.cli.arena_run_command  # noqa: F401  # Adds to `excise arena`.
from excise.types import ExciseError

COMMANDS = ("bench", "capture", "fit", "apply", "audit", "diagnose", "concepts", "leaderboard", "report", "arena")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Erase a concept from a model's activations, attack the result, and say honestly what is left.",
)
for _name in COMMANDS:
    _module = importlib.import_module(f"excise.cli.{_name}_command")
    _command = getattr(_module, _name)
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name)
    else:
        app.command(_name)(_command)


def main() -> None:
    """Entry point: a user's error is one line on stderr and exit code 2, never a traceback."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    command = get_command(app)
    try:
        sys.exit(command.main(standalone_mode=True))
    except ExciseError as err:
        _fail(str(err))
    except BrokenPipeError:  # `excise leaderboard | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as err:  # A folder that cannot be written, a full disk.
        _fail(str(err))


def _fail(message: str) -> NoReturn:
    # Not as markup: a path may hold brackets.
    Console(stderr=True, soft_wrap=True).print(Text("error: ", style="bold red") + Text(message))
    sys.exit(2)
