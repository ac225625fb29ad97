"""How far can any eraser of this kind go? `python benchmarks/champion_bounds.py` prints what probes read on the starter
concepts after erasers, and after edits that know more than an eraser may: the true label of every row, or the class
means of the very rows that are attacked. `--file rows.jsonl ...` takes other texts (a line: text, label).

No eraser that moves classes by what it learnt from the same labels can expect to do better than the same move with true
labels: a router only adds mistakes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import Tensor

from excise.arena import dev_concepts
from excise.concepts import load_concept, read_jsonl
from excise.concepts.builtin import STARTERS
from excise.erasers import BudgetedTransport, GaussianTransport, Leace, MmdNetwork
from excise.erasers.gaussian_transport import transports
from excise.erasers.shrunk_moments import OtherTexts, shrunk_differences, shrunk_gaps, within_covariance
from excise.measures.edit import squared_edit
from excise.models import capture, language_model
from excise.probes import panel
from excise.stats.splits import rotations
from excise.types import ConceptData, Eraser, Site, TrainingRows

PROBES = panel("Linear,PolynomialSvm,RbfSvm,Forest")
ERASERS: dict[str, Eraser] = {e.title: e for e in (Leace(), GaussianTransport(), MmdNetwork(), BudgetedTransport())}
WITH = "  with a background"
ERASERS[WITH] = BudgetedTransport()
Parts = tuple[Tensor, Tensor, Tensor]
Knowing = Callable[[Tensor, Tensor, Tensor, Parts, Tensor], Tensor]
"""All rows x [n, d], their classes [n] and groups [n], rows (fit, probe, test), a background -> edited rows."""


def means_of(x: Tensor, z: Tensor) -> Tensor:
    return torch.stack([x[z == c].mean(dim=0) for c in (0, 1)])


def true_labels_fitted_means(x: Tensor, z: Tensor, groups: Tensor, parts: Parts, background: Tensor) -> Tensor:
    """Every row to the middle of the class means of the fit rows."""
    means = means_of(x[parts[0]], z[parts[0]])
    return x - means[z] + means.mean(dim=0)


def true_labels_shrunk_means(x: Tensor, z: Tensor, groups: Tensor, parts: Parts, background: Tensor) -> Tensor:
    """The same, by as much of the gap as `BudgetedTransport` trusts."""
    fit = parts[0]
    rows, classes = x[fit], z[fit]
    centred = rows - means_of(rows, classes)[classes]
    _, covariance = within_covariance(centred, OtherTexts.of(background))
    assert covariance is not None
    return x - shrunk_gaps(rows, centred, classes, groups[fit], covariance)[z]


def true_labels_fitted_covariances(x: Tensor, z: Tensor, groups: Tensor, parts: Parts, background: Tensor) -> Tensor:
    """The same, and transport of the class covariances as `BudgetedTransport` estimates them, at any price."""
    fit = parts[0]
    means = means_of(x[fit], z[fit])
    centred = x[fit] - means[z[fit]]
    _, sd, axes = torch.linalg.svd(centred, full_matrices=False)
    axes, variances = axes[:128].mT, sd[:128].square() / len(fit)
    covariances = torch.diag(variances) + shrunk_differences(centred @ axes, z[fit], groups[fit])
    values, vectors = torch.linalg.eigh(covariances)
    covariances = (vectors * values.clamp(min=0.05 * float(variances.min()))[:, None]) @ vectors.mT
    moves = transports(covariances, torch.bincount(z[fit]).to(x) / len(fit)) - torch.eye(len(variances)).to(x)
    rows = x - means[z]
    moved = torch.stack([rows @ axes @ move @ axes.mT for move in moves])
    return rows + means.mean(dim=0) + moved[z, torch.arange(len(x))]


def equal_means(x: Tensor, z: Tensor, groups: Tensor, parts: Parts, background: Tensor) -> Tensor:
    """Class means of the attacked rows themselves made equal: what more labels could bring at best."""
    out = x.clone()
    for rows in parts:
        own = means_of(x[rows], z[rows])
        out[rows] += own.mean(dim=0) - own[z[rows]]
    return out


KNOWING: dict[str, Knowing] = {
    "true labels, fitted means": true_labels_fitted_means,
    "  as far as they are known": true_labels_shrunk_means,
    "  and fitted covariances": true_labels_fitted_covariances,
    "means of the rows themselves": equal_means,
}


def read(data: ConceptData) -> dict[str, list[list[float]]]:
    """For each method and rotation: spend, accuracy of each probe, and of the strongest by cross-validation."""
    torch.set_num_threads(1)
    x, z, groups, found = data.x.double(), data.z, torch.from_numpy(data.groups), {}
    assert data.background is not None
    background = data.background.double()
    for turn, split in enumerate(rotations(z.numpy(), data.groups, 0)):
        fit, probe, test = parts = tuple(torch.from_numpy(rows) for rows in (split.fit, split.probe, split.test))
        unit = squared_edit(x[test], Leace().fit(x[fit], z[fit])(x[test])).mean()
        edited = {"no edit": x}
        for name, eraser in ERASERS.items():
            others = background if name == WITH else None
            erasure = eraser.fit(x[fit], z[fit], groups=groups[fit], background=others)
            with torch.no_grad():
                edited[name] = erasure(x)
        edited |= {name: method(x, z, groups, parts, background) for name, method in KNOWING.items()}
        for name, rows in edited.items():
            training = TrainingRows(rows[probe].numpy(), z[probe].numpy(), data.groups[split.probe], turn)
            fitted = [one.fit_on(training) for one in PROBES]
            right = [float((one.predict(rows[test].numpy()) == z[test].numpy()).mean()) for one in fitted]
            worst = right[int(np.argmax([one.cv_accuracy for one in fitted]))]
            spent = float(squared_edit(x[test], rows[test]).mean() / unit)
            found.setdefault(name, []).append([spent, *right, worst])
    return found


def asked(description: str | None) -> list[ConceptData]:
    """Activations of the texts that the command line names; the starter concepts without. Beside them, as a background,
    those of the concepts to develop on."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--file", type=Path, nargs="*", default=[])
    files = parser.parse_args().file
    concepts = [read_jsonl(path) for path in files] or [load_concept(name) for name in STARTERS]
    site, model = Site.parse("14:mean"), language_model("smollm2-135m-instruct")
    x = {name: capture(model, load_concept(name).texts, [site])[site].x for name in dev_concepts()}
    found = []
    for concept in concepts:
        rows = capture(model, list(concept.texts), [site])[site].x
        others = torch.cat([of_other for name, of_other in x.items() if name != concept.name])
        found.append(ConceptData.of(rows, concept.labels, concept.groups, concept.name, background=others))
    return found


def main() -> None:
    rows = asked(__doc__)
    found = Parallel(n_jobs=-1)(delayed(read)(data) for data in rows)
    print(f"{len(rows)} concepts, means over concepts and five rotations")
    print(f"{'':30}spent  {'  '.join(f'{p.title:>8}' for p in PROBES)}     worst")
    for name in found[0]:
        values = np.array([one[name] for one in found]).mean(axis=(0, 1))
        print(f"{name:30}{values[0]:5.2f}  {'  '.join(f'{v:8.3f}' for v in values[1:])}", flush=True)


if __name__ == "__main__":
    main()
