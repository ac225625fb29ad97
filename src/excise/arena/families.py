"""Kinds of submissions: clusters of those that do alike, named from what they do and from how they are written."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import silhouette_score

from excise.arena.behaviour import Behaviour, mean_behaviour
from excise.arena.submission import Submission
from excise.types import ExciseError, write_atomically

MOST_FAMILIES = 12
NO_STRUCTURE = 0.25
"""Silhouette under which no clusters were found (Kaufman and Rousseeuw 1990, chapter 2)."""

# Last names of calls and attributes, and what they are for.
_CONSTRUCTIONS = {
    "linear solve": ("solve", "lstsq", "inv", "pinv", "cho_solve", "cholesky", "solve_triangular"),
    "spectrum": ("eigh", "eig", "svd", "eigvalsh", "sqrtm", "PCA", "qr"),
    "quantiles": ("quantile", "percentile", "interp", "searchsorted", "argsort", "sort", "interp1d", "rankdata"),
    "label readout": (
        "LogisticRegression", "RidgeClassifier", "Ridge", "LinearSVC", "SVC", "LinearDiscriminantAnalysis",
        "QuadraticDiscriminantAnalysis", "expit", "softmax", "sigmoid", "predict_proba", "RandomForestClassifier",
    ),
    "nearest": ("cdist", "KNeighborsClassifier", "NearestNeighbors", "cKDTree", "KDTree", "KMeans", "argmin"),
    "kernel": ("rbf_kernel", "RBFSampler", "Nystroem", "KernelRidge", "pairwise_kernels"),
    "training": ("backward", "Adam", "AdamW", "SGD", "LBFGS", "minimize"),
    "mixture": ("GaussianMixture", "BayesianGaussianMixture"),
    "matching": ("linear_sum_assignment", "emd", "sinkhorn"),
    "covariance": ("cov", "LedoitWolf", "OAS", "EmpiricalCovariance"),
}  # fmt: skip
_MEANING = {name: kind for kind, names in _CONSTRUCTIONS.items() for name in names}


@dataclass(frozen=True)
class Described:
    """What a submission does (averaged over the problems that it was looked at on) and what it is written with."""

    sha256: str
    author: str
    behaviour: Behaviour
    constructions: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """Submissions that do alike. Both names are proposals, made by rule.

    Attributes:
        by_behaviour: name from the mean behaviour; by_code: constructions of at least half of the members.
        members: the one nearest to the mean first.
        centre: mean behaviour.
    """

    by_behaviour: str
    by_code: str
    members: tuple[Described, ...]
    centre: Behaviour


@dataclass(frozen=True)
class Families:
    """The clustering.

    Attributes:
        families: the largest first.
        silhouette: for each number of families that was tried; the highest was taken. Without any of at least
            `NO_STRUCTURE` there is one family.
    """

    families: tuple[Family, ...]
    silhouette: dict[int, float]


def families(described: Sequence[Described]) -> Families:
    """Clusters submissions by behaviour alone: Ward's linkage on `Behaviour.vector`. (Average linkage calls the two
    outermost points of one shapeless cloud a cluster.)

    Neither the code nor any accuracy has a part in it.

    Source:
        silhouette: Rousseeuw 1987, J. Comput. Appl. Math. 20:53-65.
    """
    vectors = np.stack([one.behaviour.vector() for one in described])
    tried: dict[int, tuple[float, np.ndarray[tuple[int], np.dtype[np.int64]]]] = {}
    for k in range(2, min(MOST_FAMILIES, len(np.unique(vectors.round(9), axis=0)) - 1) + 1):
        labels = AgglomerativeClustering(k, linkage="ward").fit_predict(vectors)
        tried[k] = (float(silhouette_score(vectors, labels)), labels)
    best = max(tried, key=lambda k: tried[k][0], default=None)
    labels = np.zeros(len(described), dtype=np.int64)
    if best is not None and tried[best][0] >= NO_STRUCTURE:
        labels = tried[best][1]
    found = [_family([one for one, label in zip(described, labels, strict=True) if label == c]) for c in set(labels)]
    found.sort(key=lambda family: (-len(family.members), family.by_behaviour))
    return Families(tuple(found), {k: score for k, (score, _) in tried.items()})


def name_of(found: Behaviour) -> str:
    """A name by rule from the figures of one behaviour."""
    if found.rank < 0.5 or found.spent < 0.01:
        return "hardly any edit"
    directions = "one direction" if found.rank < 1.5 else f"{found.rank:.0f} directions"
    if found.affine >= 0.9:
        return f"affine, {directions}" + ("" if found.means >= 0.9 else ", means kept apart")
    if found.marginals >= 0.3:
        return "quantiles matched"
    if found.covariances >= 0.4:
        return "means and covariances matched"
    if found.affine <= 0.5 and found.shift >= 0.9:
        return f"classes shifted, {directions}"
    return f"nonlinear, {directions}"


def constructions(submission: Submission) -> tuple[str, ...]:
    """Kinds of library calls that the source makes, sorted; "arithmetic" where none is known. The source is only
    parsed."""
    used = Counter[str]()
    for node in ast.walk(ast.parse(submission.source)):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if name in _MEANING:
            used[_MEANING[name]] += 1
    return tuple(sorted(used)) or ("arithmetic",)


def described(submission: Submission, author: str, behaviours: Sequence[Behaviour]) -> Described:
    """A submission with its behaviour on each problem averaged."""

    return Described(submission.sha256, author, mean_behaviour(list(behaviours)), constructions(submission))


def write_families(folder: Path, found: Families) -> Path:
    """Keeps the clustering beside the records of a folder; a later one replaces it."""
    path = _path(folder)
    write_atomically(path, (json.dumps(asdict(found), indent=1) + "\n").encode())
    return path


def read_families(folder: Path) -> Families | None:
    """What `write_families` kept; None where nothing was.

    Raises:
        ExciseError: a file that is not one.
    """
    path = _path(folder)
    if not path.exists():
        return None
    try:
        read = json.loads(path.read_bytes())
        return Families(
            tuple(
                Family(
                    one["by_behaviour"],
                    one["by_code"],
                    tuple(
                        Described(m["sha256"], m["author"], Behaviour(**m["behaviour"]), tuple(m["constructions"]))
                        for m in one["members"]
                    ),
                    Behaviour(**one["centre"]),
                )
                for one in read["families"]
            ),
            {int(k): score for k, score in read["silhouette"].items()},
        )
    except (ValueError, KeyError, TypeError) as err:
        raise ExciseError(f"{path} is not a clustering: {err!r}; run `excise arena families` again") from err


def _path(folder: Path) -> Path:
    # Not among the records, every one of which is a score.
    return folder / "families" / "families.json"


def _family(members: Sequence[Described]) -> Family:
    centre = mean_behaviour([one.behaviour for one in members])
    near = sorted(members, key=lambda one: float(np.linalg.norm(one.behaviour.vector() - centre.vector())))
    counts = Counter(kind for one in members for kind in one.constructions)
    common = [kind for kind, n in counts.most_common() if 2 * n >= len(members)]
    return Family(name_of(centre), " + ".join(common) or "nothing in common", tuple(near), centre)
