"""A sound submission gets the figures it deserves; every other gets its code, and every trick is seen."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from excise.arena import Evaluator, Private, Score, Submission, Verdict, prepare_rows, score
from excise.arena.erased import check_edit
from excise.arena.records import read_scores, write_score
from excise.arena.sandbox import Completed, Limits, Sandbox, SandboxError, find_sandbox
from excise.arena.sandbox.local import LocalSandbox
from excise.arena.score import Baselines, Feedback, adversaries
from excise.arena.submitted import LIMITS, Program, SubmittedEraser
from excise.arena.verdict import Refused
from excise.bench import grade
from excise.measures.edit import squared_edit
from excise.probes import Linear
from excise.types import ConceptData, ExciseError
from tests.arena import sources
from tests.arena.test_problem import PARTS

PANEL = (Linear(),)
SHORT = dataclasses.replace(LIMITS, seconds=20, memory=2 << 30)


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    try:
        return find_sandbox()
    except SandboxError as err:
        pytest.skip(str(err))


@pytest.fixture(scope="module")
def private(pairs: ConceptData) -> Private:
    return prepare_rows(pairs, ["a text"] * len(pairs), {"model": "tiny"}, 0)[1]


@pytest.fixture(scope="module")
def baselines(private: Private) -> Baselines:
    return Baselines.of(private, "feedback", PANEL)


@pytest.fixture(scope="module")
def scored(private: Private, sandbox: Sandbox, baselines: Baselines) -> Any:
    def on_feedback(source: str, limits: Limits = SHORT, inside: Sandbox = sandbox) -> Score:
        submission = Submission(source.encode())
        return score(submission, private, "feedback", sandbox=inside, limits=limits, baselines=baselines)

    return on_feedback


@pytest.fixture(scope="module")
def sound(scored: Any) -> Score:
    return scored(sources.SOUND)


def naive_accuracy(source: str, private: Private) -> float:
    """What a first grader would do: import the file, one call for probe rows, one for test rows, plain accuracy."""
    module: dict[str, Any] = {}
    exec(source, module)
    x, z = private.data.x.numpy(), private.data.z.numpy()
    fit, probe, test = (private.parts[name] for name in ("fit", "select", "report"))
    arrays = module["fit"](x[fit], z[fit], 1.0, 0)
    trained, tested = module["transform"](arrays, x[probe]), module["transform"](arrays, x[test])
    return float(np.mean(SVC().fit(trained, z[probe]).predict(tested) == z[test]))


def test_leace_from_a_stranger_scores_as_ours(sound: Score, baselines: Baselines) -> None:
    assert sound.verdict is Verdict.OK, sound.detail
    assert sound.grade is not None
    assert sound.spent == pytest.approx(1, abs=1e-5)
    assert np.allclose(sound.grade.edit, baselines.leace.edit, rtol=1e-3, atol=1e-5)
    assert np.array_equal(sound.grade.correct["Linear"], baselines.leace.correct["Linear"])
    assert sound.grade.accuracy("Linear").value < baselines.unerased.accuracy("Linear").value
    assert sound.grade.settings == {"sha256": Submission(sources.SOUND.encode()).sha256}
    assert not sound.grade.flags
    assert sound.ranked
    assert not sound.notes


def test_select_and_report_are_fitted_on_other_rows(private: Private, sandbox: Sandbox, sound: Score) -> None:
    found = score(Submission(sources.SOUND.encode()), private, "report", sandbox=sandbox, probes=PANEL)
    assert found.grade is not None
    assert found.grade.n_fit == len(private.parts["fit"])
    assert len(found.grade.z) == len(private.parts["report"])
    assert sound.grade is not None
    assert not np.allclose(found.grade.edit.mean(), sound.grade.edit.mean())


def test_the_report_alone_has_the_held_out_probes() -> None:
    attacked = {part: {type(probe).__name__ for probe in adversaries(part)} for part in PARTS}
    assert attacked["report"] - attacked["select"] == {"Forest", "ExtraTrees"}
    assert attacked["select"] == attacked["feedback"]


def test_the_benchmark_grades_a_submission_like_any_eraser(private: Private, sandbox: Sandbox, sound: Score) -> None:
    eraser = SubmittedEraser(Program(Submission(sources.SOUND.encode()), sandbox), private.seed)
    first = private.splits("feedback")[:1]
    graded = grade(eraser, private.data, probes=PANEL, seed=private.seed, splits=first)
    assert not graded.flags
    assert sound.grade is not None
    tested = sound.grade.rotation == 0
    assert np.array_equal(graded.correct["Linear"], sound.grade.correct["Linear"][tested])
    assert np.allclose(graded.edit, sound.grade.edit[tested], rtol=1e-4)


HUGE = "np.ones(10 << 30, dtype=np.uint8)"


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("def fit(:", Verdict.SYNTAX_ERROR),
        ("#" * 2_000_000, Verdict.TOO_LARGE),
        ("fit = transform = 1", Verdict.MISSING_FUNCTION),
        (sources.source(fit="while True: pass"), Verdict.TIMEOUT),
        (sources.source(fit=f"return {{'a': {HUGE}}}"), Verdict.OUT_OF_MEMORY),
        (sources.source(fit="return {'a': np.ones(70 << 20, dtype=np.uint8)}"), Verdict.BAD_STATE),
        (sources.source(fit="return [1]"), Verdict.BAD_STATE),
        (sources.source(fit="return {'a': fit}"), Verdict.BAD_STATE),
        (sources.source(fit="return {'a': np.array(['text'])}"), Verdict.BAD_STATE),
        (sources.source(fit="raise SystemExit(0)"), Verdict.FIT_RAISED),
        (sources.source(fit="import os; os._exit(0)"), Verdict.BAD_STATE),
        (sources.source(fit="import os; os.kill(os.getpid(), 11)"), Verdict.KILLED),
        (sources.source(fit="return 1 / 0"), Verdict.FIT_RAISED),
        (sources.FORGER, Verdict.BAD_STATE),
        (sources.NOISE_IN_FIT, Verdict.NOT_DETERMINISTIC),
        (sources.source(transform="return x[:, :2]"), Verdict.BAD_SHAPE),
        (sources.source(transform="return x[0]"), Verdict.BAD_SHAPE),
        (sources.source(transform="return x.astype(int)"), Verdict.BAD_DTYPE),
        (sources.source(transform="return None"), Verdict.BAD_DTYPE),
        (sources.source(transform="return x * np.nan"), Verdict.NOT_FINITE),
        (sources.source(transform="return x.astype(float) * 1e300"), Verdict.NOT_FINITE),
        (sources.source(transform="return 1 / 0"), Verdict.TRANSFORM_RAISED),
    ],
)
def test_bad_input_has_its_code(scored: Any, source: str, verdict: Verdict) -> None:
    found = scored(source, dataclasses.replace(SHORT, seconds=1 if "while" in source else 20))
    assert found.verdict is verdict, found.detail
    assert found.grade is None
    assert found.detail


def test_too_much_output(scored: Any) -> None:
    found = scored(sources.IDENTITY, dataclasses.replace(SHORT, output=10))
    assert found.verdict is Verdict.OUTPUT_TOO_LARGE


@pytest.mark.parametrize("dtype", ["np.float16", "np.float64"])
def test_other_floating_types_are_taken(scored: Any, dtype: str) -> None:
    found = scored(sources.source(transform=f"return x.astype({dtype})"))
    assert found.verdict is Verdict.OK, found.detail


def test_prints_do_not_disturb(scored: Any) -> None:
    noisy = "import os; print('hello'); os.write(1, b'raw'); return {}"
    assert scored(sources.source(fit=noisy, transform="print(1); return x")).verdict is Verdict.OK


def test_the_traceback_is_of_the_authors_file(scored: Any) -> None:
    detail = scored(sources.source(fit="return 1 / 0")).detail
    assert "submission.py" in detail
    assert "ZeroDivisionError" in detail
    assert "child.py" not in detail


# Tricks.


def test_peeking_at_the_batch(scored: Any, private: Private) -> None:
    assert naive_accuracy(sources.PEEK, private) < 1, "a naive grader has nothing to say against it"
    found = scored(sources.PEEK)
    assert found.verdict is Verdict.ROW_DEPENDENT
    assert found.grade is None


def test_counting_calls(scored: Any, private: Private) -> None:
    """Opposite edits of probe and test rows take a naive probe in; with a process a call there is nothing to count."""
    assert naive_accuracy(sources.IDENTITY, private) > 0.95
    assert naive_accuracy(sources.CALL_COUNTER, private) < 0.7
    found = scored(sources.CALL_COUNTER)
    assert found.grade is not None
    assert found.grade.worst_accuracy.value > 0.9


def test_outliers_spend_the_budget(scored: Any, private: Private) -> None:
    source = sources.OUTLIER.replace("LINE", "0.8").replace("FAR", "1000")
    assert naive_accuracy(source, private) < 0.6
    assert scored(source).verdict is Verdict.OVER_BUDGET


def test_one_row_takes_all() -> None:
    rows = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    erased = rows.clone()
    erased[7] += 1
    reference = torch.ones(100)
    assert squared_edit(rows, erased).mean() < 1
    with pytest.raises(Refused) as caught:
        check_edit(rows, erased, reference)
    assert caught.value.verdict is Verdict.ROW_CAP
    assert check_edit(rows, rows + 0.5, reference) == pytest.approx(0.75, rel=1e-5)


def test_a_constant_is_no_erasure(scored: Any, private: Private) -> None:
    assert naive_accuracy(sources.CONSTANT, private) <= 0.55, "the best score a naive grader can give"
    assert scored(sources.CONSTANT).verdict is Verdict.TOTAL_DAMAGE


def test_an_array_that_lies_about_its_edit(scored: Any, private: Private) -> None:
    module: dict[str, Any] = {}
    exec(sources.LIAR, module)
    x, z = private.data.x.numpy(), private.data.z.numpy()
    assert not (module["transform"](module["fit"](x, z, 1.0, 0), x) - x).any(), "a naive budget: no edit at all"
    assert scored(sources.LIAR).verdict is Verdict.OVER_BUDGET


def test_noise_at_apply_time(scored: Any) -> None:
    assert scored(sources.NOISE_IN_TRANSFORM).verdict is Verdict.NOT_DETERMINISTIC


def test_state_outside_the_arrays(scored: Any, private: Private, tmp_path: Path) -> None:
    source = sources.SMUGGLER.replace("NAME", tmp_path.parent.name + tmp_path.name)
    naive_accuracy(source, private)  # A naive grader runs it to its end...
    (Path(tempfile.gettempdir()) / f"{tmp_path.parent.name}{tmp_path.name}.npy").unlink()  # ...and leaves the rows.
    found = scored(source)
    assert found.verdict is Verdict.TRANSFORM_RAISED
    assert "FileNotFoundError" in found.detail


def test_reading_the_grader(scored: Any) -> None:
    found = scored(sources.READER, inside=LocalSandbox())
    assert "found the grader" in found.detail, "without a sandbox there it is"
    assert not found.ranked
    assert scored(sources.READER).verdict is Verdict.OK


def test_overwriting_what_is_mounted(scored: Any) -> None:
    assert scored(sources.VANDAL).verdict is Verdict.OK


def test_tracing_the_stack(scored: Any, private: Private) -> None:
    with pytest.raises(RuntimeError, match="labels in"):
        _naive_with_labels_at_hand(private)
    assert scored(sources.TRACER).verdict is Verdict.OK


def _naive_with_labels_at_hand(private: Private) -> None:
    module: dict[str, Any] = {}
    exec(sources.TRACER, module)
    x, labels = private.data.x.numpy(), private.data.z.numpy()
    module["transform"](module["fit"](x, labels, 1.0, 0), x)


def test_taking_the_bait_is_reported(scored: Any, sound: Score) -> None:
    assert scored(sources.BAIT_TAKER).notes == ("canary: returned or printed the token of the bait file",)
    named = scored(sources.source(fit="open('answers.json')"))
    assert named.notes == ("canary: the source names the bait file, which no task mentions",)
    assert not sound.notes


# What the author hears.


def test_hidden_rows_do_not_come_out_in_a_traceback(scored: Any) -> None:
    found = scored(sources.LEAKER)
    assert found.verdict is Verdict.TRANSFORM_RAISED
    assert "hidden row" not in found.detail


def test_feedback_is_rounded_and_counted(private: Private, sandbox: Sandbox, sound: Score) -> None:
    evaluator = Evaluator(private, sandbox, calls=2, limits=SHORT, probes=PANEL)
    heard = evaluator.evaluate(sources.SOUND.encode())
    for figure in (heard.leakage, heard.reference, heard.unerased, heard.spent):
        assert figure is not None
        assert round(figure * 20) == pytest.approx(figure * 20)
    assert heard.leakage == heard.reference
    assert heard.calls_left == 1
    assert "reference" in str(heard)
    assert "leace" not in str(heard).lower()
    refused = evaluator.evaluate(b"def fit(:")
    assert refused.verdict is Verdict.SYNTAX_ERROR
    assert refused.advice in str(refused)
    assert [found.verdict for found in evaluator.history] == [Verdict.OK, Verdict.SYNTAX_ERROR]
    with pytest.raises(ExciseError, match="no evaluations are left"):
        evaluator.evaluate(sources.SOUND.encode())


class Broken(LocalSandbox):
    def run(self, *args: Any, **kwargs: Any) -> Completed:
        raise OSError("secret of the grader")


def test_a_failure_of_the_grader_is_not_the_authors(private: Private) -> None:
    evaluator = Evaluator(private, Broken(), calls=1, probes=PANEL)
    heard = evaluator.evaluate(sources.SOUND.encode())
    assert heard.verdict is Verdict.GRADER_ERROR
    assert heard.calls_left == 1
    assert "secret" not in str(heard)
    assert "secret of the grader" in evaluator.history[0].detail


# Records.


def test_a_score_survives_its_record(sound: Score, private: Private, tmp_path: Path) -> None:
    submission = Submission(sources.SOUND.encode())
    path = write_score(tmp_path, submission, private, sound)
    assert (tmp_path / "sources" / f"{sound.sha256}.py").read_bytes() == submission.source
    (record,) = read_scores(tmp_path)
    assert json.dumps(record.score.to_json()) == json.dumps(sound.to_json())
    assert record.concept == private.data.name
    written = path.read_bytes()
    write_score(tmp_path, submission, private, dataclasses.replace(sound, detail="another"))
    assert path.read_bytes() == written, "records are only added"


def test_a_failure_of_the_grader_leaves_the_submission_open(sound: Score, private: Private, tmp_path: Path) -> None:
    failed = dataclasses.replace(sound, verdict=Verdict.GRADER_ERROR, grade=None)
    path = write_score(tmp_path, Submission(sources.SOUND.encode()), private, failed)
    assert path.parent == tmp_path / "grader_errors"
    with pytest.raises(ExciseError, match="holds no scores"):
        read_scores(tmp_path)


def test_feedback_of_a_score_without_figures(sound: Score) -> None:
    bare = dataclasses.replace(sound, verdict=Verdict.GRADER_ERROR, grade=None, leace=None, unerased=None, spent=None)
    assert Feedback.of(bare, 3).reference is None
