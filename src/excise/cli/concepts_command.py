"""`excise concepts`: list, show, check."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from excise.cli.show import Json, console, print_json, progress
from excise.cli.texts import find_concept
from excise.concepts import builtin_concepts, load_concept
from excise.concepts.builtin import read_card
from excise.concepts.check import Shortcuts, check_concept

concepts = typer.Typer(
    invoke_without_command=True, help="List the built-in concepts, show one, or check concept files."
)

_EXAMPLE_ROWS = 6


@concepts.callback()
def list_concepts(context: typer.Context, json: Json = False) -> None:
    """List the built-in concepts, show one, or check concept files."""
    if context.invoked_subcommand:
        return
    cards = {name: read_card(name) for name in builtin_concepts()}
    if json:
        print_json({name: asdict(card) for name, card in cards.items()})
        return
    table = Table("concept", "a positive text")
    for name, card in cards.items():
        table.add_row(name, card.definition)
    console.print(table)


@concepts.command()
def show(name: Annotated[str, typer.Argument(help="A built-in concept.")], json: Json = False) -> None:
    """Show a concept's card and a few of its pairs."""
    concept = load_concept(name)
    card = asdict(read_card(name))
    examples = [{"text": concept.texts[i], "label": concept.labels[i]} for i in range(min(_EXAMPLE_ROWS, len(concept)))]
    if json:
        print_json({"name": name, "rows": len(concept), "card": card, "examples": examples})
        return
    console.print(f"[bold]{name}[/], {len(concept)} rows in {len(set(concept.groups))} pairs\n{card['definition']}")
    for title, items in card.items():
        if isinstance(items, tuple) and items:
            console.print(f"[bold]{title.replace('_', ' ')}[/]: {'; '.join(items)}", highlight=False)
    measured = [f"{key.replace('_', ' ')} {value}" for key, value in card.items() if isinstance(value, float)]
    console.print(f"[bold]measured[/]: {', '.join(measured)}", highlight=False)
    for example in examples:
        console.print(f"  {example['label']}  {example['text']}", highlight=False, markup=False)


@concepts.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Concepts or .jsonl files of pairs; default: all built-in.")
    ] = None,
    json: Json = False,
) -> None:
    """Measure the shortcuts a lazy probe could take; exit code 1 if a limit is broken.

    AUC 0.5 means that the shortcut says nothing about the label.
    """
    results: list[Shortcuts] = []
    chosen = names or builtin_concepts()
    with progress("checking") as step:
        for done, name in enumerate(chosen, 1):
            results.append(check_concept(find_concept(name)))
            step(done, len(chosen))
    if json:
        print_json([asdict(result) for result in results])
    else:
        table = Table("concept", title="Shortcuts: AUC of the label from...")
        for column in ("pairs", "topics", "length", "last mark", "single words", "commonest opening"):
            table.add_column(column, justify="right")
        for r in results:
            figures = (f"{r.length_auc:.2f}", f"{r.punctuation_auc:.2f}", f"{r.words_auc:.2f}", f"{r.opening:.1%}")
            table.add_row(r.name, str(r.pairs), str(r.topics), *figures)
        console.print(table)
        for r in results:
            for problem in r.problems:
                console.print(f"{r.name}: {problem}", highlight=False, markup=False)
    if any(r.problems for r in results):
        raise typer.Exit(1)
