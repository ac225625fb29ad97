"""Speed and memory of erasers, as ratios in one run: `python benchmarks/erasers.py` prints two tables and writes
docs/eraser-cost.csv and docs/leace-speed.txt, which `python benchmarks/eraser_page.py` puts into docs/erasers.md.

LEACE is measured against one bare matrix product X'X of the same rows and against concept-erasure (extra [dev]); its
map against one pass over the memory (a copy). Every eraser is then fitted with its defaults on 300 rows of a built-in
concept at block 14 of the default model, each in a process of its own so that its peak memory is its own.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from excise.concepts import load_concept
from excise.erasers import BudgetedTransport, Leace, all_erasers
from excise.models import capture, language_model
from excise.types import ConceptData, Site

ROOT = Path(__file__).parents[1]
ROWS, CONCEPT, SITE = 300, "politeness", "14:mean"


def best(run: Callable[[], object], times: int = 3) -> float:
    """Seconds of the fastest of some runs, after one that is not counted."""
    run()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


def leace(n: int, d: int, dtype: torch.dtype) -> str:
    """One line: LEACE's fit against a bare product and against the reference library."""
    from concept_erasure import LeaceEraser

    x = torch.randn(n, d, generator=torch.Generator().manual_seed(0)).to(dtype)
    z = torch.arange(n) % 2
    x[z == 1, :8] += 0.5
    bare = best(lambda: x.T @ x)
    ours = best(lambda: Leace().fit(x, z))
    theirs = best(lambda: LeaceEraser.fit(x, z.to(dtype)), times=1)
    return (
        f"LEACE fit, n={n} d={d} {str(dtype)[6:]}: {ours / bare:.2f} bare products ({ours:.2f} s); "
        f"concept-erasure {theirs / bare:.1f} bare products, {theirs / ours:.1f} times ours"
    )


def apply() -> str:
    """One line: LEACE's map against a copy of the rows, which reads and writes them once."""
    x = torch.randn(1_000_000, 576, generator=torch.Generator().manual_seed(0))
    erasure = Leace().fit(x[:2000], torch.arange(2000) % 2)
    with torch.inference_mode():
        copy, ours = best(lambda: x.clone(), 5), best(lambda: erasure(x), 5)
    return f"LEACE map, 10^6 x 576 float32: {ours / copy:.2f} copies of the rows ({ours:.2f} s)"


def transport() -> str:
    """One line: budgeted transport's map against LEACE's, on rows that stream through the memory and on few."""
    rows, z = activations().values()
    leace, budgeted = Leace().fit(rows, z), BudgetedTransport().fit(rows, z)
    ratios = []
    for times in (300, 10):
        x = rows.repeat(times, 1)
        with torch.inference_mode():
            ratios.append(best(lambda: budgeted(x), 20) / best(lambda: leace(x), 20))  # noqa: B023
    return "budgeted transport's map: {:.2f} LEACE maps on 90,000 rows, {:.2f} on 3,000".format(*ratios)


def ratios() -> None:
    """Lines on LEACE and on the champion, printed and kept in docs/leace-speed.txt."""
    lines = [f"{torch.get_num_threads()} threads"]
    sizes = [(n, d, dtype) for n, d in ((20_000, 2048), (8_000, 4096)) for dtype in (torch.float32, torch.float64)]
    for line in (*(leace(*size) for size in sizes), apply(), transport()):
        print(line, flush=True)
        lines.append(line)
    (ROOT / "docs" / "leace-speed.txt").write_text("\n".join(lines) + "\n")


def activations() -> dict[str, Tensor]:
    """300 rows of one concept, pairs kept whole."""
    concept, site = load_concept(CONCEPT), Site.parse(SITE)
    x = capture(language_model(), concept.texts, [site])[site].x
    return {"x": x[:ROWS], "z": ConceptData.of(x, concept.labels, concept.groups).z[:ROWS]}


def peak_mb() -> float:
    """Most memory that this process has held since it began, or since 5 was written to its clear_refs (Linux).
    `getrusage` will not do: its figure starts from the parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def one(name: str, rows: Path) -> None:
    """In a process of its own: prints fit time, peak memory over what was there before, and time per applied row."""
    tensors = load_file(rows)
    x, z = tensors["x"], tensors["z"]
    # Libraries that load on first use are not the method's.
    all_erasers()["Leace"]().fit(x, z)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    many = x.repeat(10, 1)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_mb()
    start = time.perf_counter()
    erasure = all_erasers()[name]().fit(x, z)
    fit = time.perf_counter() - start
    peak = peak_mb() - before
    with torch.inference_mode():
        row = best(lambda: erasure(many)) / len(many)
        reference = best(lambda: Leace().fit(x, z)(many)) / len(many)
    print(json.dumps({"eraser": name, "fit_s": fit, "peak_mb": peak, "row_us": row * 1e6, "leace_us": reference * 1e6}))


def every() -> None:
    """The table of all erasers."""
    rows = []
    print(f"\n{'eraser':<20}{'fit, s':>9}{'peak, MB':>10}{'a row, µs':>11}")
    with TemporaryDirectory() as folder:
        # Captured here: the model's memory would hide the erasers'.
        save_file(activations(), file := Path(folder) / "rows.safetensors")
        for name in all_erasers():
            done = subprocess.run([sys.executable, __file__, name, file], capture_output=True, text=True, check=True)
            row = json.loads(done.stdout.splitlines()[-1])
            rows.append({key: row[key] if key == "eraser" else round(row[key], 3) for key in row if key != "leace_us"})
            print(f"{name:<20}{row['fit_s']:>9.2f}{row['peak_mb']:>10.0f}{row['row_us']:>11.2f}", flush=True)
    with (ROOT / "docs" / "eraser-cost.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        one(sys.argv[1], Path(sys.argv[2]))
    else:
        ratios()
        every()
