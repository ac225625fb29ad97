"""The table of docs/concepts.md: what gives each concept away, and how well the default model carries it.

    for site in 8 14 20; do excise bench --concepts all --erasers none --site $site:mean --out results; done
    python benchmarks/concept_table.py results

Rewrites the table in docs/concepts.md, between its two markers.
"""

from __future__ import annotations

import sys
from pathlib import Path

from excise.bench.records import by_place, read_records
from excise.concepts import builtin_concepts, load_concept
from excise.concepts.check import check_concept

PAGE = Path(__file__).parents[1] / "docs" / "concepts.md"
START, END = "<!-- table: made by benchmarks/concept_table.py -->", "<!-- end of table -->"


def main() -> None:
    accuracy: dict[str, dict[str, float]] = {}
    for place, grades in by_place(read_records(Path(sys.argv[1]) / "records")).items():
        site = place.rsplit(", ", 1)[1].removesuffix(":mean")
        for grade in grades:
            if grade.eraser == "NoEdit":
                accuracy.setdefault(grade.concept, {})[site] = grade.accuracy("RbfSvm").value
    sites = sorted({site for figures in accuracy.values() for site in figures}, key=int)
    heads = ["concept", "blind agreement", "length", "last mark", "words", *(f"SVM, block {site}" for site in sites)]
    lines = [heads, ["---"] * len(heads)]
    for name in builtin_concepts():
        concept = load_concept(name)
        found = check_concept(concept)
        agreement = concept.card.first_agreement if concept.card else None
        lines.append(
            [
                name + (" *" if concept.card and concept.card.lexical else ""),
                f"{agreement:.3f}" if agreement is not None else "",
                *(f"{v:.2f}" for v in (found.length_auc, found.punctuation_auc, found.words_auc)),
                *(f"{accuracy.get(name, {}).get(site, float('nan')):.3f}" for site in sites),
            ]
        )
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    best = {name: max(figures.values()) for name, figures in accuracy.items()}
    low = sorted(name for name, value in best.items() if value < 0.9)
    summary = (
        f"{sum(v >= 0.9 for v in best.values())} of {len(best)} concepts reach 0.90 at the best of {len(sites)} blocks"
    )
    summary += f"; under it: {', '.join(f'{name} {best[name]:.3f}' for name in low)}." if low else "."
    text = PAGE.read_text()
    before, rest = text.split(START)
    PAGE.write_text(f"{before}{START}\n{table}\n\n{summary}\n{END}{rest.split(END)[1]}")
    print(summary)


if __name__ == "__main__":
    main()
