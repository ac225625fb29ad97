"""The whole loop with a scripted model: what an honest agent gets, and what each known cheat gets."""

from __future__ import annotations

import importlib.util
import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai import eval as run_task
from inspect_ai import eval_set
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import ChatMessageTool, Model, get_model

from excise.arena import Submission, prepare_rows
from excise.arena.agents import require_inspect
from excise.arena.agents.grading import Case
from excise.arena.agents.outcome import Figures, Outcome, read_outcomes
from excise.arena.agents.room import Room
from excise.arena.agents.script import read_script
from excise.arena.agents.task import arena_task, room_of
from excise.arena.records import read_scores
from excise.arena.sandbox import SandboxError, find_sandbox
from excise.models import language_model
from excise.probes import Linear
from excise.stats.bootstrap import Interval
from excise.types import ConceptData, ExciseError
from tests.arena.sources import IDENTITY, SOUND, source
from tests.test_cli import ok

try:
    find_sandbox()
except SandboxError as err:
    pytest.skip(str(err), allow_module_level=True)

Turn = dict[str, Any]
SUBMIT: Turn = {"call": [["submit", {}]]}


def bash(command: str, expect: str = "") -> Turn:
    return {"call": [["bash", {"command": command}]], "expect": expect}


def write(text: str, file: str = "submission.py") -> Turn:
    return {"call": [["python", {"code": f"open({file!r}, 'w').write({text!r})"}]]}


def evaluate(expect: str = "", file: str = "submission.py") -> Turn:
    return {"call": [["evaluate", {"file": file}]], "expect": expect}


@pytest.fixture(scope="module")
def case(pairs: ConceptData) -> Case:
    return Case(*prepare_rows(pairs, ["a text"] * len(pairs), {"model": "tiny"}, 0), probes=(Linear(),))


# Refused after one fit: where only the course of a rollout matters.
BROKEN = source(fit="return 1 / 0")


class Play:
    """Runs scripts on one small problem.

    Attributes:
        out: folder of the records.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder, self.out = case, folder, folder / "records"

    def model(self, turns: list[Turn]) -> Model:
        path = self.folder / "script.json"
        path.write_text(json.dumps(turns))
        return get_model(f"excise-script/{path}", memoize=False)

    def __call__(self, *turns: Turn, calls: int = 2, room: Room | None = None, **options: Any) -> EvalSample:
        task = arena_task([self.case], self.out, calls=calls, room=room)
        (log,) = run_task(task, self.model(list(turns)), log_dir=str(self.folder / "logs"), display="none", **options)
        return only(log)

    def verdicts(self) -> dict[str, str]:
        return {record.score.part: str(record.score.verdict) for record in read_scores(self.out)}


@pytest.fixture
def play(case: Case, tmp_path: Path) -> Play:
    return Play(case, tmp_path)


def only(log: EvalLog) -> EvalSample:
    assert log.status == "success", log.error
    assert log.samples is not None
    (sample,) = log.samples
    return sample


def errors(sample: EvalSample) -> list[tuple[str | None, str]]:
    """Failed tool calls: a call with a wrong argument would otherwise pass for a cheat that was held."""
    return [(m.function, m.error.message) for m in sample.messages if isinstance(m, ChatMessageTool) and m.error]


def heard(sample: EvalSample) -> str:
    return "\n".join(m.text for m in sample.messages if isinstance(m, ChatMessageTool))


def outcome(sample: EvalSample) -> Outcome:
    (score,) = (sample.scores or {}).values()
    assert score.metadata is not None
    found = Outcome.from_json(score.metadata)
    assert score.value == found.share
    return found


@pytest.fixture(scope="module")
def sound(case: Case, tmp_path_factory: pytest.TempPathFactory) -> tuple[Play, EvalSample]:
    play = Play(case, tmp_path_factory.mktemp("sound"))
    return play, play(write(SOUND), evaluate(), {**SUBMIT, "expect": "1 calls left"})


def test_a_sound_eraser_is_scored_and_recorded(sound: tuple[Play, EvalSample]) -> None:
    play, sample = sound
    assert not errors(sample)
    found = outcome(sample)
    assert found.verdict == "ok"
    # It is LEACE.
    assert found.share == pytest.approx(0, abs=0.05)
    assert found.report.unerased is not None
    assert found.report.leace is not None
    assert found.report.unerased.value > found.report.leace.value
    records = {record.score.part: record for record in read_scores(play.out)}
    assert set(records) == {"select", "report"}
    assert {record.author for record in records.values()} == {found.author}
    assert found.author.endswith("script.json #1")
    assert records["report"].score.grade is not None
    assert records["report"].score.grade.worst_accuracy == found.report.submission
    assert {record.score.sha256 for record in records.values()} == {found.sha256}


def test_the_sample_is_there_and_nothing_else(play: Play, case: Case) -> None:
    code = "import numpy as np, os; print(*sorted(os.listdir()), np.load('activations.npy').shape)"
    sample = play({"call": [["python", {"code": code}]]}, SUBMIT)
    assert not errors(sample)
    names = "activations.npy labels.npy problem.json task.md texts.jsonl"
    assert f"{names} {tuple(case.public.x.shape)}" in heard(sample)


def test_it_reads_the_verdict_and_repairs(play: Play) -> None:
    sample = play(
        write(source(transform="return 1 / 0")),
        evaluate(),
        {**write(SOUND), "expect": "ZeroDivisionError"},
        evaluate(),
        {**SUBMIT, "expect": "ok: Sound"},
    )
    assert not errors(sample)
    assert outcome(sample).verdict == "ok"


def test_a_script_that_does_not_hear_what_it_expects_fails(play: Play) -> None:
    task = arena_task([play.case], play.out)
    model = play.model([bash("echo one"), {**SUBMIT, "expect": "two"}])
    (log,) = run_task(task, model, log_dir=str(play.folder / "logs"), display="none")
    assert log.status == "error"
    assert log.error is not None
    assert "expects 'two'; got: one" in log.error.message


def test_wrong_arguments_are_seen_as_errors(play: Play) -> None:
    ((tool, message),) = errors(play({"call": [["bash", {"cmd": "true"}]]}, SUBMIT))
    assert tool == "bash"
    assert "command" in message


def test_a_broken_submission_counts_as_none(play: Play) -> None:
    found = outcome(play(write(source(transform="return x * 5")), SUBMIT))
    assert found.verdict == "over_budget"
    assert found.share == 0
    assert found.report.submission is None
    assert set(play.verdicts().values()) == {"over_budget"}


def test_no_submission(play: Play) -> None:
    found = outcome(play(SUBMIT))
    assert found.verdict == "no_file"
    assert found.share == 0
    with pytest.raises(ExciseError):
        play.verdicts()


@pytest.mark.parametrize("make", ["ln -s /etc/passwd submission.py", "mkfifo submission.py", "mkdir submission.py"])
def test_a_submission_that_is_no_plain_file(play: Play, make: str) -> None:
    sample = play(bash(make + " && echo made"), evaluate("made"), SUBMIT)
    ((tool, message),) = errors(sample)
    assert tool == "evaluate"
    assert "root:" not in message
    assert outcome(sample).verdict == "no_file"


def test_a_link_to_a_file_of_the_grader(play: Play) -> None:
    secret = play.folder / "secret.py"
    secret.write_text(SOUND)
    assert outcome(play(bash(f"ln -s {secret} submission.py"), SUBMIT)).verdict == "no_file"
    # A good submission behind a link inside the folder is no plain file either.
    assert outcome(play(write(SOUND, "good.py"), bash("ln -s good.py submission.py"), SUBMIT)).verdict == "no_file"


def test_evaluate_tells_rounded_figures(sound: tuple[Play, EvalSample]) -> None:
    accuracy = heard(sound[1]).split("strongest classifier: ")[1].split()[0]
    assert float(accuracy) in [round(0.05 * i, 2) for i in range(21)]


def test_evaluate_has_a_limit(play: Play) -> None:
    both = {"call": [["evaluate", {"file": "submission.py"}]] * 2}
    sample = play(write(BROKEN), evaluate(), {**both, "expect": "1 calls left"}, SUBMIT)
    ((tool, message),) = errors(sample)
    assert tool == "evaluate"
    assert "no evaluations are left" in message


def test_a_new_rollout_has_its_own_calls_and_folder(play: Play) -> None:
    task = arena_task([play.case], play.out, calls=1)
    model = play.model(
        [bash("ls submission.py || true"), {**write(BROKEN), "expect": "No such file"}, evaluate(), SUBMIT]
    )
    (log,) = run_task(task, model, epochs=2, log_dir=str(play.folder / "logs"), display="none")
    assert log.status == "success", log.error
    assert log.samples is not None
    assert [errors(sample) for sample in log.samples] == [[], []]
    assert [one.author[-2:] for one in read_outcomes([log])] == ["#1", "#2"]


def test_two_submissions_are_one(play: Play) -> None:
    # Both at once, and one more, which the work has ended before.
    sample = play(write(BROKEN), {"call": [["submit", {}], ["submit", {}]]}, write(IDENTITY), SUBMIT)
    assert outcome(sample).sha256 == Submission(BROKEN.encode()).sha256
    assert len(read_scores(play.out)) == 2
    assert {record.score.sha256 for record in read_scores(play.out)} == {outcome(sample).sha256}


def test_nothing_changes_the_file_after_the_end(play: Play) -> None:
    late = "setsid nohup sh -c 'sleep 0.3; echo late > submission.py' >/dev/null 2>&1 & echo started"
    sample = play(write(BROKEN), bash(late), bash("sleep 0.6", "started"), SUBMIT)
    assert not errors(sample)
    assert outcome(sample).sha256 == Submission(BROKEN.encode()).sha256


def test_the_graders_files_and_the_network_are_out_of_reach(play: Play) -> None:
    code = """
import importlib.util, os, pathlib, socket
print("excise", importlib.util.find_spec("excise"))
for path in PATHS:
    print(path, os.path.exists(path))
try:
    socket.create_connection(("127.0.0.1", 22), 1)
    print("connected")
except OSError as err:
    print("no network", type(err).__name__)
print("labels", [str(p) for p in pathlib.Path("/").glob("venv/lib/python3*/*-packages/excise/**/*.jsonl")])
print("environment", sorted(os.environ))
"""
    paths = [str(Path(__file__)), str(play.folder), str(Path.home() / ".cache"), "/proc/1/root/etc/passwd"]
    told = play({"call": [["python", {"code": code.replace("PATHS", repr(paths))}]]}, SUBMIT)
    assert not errors(told)
    said = heard(told)
    assert "excise None" in said or "NamespaceLoader" in said
    assert [f"{path} False" in said for path in paths] == [True] * len(paths)
    assert "no network" in said
    assert "labels []" in said
    assert "API_KEY" not in said


def test_nothing_of_the_report_is_in_the_transcript(sound: tuple[Play, EvalSample]) -> None:
    play, sample = sound
    report = outcome(sample).report
    assert report.submission is not None
    said = " ".join(m.text for m in sample.messages)
    assert f"{report.submission.value:.4f}"[:6] not in said
    assert play.case.private.id not in said
    assert sample.metadata == {}
    assert sample.target == ""


def test_a_message_limit_ends_the_rollout_and_the_file_counts(play: Play) -> None:
    sample = play(write(BROKEN), *[bash("true")] * 20, message_limit=6)
    assert sample.limit is not None
    assert outcome(sample).verdict == "fit_raised"


def test_a_run_goes_on_where_it_was(play: Play) -> None:
    def once(turns: list[Turn]) -> tuple[bool, list[EvalLog]]:
        task = arena_task([play.case], play.out)
        options: dict[str, Any] = {"retry_attempts": 0, "display": "none"}
        return eval_set(task, log_dir=str(play.folder / "set"), model=play.model(turns), **options)

    done, _ = once([write(BROKEN), {**SUBMIT, "expect": "never said"}])
    assert not done
    done, logs = once([write(BROKEN), SUBMIT])
    assert done
    # Nothing is played again: this script would fail.
    done, logs = once([write(BROKEN), {**SUBMIT, "expect": "never said"}])
    assert done
    assert [one.verdict for one in read_outcomes(logs)] == ["fit_raised"]


def test_the_model_can_be_loaded_inside(play: Play, tiny_models: dict[str, Path]) -> None:
    room = room_of(language_model(str(tiny_models["llama"])))
    look = bash('ls "$MODEL"; echo no > "$MODEL"/config.json || echo "read only"')
    sample = play(look, SUBMIT, room=room)
    assert "model.safetensors" in heard(sample)
    assert "read only" in heard(sample)
    assert "$MODEL" in sample.input
    assert "$MODEL" not in play(SUBMIT).input


def test_scripts_are_checked(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"call": 1}')
    for name in ("bad.json", "none.json"):
        with pytest.raises(ExciseError, match="write a JSON list of turns"):
            read_script(tmp_path / name)


def test_the_share_of_the_way() -> None:
    def at(accuracy: float) -> Figures:
        reference = Interval(0.9, 0.8, 1.0)
        return Figures(Interval(accuracy, 0.0, 1.0), reference, reference, 0.5, 1.0)

    assert at(0.5).share == pytest.approx(1)
    assert at(0.7).share == pytest.approx(0.5)
    assert at(0.94).share == pytest.approx(-0.1)
    refused = Outcome("c", "a", verdict="over_budget", report=at(0.5))
    assert refused.share == 0
    assert Outcome.from_json(json.loads(json.dumps(refused.to_json()))) == refused


def test_inspect_finds_task_sandbox_and_model_by_the_entry_point() -> None:
    (found,) = entry_points(group="inspect_ai", name="excise")
    loaded = found.load()
    assert {"arena", "RoomEnvironment", "Script"} <= set(vars(loaded))


def test_without_inspect_there_is_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExciseError, match=r"pip install 'excise\[arena\]'"):
        require_inspect()


@pytest.mark.slow
def test_a_real_concept_by_the_command_line(tmp_path: Path) -> None:
    script, places = tmp_path / "script.json", ("--out", tmp_path / "out", "--log-dir", tmp_path / "logs")
    script.write_text(json.dumps([write(SOUND), evaluate(), {**SUBMIT, "expect": "ok: Sound"}]))
    run = ("arena", "run", "--model", f"excise-script/{script}", "--concepts", "hedging", *places)
    told = json.loads(ok(*run, "--json"))
    (rollout,) = told["rollouts"]
    assert rollout["verdict"] == "ok"
    assert rollout["chosen"]
    assert (
        rollout["report"]["chance"] < rollout["report"]["submission"]["value"] < rollout["report"]["unerased"]["value"]
    )
    # Nothing is played again.
    shown = ok(*run)
    assert "LEACE" in shown
    assert f"inspect view --log-dir {tmp_path / 'logs'}" in shown
    assert len(read_scores(tmp_path / "out")) == 2
