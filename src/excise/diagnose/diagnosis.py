"""Why is it not gone, and what would help?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from excise.diagnose.curve import LearningCurve, learning_curve
from excise.diagnose.ladder import Ladder, ladder
from excise.diagnose.slack import Slack, slack
from excise.types import ConceptData, Eraser, Oracle, Probe

MORE_LABELS = 300
"""How many more labels the verdict asks about."""


@dataclass(frozen=True)
class Diagnosis:
    """The ladder of causes, what labels would bring, what the budget allows, and the answer in words.

    Attributes:
        curve: None for an oracle, which is not fitted on labels alone.
        slack: None with more than two classes.
        verdict: one sentence or two.
    """

    ladder: Ladder
    curve: LearningCurve | None
    slack: Slack | None
    verdict: str


def diagnose(
    eraser: Eraser | Oracle, data: ConceptData, *, probes: Sequence[Probe] | None = None, seed: int = 0
) -> Diagnosis:
    """Runs the ladder, the learning curve and the slack of the budget for one eraser on one concept.

    Args:
        eraser: settings; fitted anew for every part.
        data: one concept at one site.
        probes: the panel of the ladder; default `ladder.DEFAULT_PROBES`.
        seed: of splits, copies and probes.

    Raises:
        ExciseError: as `excise.bench.grade`.
    """
    steps = ladder(eraser, data, probes=probes, seed=seed)
    curve = None if isinstance(eraser, Oracle) else learning_curve(eraser, data, seed=seed)
    cost = slack(data, seed) if len(data.classes) == 2 else None
    return Diagnosis(steps, curve, cost, verdict(steps, curve, cost))


_SAYS = {
    "written in": "the eraser itself writes labels into its output: it leaves as much of labels that were shuffled",
    "means": "class means that differ on rows it was not fitted on",
    "covariances": "class covariances",
    "higher moments": "moments above the second, which polynomial probes read",
    "support": "clusters or shapes that no polynomial probe reads",
}


def verdict(steps: Ladder, curve: LearningCurve | None, cost: Slack | None) -> str:
    """What is left, why, and what would help most."""
    read = f"{steps.erased.value:.3f} after erasure (chance {steps.chance:.3f}, unerased {steps.unerased.value:.3f})"
    if not steps.readable:
        return f"The panel reads nothing that it could be sure of: {read}."
    cause = steps.main_cause
    said = [f"The panel reads {read}; {steps.share(cause):.0%} of the excess comes from {_SAYS[cause]}."]
    if curve is not None and cause != "written in":
        more = curve.n_fit[-1] + MORE_LABELS
        gain = curve.accuracy[-1].value - curve.at(more)
        said.append(f"With class means made equal on these very rows it would still read {steps.mean_free.value:.3f}.")
        # A method that used these labels perfectly would still leave the error of the means.
        method = sum(max(steps.excess[part].value, 0.0) for part in ("covariances", "higher moments", "support"))
        if curve.rate.low > 0 and gain > method:
            said.append(f"{MORE_LABELS} more labels would help more than a better method: about {curve.at(more):.3f}.")
        elif method > gain:
            said.append(
                f"A method that moves more than means could gain up to {method:.3f}; {MORE_LABELS} more labels "
                f"{max(gain, 0):.3f}."
            )
    if cost is not None and cost.budgets > 1:
        said.append(
            f"At LEACE's budget full erasure is out of reach for any map: it needs about {cost.budgets:.1f} times that."
        )
    return " ".join(said)
