"""`excise arena run`: let a language model invent erasers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from excise.arena.agents import require_inspect
from excise.arena.problem import held_out_concepts
from excise.arena.verdict import Verdict
from excise.cli.arena_command import Budget, LabelShare, Seed, SiteText, arena
from excise.cli.show import Json, console, figure, print_json, stderr
from excise.concepts.builtin import STARTERS
from excise.models import DEFAULT_MODEL
from excise.stats.bootstrap import Interval
from excise.types import ExciseError

if TYPE_CHECKING:
    from excise.arena.agents.outcome import Figures, Outcome

_KEY = """\
Accuracy of the strongest probe; ±: half the 95% interval. *: strongest on
select rows. share: of the way from LEACE to chance, on report rows."""


@arena.command()
def run(
    model: Annotated[str, typer.Option(help="Author, as Inspect names models: openai/..., anthropic/..., vllm/...")],
    concepts: Annotated[str, typer.Option(help="Names or .jsonl files, separated by commas.")] = ",".join(STARTERS),
    rollouts: Annotated[int, typer.Option(help="Of each concept.", min=1)] = 1,
    language_model: Annotated[
        str, typer.Option(help="Where activations come from: packaged model, Hugging Face id, or local folder.")
    ] = DEFAULT_MODEL,
    site: SiteText = "14:mean",
    seed: Seed = 0,
    budget: Budget = 1.0,
    labels: LabelShare = 1.0,
    calls: Annotated[int, typer.Option(help="Of the agent's evaluate tool, a rollout.", min=0)] = 20,
    out: Annotated[Path, typer.Option(help="Folder for score records.")] = Path("results/arena"),
    log_dir: Annotated[Path, typer.Option(help="Folder for transcripts; with the same one a killed run goes on.")] = (
        Path("results/arena-logs")
    ),
    token_limit: Annotated[int | None, typer.Option(help="Tokens a rollout, read and written.", min=1)] = None,
    cost_limit: Annotated[float | None, typer.Option(help="Dollars a rollout; needs --prices.", min=0)] = None,
    prices: Annotated[
        Path | None, typer.Option(help="JSON or YAML file with the model's prices, as Inspect's --model-cost-config.")
    ] = None,
    time_limit: Annotated[int | None, typer.Option(help="Seconds a rollout.", min=1)] = None,
    message_limit: Annotated[int | None, typer.Option(help="Messages a rollout.", min=2)] = None,
    json: Json = False,
) -> None:
    """Let a language model write erasers, with a shell, a sample and rounded feedback, and score what it hands in.

    Stop it at any time: the same command goes on where it was. Exit code 1 if a rollout could not be finished.
    """
    require_inspect()
    # Here, not at import time: seconds, and only with the extra.
    from inspect_ai import eval_set
    from inspect_ai._util.error import PrerequisiteError

    from excise.arena.agents.outcome import read_outcomes
    from excise.arena.agents.task import arena as arena_task

    names = concepts.split(",")
    if held := sorted(set(names) & set(held_out_concepts())):
        stderr.print(f"{', '.join(held)}: held out. Measure on them; train, tune and search on others.", markup=False)
    if cost_limit is not None and prices is None:
        raise ExciseError("--cost-limit needs --prices: a file with what the model's tokens cost")
    with stderr.status("reading activations"):
        task = arena_task(names, language_model, site, seed, calls, str(out), budget, labels)
    try:
        done, logs = eval_set(
            task,
            log_dir=str(log_dir),
            model=model,
            epochs=rollouts,
            # Other runs may log to the same folder.
            log_dir_allow_dirty=True,
            # One rollout's error should not cost the others; the provider's own hiccups are retried per call.
            continue_on_fail=True,
            retry_attempts=2,
            token_limit=token_limit,
            cost_limit=cost_limit,
            model_cost_config=None if prices is None else str(prices),
            time_limit=time_limit,
            message_limit=message_limit,
            display="none" if json else None,
            log_model_api=False,
        )
    except PrerequisiteError as err:
        raise ExciseError(str(err.message)) from err
    found = read_outcomes(logs)
    view = f"inspect view --log-dir {log_dir}"
    if json:
        rows = [{**asdict(one), "share": one.share, "chosen": one in _chosen(found)} for one in found]
        print_json({"rollouts": rows, "records": str(out), "logs": str(log_dir), "finished": done})
    else:
        _print(found)
        print(f"Records: {out.resolve()}\nTranscripts: {view}")
    if not done:
        stderr.print(f"Not every rollout was finished. Why: {view}; the same command tries again.", markup=False)
    raise typer.Exit(not done)


def _chosen(found: Sequence[Outcome]) -> list[Outcome]:
    """The sound rollout of each concept that is strongest on select rows: report rows choose nothing."""
    best: dict[str, Outcome] = {}
    for one in found:
        if one.verdict == Verdict.OK and (
            one.concept not in best or _value(one.select.submission) < _value(best[one.concept].select.submission)
        ):
            best[one.concept] = one
    return list(best.values())


def _value(accuracy: Interval | None) -> float:
    assert accuracy is not None
    return accuracy.value


def _print(found: Sequence[Outcome]) -> None:
    """A table a concept, and a line for each rollout that did not count."""
    chosen = _chosen(found)
    for concept in dict.fromkeys(one.concept for one in found):
        table = Table(title=concept, title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
        table.add_column("author", overflow="fold")
        table.add_column("verdict")
        for column in ("select", "report", "share"):
            table.add_column(column, justify="right", no_wrap=True)
        mine = [one for one in found if one.concept == concept]
        for one in mine:
            share = f"{one.share:.2f}" if one.verdict == Verdict.OK else ""
            mark = "*" if one in chosen else ""
            table.add_row(
                Text(one.author + mark),
                one.verdict,
                _figure(one.select.submission),
                _figure(one.report.submission),
                share,
            )
        table.add_section()
        beside = next((one for one in mine if one.report.leace is not None), None)
        if beside:
            for what in ("unerased", "leace"):
                title = "LEACE" if what == "leace" else what
                both: list[Figures] = [beside.select, beside.report]
                table.add_row(
                    title, "", *(_figure(getattr(part, what)) for part in both), "0.00" if what == "leace" else ""
                )
            table.add_row("chance", "", *([f"{beside.report.chance:.3f}"] * 2), "1.00")
        console.print(table)
    if chosen:
        console.print(_KEY, highlight=False)
    for one in found:
        if one.verdict != Verdict.OK:
            print(f"{one.concept}, {one.author}: {one.verdict}. {Verdict(one.verdict).advice}")
        for note in one.notes:
            print(f"{one.concept}, {one.author}, for review: {note}")


def _figure(accuracy: Any) -> str:
    return "" if accuracy is None else figure(accuracy)
