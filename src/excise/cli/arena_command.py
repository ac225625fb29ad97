"""`excise arena`: check, prepare, evaluate, score."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from excise.arena.problem import Part, Private, Public, held_out_concepts
from excise.arena.problem import prepare as prepare_problem
from excise.arena.records import write_score
from excise.arena.sandbox import attack_report, find_sandbox
from excise.arena.score import Evaluator, Score
from excise.arena.score import score as score_submission
from excise.arena.submission import Submission
from excise.arena.verdict import Verdict
from excise.bench.grade import Grade
from excise.cli.show import Json, console, figure, print_json, progress, stderr
from excise.cli.texts import find_concept
from excise.models import DEFAULT_MODEL
from excise.probes import all_probes
from excise.types import ExciseError, Site

arena = typer.Typer(no_args_is_help=True, help="Invent an eraser against a hidden grader.")

ConceptName = Annotated[str, typer.Option("--concept", help="A built-in concept, or a .jsonl file.")]
Model = Annotated[str, typer.Option(help="Packaged model, Hugging Face id, or local folder.")]
SiteText = Annotated[str, typer.Option(help="Module path or block number, and pooling: 14:mean, encoder.layer.3:last.")]
Budget = Annotated[float, typer.Option(help="What may be spent, in LEACE edits. Another budget is another problem.")]
LabelShare = Annotated[float, typer.Option("--labels", help="Share of the labelled sample to keep: .25, .5, .75 or 1.")]
Seed = Annotated[int, typer.Option(help="Of the draw: which rows are shown and which are hidden.", min=0)]
File = Annotated[Path, typer.Argument(help="A file with fit and transform, or a folder with one such .py file.")]
UnsafeLocal = Annotated[
    bool,
    typer.Option(
        "--unsafe-local", help="Without any sandbox, for code of your own: it can read everything. Never ranked."
    ),
]


@arena.command()
def check(json: Json = False) -> None:
    """Attack the sandbox of this machine and show what it withstood; exit code 1 if an attack got through."""
    sandbox = find_sandbox()
    with stderr.status(f"attacking {sandbox.name}"):
        results = attack_report(sandbox)
    if json:
        print_json({"sandbox": sandbox.name, "attacks": [asdict(result) for result in results]})
    else:
        table = Table("attack", "held", "how", title=f"{sandbox.name}: attacks tried", box=box.SIMPLE_HEAD)
        for result in results:
            table.add_row(Text(result.name), "yes" if result.held else "[bold red]no[/]", Text(result.how))
        console.print(table)
    raise typer.Exit(not all(result.held for result in results))


@arena.command()
def prepare(
    concept: Annotated[str, typer.Argument(help="A built-in concept, or a .jsonl file.")],
    out: Annotated[Path, typer.Argument(help="Folder for what the author may see.")],
    model: Model = DEFAULT_MODEL,
    site: SiteText = "14:mean",
    seed: Seed = 0,
    budget: Budget = 1.0,
    labels: LabelShare = 1.0,
) -> None:
    """Write the author's side of a problem: the task in words, and a labelled sample."""
    public, _ = _problem(concept, model, site, seed, budget, labels)
    public.write(out)
    print(f"{len(public.texts)} labelled texts and {out.resolve() / 'task.md'}")
    if concept in held_out_concepts():
        stderr.print(f"{concept} is a held-out concept: train, tune and search on others.", markup=False)


@arena.command()
def evaluate(
    file: File,
    concept: ConceptName,
    model: Model = DEFAULT_MODEL,
    site: SiteText = "14:mean",
    seed: Seed = 0,
    budget: Budget = 1.0,
    labels: LabelShare = 1.0,
    unsafe_local: UnsafeLocal = False,
    json: Json = False,
) -> None:
    """Try a file on the feedback rows; prints what an agent would be told. Exit code 1 unless it is sound."""
    submission = Submission.read(file)
    sandbox = find_sandbox(unsafe_local=unsafe_local)
    _, private = _problem(concept, model, site, seed, budget, labels)
    with stderr.status("attacking"):
        heard = Evaluator(private, sandbox, calls=1).evaluate(submission.source)
    if json:
        print_json({key: value for key, value in asdict(heard).items() if key != "calls_left"})
    else:
        print(heard.text)
    raise typer.Exit(heard.verdict is not Verdict.OK)


@arena.command()
def score(
    file: File,
    concept: ConceptName,
    part: Annotated[str, typer.Option(help="Hidden rows to attack: select, or report, which also has more probes.")] = (
        "report"
    ),
    model: Model = DEFAULT_MODEL,
    site: SiteText = "14:mean",
    seed: Seed = 0,
    budget: Budget = 1.0,
    labels: LabelShare = 1.0,
    out: Annotated[Path, typer.Option(help="Folder for records.")] = Path("results/arena"),
    unsafe_local: UnsafeLocal = False,
    json: Json = False,
) -> None:
    """Score a file on hidden rows, fitted anew on rows its author never saw. Exit code 1 unless it is sound."""
    if part not in ("select", "report"):
        raise ExciseError(f"--part {part!r}: give select or report; `excise arena evaluate` uses the feedback rows")
    submission = Submission.read(file)
    sandbox = find_sandbox(unsafe_local=unsafe_local)
    _, private = _problem(concept, model, site, seed, budget, labels)
    with stderr.status("attacking"):
        found = score_submission(submission, private, cast(Part, part), sandbox=sandbox)
    path = write_score(out, submission, private, found)
    if json:
        print_json(found.to_json())
    else:
        _print_score(found)
        print(f"Record: {path.resolve()}")
    raise typer.Exit(found.verdict is not Verdict.OK)


def _problem(concept: str, model: str, site: str, seed: int, budget: float, labels: float) -> tuple[Public, Private]:
    with progress("reading activations") as step:
        return prepare_problem(
            find_concept(concept), model, Site.parse(site), seed, budget=budget, labels=labels, progress=step
        )


def _print_score(found: Score) -> None:
    """Verdict, and where it is sound each probe's accuracy beside those without edit and after LEACE."""
    if found.detail:
        print(found.detail)
    print(f"{found.verdict}: {found.verdict.advice}")
    if found.grade and found.leace and found.unerased:
        console.print(_table(found.grade, found.leace, found.unerased))
        print(f"Chance is {found.grade.chance:.3f}. Mean squared edit: {found.grade.budget.value:.2f} times LEACE's.")
    if not found.ranked:
        print(f"Not ranked: it ran in the sandbox {found.sandbox!r}, which does not hide the answers.")
    for note in found.notes:
        print(f"For review: {note}")


def _table(graded: Grade, leace: Grade, unerased: Grade) -> Table:
    table = Table(
        title=f"Fresh probes on {len(graded.z)} hidden rows of {graded.concept}",
        caption="±: half the 95% bootstrap interval. strongest: chosen on probe rows.",
        caption_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("probe")
    for column in ("unerased", "LEACE", "submission"):
        table.add_column(column, justify="right")
    for name in graded.correct:
        table.add_row(all_probes()[name].title, *(figure(g.accuracy(name)) for g in (unerased, leace, graded)))
    table.add_section()
    table.add_row("strongest", *(figure(g.worst_accuracy) for g in (unerased, leace, graded)))
    return table
