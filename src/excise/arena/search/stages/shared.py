"""What several stages compute. Rows are float64 [n, d], classes are 0 and 1, [n]."""

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float64]
Arrays = dict[str, Rows]


def leace_edit(x: Rows, z: Rows) -> tuple[Rows, Rows, Rows]:
    """LEACE: x -> x - ((x - mean) @ seen) gap, Thm 4.3, arXiv:2306.03819; covariance shrunk as in arXiv:1308.2608."""
    n, d = x.shape
    mean = x.mean(0)
    sigma = (x - mean).T @ (x - mean) / n
    size = np.trace(sigma) / d
    spread = np.square(sigma).sum() / d - size**2
    weight = min(1.0, np.trace(sigma) ** 2 / (n * d) / max(spread, 1e-300))
    gap = (x - mean).T @ (z - z.mean()) / n
    seen = np.linalg.solve((1 - weight) * sigma + (weight * size + 1e-12) * np.eye(d), gap)
    return mean, seen, gap / (gap @ seen)


def folds_of(z: Rows, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Number of the fold of each row, the classes spread evenly, [n]."""
    rng, fold = np.random.default_rng(seed), np.zeros(len(z), dtype=int)
    for c in (0, 1):
        rows = rng.permutation(np.flatnonzero(z == c))
        fold[rows] = np.arange(len(rows)) % count
    return fold


def axes_of(x: Rows, z: Rows, rank: int) -> Rows:
    """The direction between the class means and the first principal axes within classes: orthonormal [d, rank]."""
    gap = x[z == 1].mean(0) - x[z == 0].mean(0)
    within = np.concatenate([x[z == c] - x[z == c].mean(0) for c in (0, 1)])
    unit = gap / max(np.linalg.norm(gap), 1e-12)
    axes = np.linalg.svd(within - np.outer(within @ unit, unit), full_matrices=False)[2]
    rank = min(int(rank), len(axes), len(x) // 2)
    return np.column_stack([unit, axes[: rank - 1].T])


def sigmoid(t: Rows) -> Rows:
    """Logistic function; no overflow."""
    return 0.5 * (1 + np.tanh(t / 2))


def logistic(features: Rows, z: Rows, penalty: float) -> Rows:
    """Weights [r + 1] of a logistic regression with an intercept, by Newton's method; the penalty counts per row."""
    rows = np.column_stack([features, np.ones(len(features))])
    weights, ridge = np.zeros(rows.shape[1]), penalty * len(rows) * np.eye(rows.shape[1])
    ridge[-1, -1] = 1e-6
    for _ in range(25):
        p = sigmoid(rows @ weights)
        slope = rows.T @ (p - z) + ridge @ weights
        curve = (rows * (p * (1 - p))[:, None]).T @ rows + ridge
        weights = weights - np.linalg.solve(curve + 1e-9 * np.eye(len(curve)), slope)
    return weights


def router(x: Rows, z: Rows, penalty: float, seed: int) -> tuple[Rows, Rows, Rows]:
    """p(1 | row) = sigmoid(x @ weight + bias), and that of each row by models that had not seen it.

    Calibrated on such rows (Platt): a router calibrated on the rows that it fitted would be too sure of new ones.
    """
    mean, scale = x.mean(0), x.std(0) + 1e-6

    def fitted(rows: Rows, classes: Rows) -> tuple[Rows, Rows]:
        # Ridge solutions lie in the span of the rows, of which there are fewer than dimensions.
        axes = np.linalg.svd((rows - mean) / scale, full_matrices=False)[2].T
        weights = logistic((rows - mean) / scale @ axes / np.sqrt(rows.shape[1]), classes, penalty)
        weight = axes @ weights[:-1] / np.sqrt(rows.shape[1]) / scale
        return weight, weights[-1] - mean @ weight

    fold, score = folds_of(z, 5, seed), np.zeros(len(z))
    for k in range(5):
        weight, bias = fitted(x[fold != k], z[fold != k])
        score[fold == k] = x[fold == k] @ weight + bias
    slope, offset = logistic(score[:, None], z, 1e-4)
    weight, bias = fitted(x, z)
    return slope * weight, slope * bias + offset, sigmoid(slope * score + offset)
