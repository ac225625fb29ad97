"""Failures as new problems: what could be asked next, why, and the command that asks it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from excise.arena.failures import Failures, failures
from excise.arena.problem import dev_concepts
from excise.arena.rollouts import ProblemResult
from excise.arena.totals import ArenaReport
from excise.concepts import builtin_concepts
from excise.models import DEFAULT_MODEL

_OTHER_MODEL = "gemma-3-270m"


@dataclass(frozen=True)
class Proposal:
    """A problem that could be posed next.

    Attributes:
        title: what is asked; measure: the figure that answers it.
        evidence: what the records say for it; count: on how many rollouts (or problems) that rests.
        command: poses the problem, or measures the answer for the best submission.
    """

    title: str
    measure: str
    evidence: str
    count: int
    command: str


def propose(report: ArenaReport) -> tuple[Proposal, ...]:
    """Proposals for which the records hold some evidence, those resting on most rollouts first."""
    found = failures(report)
    usual = [p for p in report.problems if "budget" not in p.origin and "labels" not in p.origin]
    posed = [p for p in usual if not p.held_out] or usual or list(report.problems)
    hardest = max(posed, key=_left)
    made = (
        _smaller_budget(report.problems, found, hardest),
        _fewer_labels(found, hardest),
        _unheard_probes(found, hardest),
        _three_classes(report.problems),
        _other_layer(report.problems, hardest),
        _other_model(report.problems, hardest),
    )
    return tuple(sorted((one for one in made if one), key=lambda one: -one.count))


def _smaller_budget(problems: Sequence[ProblemResult], found: Failures, hardest: ProblemResult) -> Proposal | None:
    if any("budget" in p.origin for p in problems):
        return None
    spent = [r.scores["report"].spent or 0.0 for p in problems for r in p.rollouts if r.sound("report")]
    over = len(found.over_budget)
    if not spent and not over:
        return None
    said = [
        f"{over} of {found.rollouts} rollouts broke the budget, by up to {found.over_budget[-1]:.2f} times"
        if over
        else ""
    ]
    if spent:
        said.append(f"{len(spent)} sound ones spent {sum(spent) / len(spent):.2f} of it on average")
    return Proposal(
        title="Half of LEACE's edit",
        measure="share of the way from LEACE to chance at 0.5 LEACE edits",
        evidence="; ".join(filter(None, said)),
        count=over + len(spent),
        command=_prepare(hardest, "--budget", "0.5"),
    )


def _fewer_labels(found: Failures, hardest: ProblemResult) -> Proposal | None:
    if not found.compared or isnan(found.overfit.value) or found.overfit.value <= 0:
        return None
    return Proposal(
        title="Half the labels",
        measure="rise of the strongest probe's accuracy from all labels to half of them, less LEACE's rise",
        evidence=f"from feedback to report rows accuracy rose {found.overfit.value:.3f} more than LEACE's "
        f"(95% {found.overfit.low:+.3f} to {found.overfit.high:+.3f}): methods fit the sample they see",
        count=found.compared,
        command=_prepare(hardest, "--labels", "0.5"),
    )


def _unheard_probes(found: Failures, hardest: ProblemResult) -> Proposal | None:
    if not found.held_out_reads_more or hardest.best is None:
        return None
    name = f"Adopted{hardest.best.sha256[:8]}"
    return Proposal(
        title="Probes that nobody hears of",
        measure="accuracy of every probe family after the best submission, the strongest counting",
        evidence=f"the families held out of feedback read {found.held_out_reads_more} of {found.reported} sound "
        f"rollouts clearly better than the others did, {found.held_out_gap:.3f} on average over all",
        count=found.held_out_reads_more,
        command=f"excise arena adopt {hardest.best.sha256[:12]} && "
        f"excise bench --concepts {_concept(hardest)} --erasers {name} --panel full",
    )


def _three_classes(problems: Sequence[ProblemResult]) -> Proposal | None:
    known = [grade.n_classes for p in problems if (grade := p.leace)]
    if not known or max(known) > 2:
        return None
    return Proposal(
        title="Three classes",
        measure="share of the way from LEACE to chance, 1/3 for even classes",
        evidence=f"all {len(known)} attacked problems had two classes",
        count=len(known),
        command='excise arena prepare three.jsonl task  # rows {"text", "label", "group"} of three labels',
    )


def _other_layer(problems: Sequence[ProblemResult], hardest: ProblemResult) -> Proposal | None:
    sites = {p.origin.get("site", "") for p in problems}
    block, _, pooling = hardest.origin.get("site", "").partition(":")
    if len(sites) != 1 or not block.isdigit() or int(block) < 2:
        return None
    return Proposal(
        title="Another layer",
        measure="share of the way from LEACE to chance there, by the submissions as they are",
        evidence=f"all {len(problems)} problems were read at {block}:{pooling}",
        count=len(problems),
        command=_prepare(hardest, site=f"{int(block) // 2}:{pooling}"),
    )


def _other_model(problems: Sequence[ProblemResult], hardest: ProblemResult) -> Proposal | None:
    models = {p.origin.get("model", "") for p in problems}
    if len(models) != 1:
        return None
    accept = models != {_OTHER_MODEL}
    other = _OTHER_MODEL if accept else DEFAULT_MODEL
    return Proposal(
        title="Another model",
        measure="share of the way from LEACE to chance there, by the submissions as they are",
        evidence=f"all {len(problems)} problems were read in {models.pop() or 'one model'}",
        count=len(problems),
        command=_prepare(hardest, model=other)
        + (f"  # once before, its terms: excise bench --model {other} --erasers none --accept-terms" if accept else ""),
    )


def _left(problem: ProblemResult) -> float:
    """What is still read above chance after the best, or nothing where that is not known."""
    graded = problem.reported
    return -1.0 if graded is None else graded.worst_accuracy.value - graded.chance


def _concept(problem: ProblemResult) -> str:
    """As a command takes it; a concept that nothing may be searched on is never proposed."""
    if problem.held_out:
        return dev_concepts()[0]
    return problem.concept if problem.concept in builtin_concepts() else shlex.quote(f"{problem.concept}.jsonl")


def _prepare(problem: ProblemResult, *terms: str, model: str = "", site: str = "") -> str:
    model, site = model or problem.origin.get("model", ""), site or problem.origin.get("site", "")
    where = [*(("--model", model) if model else ()), *(("--site", site) if site else ())]
    options = shlex.join([*where, "--seed", str(problem.seed), *terms])
    return f"excise arena prepare {_concept(problem)} task {options}"
