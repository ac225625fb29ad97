"""Each loop is driven as its users drive it, with a scripted model on the loopback where it wants one."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from excise.arena import Score, Verdict
from excise.arena.adapters.gepa_objective import Objective
from excise.arena.adapters.judge import GraderFailed, Judge, reward
from excise.arena.adapters.reply import source_in
from excise.arena.records import read_scores
from tests.arena import sources
from tests.arena.scripted_model import scripted_model
from tests.arena.tiny import BREAKS, CONCEPT, GOOD, problems

ROOT = Path(__file__).parents[2]
BROKEN = f"{BREAKS}\n{sources.SOUND}"
WRONG = "def fit(:"


def run(command: list[str], folder: Path, seconds: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
    """With the tests importable, and files of the folder as modules."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def script(name: str) -> str:
    return str(Path(sys.executable).parent / name)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return problems(tmp_path_factory.mktemp("records")).judge(CONCEPT)


@pytest.fixture(scope="module")
def good(judge: Judge) -> Score:
    return judge.score(GOOD.encode())


def with_accuracy(found: Score, accuracy: float) -> Score:
    """The same score, had the probe named this share of the rows."""
    assert found.grade is not None
    right = np.arange(len(found.grade.z)) < round(accuracy * len(found.grade.z))
    return dataclasses.replace(found, grade=dataclasses.replace(found.grade, correct={"Linear": right}))


def test_the_reward_is_the_way_from_leace_to_chance(good: Score) -> None:
    assert good.leace is not None
    leace = good.leace.worst_accuracy.value
    assert leace > 0.54
    assert reward(with_accuracy(good, 0.5)) == pytest.approx(1)
    assert reward(with_accuracy(good, leace)) == pytest.approx(0)
    assert 0 < reward(good) < 1
    assert reward(with_accuracy(good, 0.9)) == 0, "worse than LEACE is no better than a broken file"
    assert reward(with_accuracy(good, 0.1)) == 0, "mostly wrong has read it too"


def test_no_reward_for_what_is_not_sound(judge: Judge, good: Score) -> None:
    for verdict in Verdict:
        if verdict not in (Verdict.OK, Verdict.GRADER_ERROR):
            assert reward(dataclasses.replace(good, verdict=verdict, grade=None)) == 0
    assert reward(judge.score(WRONG.encode())) == 0


def test_where_leace_leaves_nothing_there_is_nothing_to_gain(good: Score) -> None:
    assert reward(dataclasses.replace(good, leace=with_accuracy(good, 0.5).grade)) == 0


def test_a_failure_of_the_grader_is_no_reward(judge: Judge) -> None:
    with pytest.raises(GraderFailed) as caught:
        judge.score(BROKEN.encode())
    assert "disk" not in str(caught.value), "an author may read it"
    (record,) = (judge.folder / "grader_errors").iterdir()
    assert "the disk is full" in record.read_text()


def test_what_was_scored_is_not_scored_again(judge: Judge, good: Score) -> None:
    assert judge.score(GOOD.encode()).seconds == good.seconds
    assert dataclasses.replace(judge, part="feedback").score(GOOD.encode()).part == "feedback"


@pytest.mark.parametrize(
    ("reply", "source"),
    [
        ("x = 1", "x = 1"),
        ("First\n```python\na\n```\nthen\n```python\nb\n```\n", "b\n"),
        ("```\na\n```", "a\n"),
        ("```py\n'''\n  ```\n'''\n```", "'''\n  ```\n'''\n"),
    ],
)
def test_the_file_in_a_reply(reply: str, source: str) -> None:
    assert source_in(reply) == source.encode()


def test_gepa(judge: Judge) -> None:
    oa = pytest.importorskip("gepa.optimize_anything")
    with scripted_model(f"```\n{GOOD}```") as (url, asked):
        from openai import OpenAI

        client = OpenAI(base_url=url, api_key="none")

        def language_model(prompt: Any) -> str:
            said = client.chat.completions.create(model="scripted", messages=[{"role": "user", "content": str(prompt)}])
            return str(said.choices[0].message.content)

        found = oa.optimize_anything(
            seed_candidate=sources.SOUND,
            evaluator=Objective(judge),
            config=oa.GEPAConfig(
                engine=oa.EngineConfig(max_candidate_proposals=1, parallel=False),
                reflection=oa.ReflectionConfig(reflection_lm=language_model),
            ),
        )
    assert found.best_candidate.strip() == GOOD.strip()
    assert found.val_aggregate_scores[0] == 0
    assert found.val_aggregate_scores[found.best_idx] > 0
    assert "Accuracy of the strongest classifier" in str(asked[0]["messages"]), "the model hears the feedback"
    with pytest.raises(GraderFailed):
        Objective(judge)(BROKEN)


def test_openevolve(tmp_path: Path) -> None:
    pytest.importorskip("openevolve")
    (tmp_path / "first.py").write_text(sources.SOUND)
    (tmp_path / "evaluation.py").write_text(
        "from pathlib import Path\n"
        "from excise.arena.adapters.openevolve_evaluator import evaluation\n"
        "from tests.arena.tiny import CONCEPT, problems\n"
        f"evaluate = evaluation(problems(Path({str(tmp_path / 'records')!r})).judge(CONCEPT))\n"
    )
    with scripted_model(f"```python\n{GOOD}```") as (url, asked):
        config = {
            "diff_based_evolution": False,
            # Workers are then spawned, not forked from a process with threads.
            "max_tasks_per_child": 20,
            "random_seed": 0,
            "llm": {"models": [{"name": "scripted", "api_base": url, "api_key": "none", "weight": 1.0}]},
            "evaluator": {"parallel_evaluations": 1, "cascade_evaluation": False},
        }
        (tmp_path / "config.yaml").write_text(json.dumps(config))  # JSON is YAML.
        command = ["first.py", "evaluation.py", "--config", "config.yaml", "--iterations", "1", "--output", "out"]
        done = run([script("openevolve-run"), *command], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert asked
    best = json.loads((tmp_path / "out" / "best" / "best_program_info.json").read_text())
    assert best["metrics"]["combined_score"] > 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "best" / "best_program.py").read_text().strip() == GOOD.strip()
    assert sorted(reward(record.score) > 0 for record in read_scores(tmp_path / "records")) == [False, True]


TASKSET = """
from excise.arena.adapters.verifiers_env import ArenaTaskset, ReplyHarness
from tests.arena.tiny import problems

class TinyTaskset(ArenaTaskset):
    def problems(self):
        return problems(self.config.records)

__all__ = ["TinyTaskset", "ReplyHarness"]
"""


def test_verifiers(tmp_path: Path) -> None:
    pytest.importorskip("verifiers")
    (tmp_path / "tiny_arena.py").write_text(TASKSET)
    replies = (f"Here it is.\n```python\n{text}\n```\n" for text in (GOOD, WRONG, BROKEN))
    with scripted_model(*replies) as (url, asked):
        command = [
            *("tiny-arena", "--env.taskset.concepts", json.dumps([CONCEPT])),
            *("--env.agent.runtime.type", "subprocess", "--no-push", "--no-rich", "-o", "out", "-r", "3", "-c", "1"),
            *("--model", "scripted", "--client.base-url", url, "--client.api-key-var", "SCRIPTED"),
        ]
        done = run([script("vf-eval"), *command], tmp_path, SCRIPTED="none")
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = (tmp_path / "out").glob("*/traces.jsonl")
    traces = [trace for line in file.read_text().splitlines() for trace in json.loads(line)["traces"]]
    sound, failed = ([t for t in traces if t["ok"] is ok] for ok in (True, False))
    assert sorted(trace["rewards"]["way_to_chance"]["score"] > 0 for trace in sound) == [False, True]
    assert len(failed) == 1, "a failure of the grader is an error of the rollout"
    assert "GraderFailed" in str(failed[0]["errors"])
    assert not failed[0]["rewards"].get("way_to_chance")
    assert "Make a concept unreadable" in str(asked[0]["messages"])


def test_verifiers_finds_the_arena_by_name() -> None:
    pytest.importorskip("verifiers")
    from verifiers.v1.utils.loaders import default_harness_id, taskset_class, taskset_config_type

    assert taskset_class("excise-arena").__name__ == "ArenaTaskset"
    assert default_harness_id("excise-arena") == "excise-arena"
    assert "humor" in taskset_config_type("excise-arena")().concepts


CLIENT = """
import json, sys, threading, time
from pathlib import Path
import uvicorn
from openenv.core.generic_client import GenericEnvClient
from excise.arena.adapters.openenv_server import app
from tests.arena.tiny import BREAKS, CONCEPT, GOOD, problems

server = uvicorn.Server(uvicorn.Config(app(lambda: problems(Path("records")), (CONCEPT,)), port=0, log_level="error"))
threading.Thread(target=server.run, daemon=True).start()
while not server.started:
    time.sleep(0.05)
port = server.servers[0].sockets[0].getsockname()[1]
with GenericEnvClient(base_url=f"http://127.0.0.1:{port}").sync() as env:
    first = env.reset(concept=CONCEPT)
    tried = env.step({"source": GOOD})
    handed_in = env.step({"source": GOOD, "hand_in": True})
    env.reset(seed=0)
    wrong = env.step({"source": "def fit(:", "hand_in": True})
    env.reset(seed=0)
    try:
        failed = env.step({"source": BREAKS + GOOD, "hand_in": True}).reward
    except RuntimeError as err:
        failed = str(err)
print(json.dumps([
    [first.reward, first.done, first.observation["text"], sorted(first.observation["sample"])],
    [tried.reward, tried.done, tried.observation["text"]],
    [handed_in.reward, handed_in.done],
    [wrong.reward, wrong.done],
    failed,
]))
"""


@pytest.mark.slow
def test_openenv(tmp_path: Path) -> None:
    """In an environment of its own: verifiers pins an mcp that OpenEnv 0.10 cannot have."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    done = run([str(python), "-m", "pip", "install", "-q", "openenv==0.10.0"], tmp_path, 900)
    assert done.returncode == 0, done.stderr[-3000:]
    # Everything else comes from here, after its own: torch need not be installed twice.
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "here.pth").write_text("\n".join(path for path in sys.path if path.endswith(("site-packages", "src"))))
    (tmp_path / "client.py").write_text(CLIENT)
    done = run([str(python), "client.py"], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    first, tried, handed_in, wrong, failed = json.loads(done.stdout.splitlines()[-1])
    assert first[:2] == [None, False]
    assert "Make a concept unreadable" in first[2]
    assert first[3] == ["activations.npy", "labels.npy", "texts.txt"]
    assert tried[:2] == [None, False]
    assert "Accuracy of the strongest classifier" in tried[2]
    assert handed_in[0] > 0
    assert handed_in[1]
    assert wrong == [0, True]
    assert "the grader failed" in failed
    assert "disk" not in failed
