"""The agents' study's figures, read again: what choosing the best of 11 on the rows that report did to them.

    python benchmarks/study.py

Reads benchmarks/data/agents_study.csv: the published accuracies of "Discovering Concept-Editing Algorithms With LLM
Agents" (2026), 50 concepts, on 80 test rows each; `best` is the rollout with the lowest SVM accuracy. Five seconds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from excise.stats.bootstrap import interval, resampled_means
from excise.stats.selection import expected_best, standard_error, unflattered

FIGURES = Path(__file__).parent / "data" / "agents_study.csv"
ROWS, TRIES, CHANCE = 80, 11, 0.5
Values = npt.NDArray[np.float64]
Study = dict[str, Values]


def mean(values: Values) -> str:
    """Mean over concepts, in percent, with the interval of resampled concepts."""
    found = interval(values.mean(), resampled_means(values, np.arange(len(values))))
    return f"{100 * found.value:5.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def way(leace: Values, best: Values) -> str:
    """How much of the way from LEACE to chance the mean goes, with the interval of resampled concepts."""
    draws = resampled_means(np.stack([leace, best]), np.arange(len(leace)))
    share = interval(
        (leace.mean() - best.mean()) / (leace.mean() - CHANCE), (draws[0] - draws[1]) / (draws[0] - CHANCE)
    )
    return f"{share.value:4.0%} [{share.low:.0%}, {share.high:.0%}]"


def outcome(leace: Values, best: Values, fixed: Values) -> str:
    return f"{mean(fixed)}, {100 * (fixed - best).mean():3.1f} higher; way to chance {way(leace, fixed)}"


def corrected(best: Values, tau: float = 0.0, correlation: float = 0.0, carried: float = 1.0) -> Values:
    return np.array(
        [unflattered(b, ROWS, TRIES, tau=tau, correlation=correlation, carried=carried) for b in best.tolist()]
    )


def least_correlation(study: Study, when: str) -> str:
    """A lower bound on the correlation of the two adversaries' errors.

    The spread of (SVM - forest) over concepts holds true differences and both errors; were the errors independent, it
    could not be smaller than theirs. So what it falls short of that is shared error.
    """
    first, second = (study[f"{probe}_{when}"] for probe in ("svm", "forest"))

    def bound(at: npt.NDArray[np.int64]) -> float:
        a, b = (float(np.mean(v[at] * (1 - v[at]) / (ROWS - 1))) for v in (first, second))
        return float((a + b - np.var(first[at] - second[at], ddof=1)) / (2 * np.sqrt(a * b)))

    rng, n = np.random.default_rng(0), len(first)
    low = np.quantile([bound(rng.integers(n, size=n)) for _ in range(2000)], 0.025)
    return f"{bound(np.arange(n)):5.2f} (95% of resampled concepts: over {low:.2f})"


def lowest(true: float) -> tuple[float, float]:
    """Mean and 5% quantile of the lowest of TRIES binomial accuracies, exactly."""
    all_above = binom.sf(np.arange(ROWS), ROWS, true) ** TRIES  # P(every try names more than k rows), k = 0 .. ROWS - 1
    return float(all_above.sum() / ROWS), float(np.argmax(1 - all_above >= 0.05) / ROWS)


def main() -> None:
    table = np.genfromtxt(FIGURES, delimiter=",", names=True, dtype=None, encoding="utf-8")
    study = {name: table[name] for name in table.dtype.names[1:]}
    print(f"1. As published: mean accuracy of {len(table)} concepts, %, [95% interval of resampled concepts]")
    for probe in ("svm", "forest"):
        parts = [f"{when} {mean(study[f'{probe}_{when}'])}" for when in ("unerased", "leace", "best")]
        print(f"   {probe:6} {'   '.join(parts)}   way to chance {way(*_pair(study, probe))}")

    print(f"\n2. The best of {TRIES} equal tries on {ROWS} rows")
    se, best_of = 100 * standard_error(float(study["svm_best"].mean()), ROWS), expected_best(TRIES)
    print(f"   {best_of:.3f} standard errors of {se:.1f} points = {best_of * se:.1f}, at the winners' accuracy")
    mean_low, rare = lowest(0.78)
    print(f"   {TRIES} equal erasers, true accuracy 78.0: the lowest reads {100 * mean_low:.1f} on average,")
    print(f"   and {100 * rare:.1f} or less in one concept of twenty")

    print("\n3. SVM, on which the rollouts were chosen, corrected")
    print("   tau: spread of the rollouts' true accuracies; corr.: of two rollouts' errors on the same rows")
    leace, best = _pair(study, "svm")
    for tau, correlation in ((0.0, 0.0), (0.0, 0.5), (0.05, 0.0), (0.05, 0.5), (0.1, 0.0), (0.1, 0.5)):
        fixed = corrected(best, tau, correlation)
        print(f"   tau {100 * tau:4.0f} points, corr. {correlation:.1f}: {outcome(leace, best, fixed)}")

    print("\n4. Forest, which did not choose: flattered by as much as its errors go with the SVM's (rollouts equal)")
    leace, best = _pair(study, "forest")
    for carried in (0.0, 0.25, 0.5, 0.75, 1.0):
        fixed = corrected(best, carried=carried)
        print(f"   correlation {carried:.2f}: {outcome(leace, best, fixed)}")
    print("   The correlation, from the spread of SVM - forest over concepts, is at least")
    for when in ("unerased", "leace", "best"):
        print(f"   {when:9} {least_correlation(study, when)}")

    print("\n5. SVM - forest, points: the sign turns between what was not chosen on the SVM and what was")
    for when in ("unerased", "leace", "best"):
        print(f"   {when:9} {mean(study[f'svm_{when}'] - study[f'forest_{when}'])}")
    print("\n6. Not to be known from these figures: what the other rollouts read, hence tau; how two rollouts' errors")
    print("   go together; whether the 80 rows come in pairs; what the winners read on rows that did not choose them")


def _pair(study: Study, probe: str) -> tuple[Values, Values]:
    return study[f"{probe}_leace"], study[f"{probe}_best"]


if __name__ == "__main__":
    main()
