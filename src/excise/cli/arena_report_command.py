"""`excise arena report`, `families`, `problems`, `adopt`: after the rollouts."""

from __future__ import annotations

from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Annotated

import typer
from joblib import Parallel, delayed
from rich import box
from rich.table import Table

import excise.erasers
from excise.arena.adopt import adopt as adopt_submission
from excise.arena.behaviour import Behaviour, behaviour
from excise.arena.failures import failures
from excise.arena.families import Families, described, families, read_families, write_families
from excise.arena.next_problems import propose
from excise.arena.problem import Public, held_out_concepts, prepare
from excise.arena.rollouts import ProblemResult
from excise.arena.sandbox import Sandbox, find_sandbox
from excise.arena.submission import Submission
from excise.arena.totals import ArenaReport, Totals, read_rollouts
from excise.arena.verdict import Refused
from excise.cli.arena_command import Model, SiteText, arena
from excise.cli.show import Json, console, figure, print_json, progress, stderr
from excise.cli.texts import find_concept
from excise.models import DEFAULT_MODEL
from excise.report.arena import arena_values, write_arena_report
from excise.stats.bootstrap import Interval
from excise.types import ExciseError, Site

Out = Annotated[Path, typer.Option(help="Folder of records, as of `excise arena score`.")]
_RECORDS = Path("results/arena")


@arena.command()
def report(out: Out = _RECORDS, json: Json = False) -> None:
    """Say what the rollouts came to: the best of each concept, totals, what went wrong; writes report.html there."""
    found = read_rollouts(out)
    kinds = read_families(out)
    page = write_arena_report(found, out / "report.html", kinds)
    if json:
        print_json(arena_values(found, kinds))
        return
    console.print(_problems_table(found.problems))
    for totals in found.totals:
        _print_totals(totals)
    wrong = failures(found)
    print(f"{wrong.rollouts} rollouts: {', '.join(f'{n} {verdict}' for verdict, n in wrong.verdicts.items())}")
    if wrong.grader_errors:
        print(f"{wrong.grader_errors} failures of the grader, which count against nobody; score those again.")
    print(f"Page: {page.resolve()}")


@arena.command(name="families")
def families_command(
    out: Out = _RECORDS,
    concepts: Annotated[
        str, typer.Option(help="On whose shown rows submissions are compared; names or .jsonl files, by commas.")
    ] = "hedging,numerical",
    model: Model = DEFAULT_MODEL,
    site: SiteText = "14:mean",
    json: Json = False,
) -> None:
    """Cluster the sound submissions by what they do to rows; the report shows the outcome."""
    names = concepts.split(",")
    if taken := sorted(set(names) & set(held_out_concepts())):
        raise ExciseError(f"{', '.join(taken)}: held out, so nothing is compared on it; choose other --concepts")
    sound = _sound(read_rollouts(out))
    if not sound:
        raise ExciseError(f"{out} holds no sound, ranked submission; there is nothing to compare")
    sandbox = find_sandbox()
    with progress("reading activations") as step:
        inputs = [prepare(find_concept(name), model, Site.parse(site), 0, progress=step)[0] for name in names]
    submissions = {sha: Submission.read(out / "sources" / f"{sha}.py") for sha in sound}
    looked = []
    with progress("looking at submissions") as step:
        # Threads: each only waits for its sandbox.
        running = Parallel(n_jobs=-1, backend="threading", return_as="generator")
        todo = (delayed(_behaviours)(submission, inputs, sandbox) for submission in submissions.values())
        for done, ((sha, author), seen) in enumerate(zip(sound.items(), running(todo), strict=True), 1):
            step(done, len(sound))
            if seen:
                looked.append(described(submissions[sha], author, seen))
            else:
                stderr.print(f"{sha[:12]} broke a rule on every one of these concepts; left out", markup=False)
    if not looked:
        raise ExciseError("no submission runs on these concepts; choose others with --concepts")
    found = families(looked)
    path = write_families(out, found)
    if json:
        print_json(found)
        return
    console.print(_families_table(found))
    print("Names are proposals, made by rule from behaviour and from calls.")
    print(f"Clustering: {path.resolve()}")


@arena.command()
def problems(out: Out = _RECORDS, json: Json = False) -> None:
    """Print what could be asked next: problems with a figure, the evidence for each, and the command that poses it."""
    found = propose(read_rollouts(out))
    if json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        console.print(f"[bold]{one.title}[/]", highlight=False)
        print(f"  why: {one.evidence} (rests on {one.count})\n  figure: {one.measure}\n  {one.command}")


@arena.command()
def adopt(
    submission: Annotated[str, typer.Argument(help="First digits of its sha256, as the report prints them.")],
    out: Out = _RECORDS,
    name: Annotated[str, typer.Option(help="Class name of the eraser.")] = "",
    folder: Annotated[Path | None, typer.Option(help="Where to write; default: the package's own erasers.")] = None,
) -> None:
    """Make an eraser of a sound, ranked submission. Its code will run in your process: read it first."""
    files = adopt_submission(out, submission, folder or Path(excise.erasers.__file__).parent, name)
    beside = files.source.name
    print(f"Wrote {files.module.resolve()}; beside it the source, {beside}, and its scores, {files.records.name}.")
    print(f"Read {beside} before you use {files.name}: a stranger's code, and no sandbox is around it now.")
    print(f"Then try the laws of an eraser: pytest tests/erasers/test_contract.py -k {files.name}")


def _sound(report: ArenaReport) -> dict[str, str]:
    """Authors of the submissions that were sound and ranked on some part, by sha256."""
    rollouts = [r for p in report.problems for r in p.rollouts]
    return {r.sha256: r.author for r in rollouts if any(r.sound(part) for part in r.scores)}


def _behaviours(submission: Submission, inputs: list[Public], sandbox: Sandbox) -> list[Behaviour]:
    found = []
    for public in inputs:
        try:
            found.append(behaviour(submission, public, sandbox))
        except Refused:
            continue
    return found


def _problems_table(results: tuple[ProblemResult, ...]) -> Table:
    table = Table(
        title="Strongest probe on report rows, the best chosen on select rows",
        caption="±: half the 95% bootstrap interval. own: the best of n on the rows that chose it.",
        caption_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    table.add_column("concept")
    for column in ("unerased", "LEACE", "best", "n", "own", "submission"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in results:
        reported = one.reported
        table.add_row(
            f"{one.concept}{f', seed {one.seed}' if one.seed else ''}{' (held out)' if one.held_out else ''}",
            "" if one.unerased is None else figure(one.unerased.worst_accuracy),
            "" if one.leace is None else figure(one.leace.worst_accuracy),
            one.outcome if reported is None else figure(reported.worst_accuracy),
            str(len(one.rollouts)),
            "" if one.own_rows is None else f"{one.own_rows.best:.3f}",
            "" if one.best is None else one.best.sha256[:12],
        )
    return table


def _print_totals(totals: Totals) -> None:
    side = "held-out concepts" if totals.held_out else "concepts open to search"
    share = "" if isnan(totals.share.value) else f", {_percent(totals.share)} of the way from LEACE to chance"
    print(
        f"{totals.place}, {totals.problems} problems of {side}: unerased {figure(totals.unerased)}, LEACE "
        f"{figure(totals.leace)}, best {figure(totals.best)}, chance {totals.chance:.3f}{share}"
    )
    for label, names in (("counted as unerased", totals.failed), ("not counted", totals.set_apart + totals.waiting)):
        if names:
            print(f"  {label}: {', '.join(names)}")


def _percent(share: Interval) -> str:
    return f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"


def _families_table(found: Families) -> Table:
    table = Table(title="Families by behaviour", title_style="bold", box=box.SIMPLE_HEAD)
    for column in ("n", "does", "written with", "nearest to the mean"):
        table.add_column(column)
    for one in found.families:
        table.add_row(str(len(one.members)), one.by_behaviour, one.by_code, one.members[0].sha256[:12])
    return table
