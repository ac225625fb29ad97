"""`excise concepts`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from excise.cli.show import Json, console, print_json
from excise.concepts import builtin_concepts, load_concept
from excise.concepts.builtin import read_card


def concepts(
    name: Annotated[str, typer.Argument(help="Show one concept's card and a few of its pairs.")] = "",
    json: Json = False,
) -> None:
    """List the built-in concepts, or show one."""
    if name:
        concept = load_concept(name)
        card = asdict(read_card(name))
        examples = [{"text": concept.texts[i], "label": concept.labels[i]} for i in range(0, min(6, len(concept)))]
        if json:
            print_json({"name": name, "rows": len(concept), "card": card, "examples": examples})
            return
        console.print(f"[bold]{name}[/], {len(concept)} rows in {len(set(concept.groups))} pairs\n{card['definition']}")
        for title, items in card.items():
            if isinstance(items, tuple) and items:
                console.print(f"[bold]{title.replace('_', ' ')}[/]: {'; '.join(items)}", highlight=False)
        for example in examples:
            console.print(f"  {example['label']}  {example['text']}", highlight=False, markup=False)
        return
    cards = {each: read_card(each) for each in builtin_concepts()}
    if json:
        print_json({each: asdict(card) for each, card in cards.items()})
        return
    table = Table("concept", "a positive text")
    for each in cards:
        table.add_row(each, cards[each].definition)
    console.print(table)
