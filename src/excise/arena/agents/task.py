"""The arena as a task of Inspect: one sample a concept, one epoch a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from inspect_ai import Task, task
from inspect_ai.agent import AgentSubmit, as_solver, react
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import Tool, ToolError, bash, python, tool
from inspect_ai.util import SandboxEnvironmentSpec, sandbox

from excise.arena.agents.grading import Case, cores, grader
from excise.arena.agents.room import LIMITS, MODEL_VARIABLE, NAME, Room
from excise.arena.problem import Public, prepare
from excise.arena.sandbox import find_sandbox
from excise.arena.score import Evaluator
from excise.concepts import load_concept, read_jsonl
from excise.concepts.builtin import STARTERS
from excise.models import DEFAULT_MODEL, LanguageModel
from excise.models import language_model as named_model
from excise.models.language_model import cache_root
from excise.models.packaged import PACKAGED, local_folder
from excise.types import Concept, ExciseError, Site

ANSWER = "submission.py"
CALLS = 20

_HOW = f"""
## How you work here

* The files named above are in your current directory. `bash` and `python` run there, each call in a new process that
  is ended after {LIMITS.seconds:.0f} seconds together with all that it started; only files in that directory are kept,
  {LIMITS.disk >> 20} MB of them. Inside, `python` has what a submission has.
{{model}}* `evaluate(file)` tries a file on texts that you have not seen, and tells you a rounded accuracy. You have
  {{calls}} calls.
* Your answer is the file `{ANSWER}` in that directory as it is when you call `submit()`, or when your time is up. There
  is one submission: it is judged once, and you hear nothing of it.
"""
_MODEL_THERE = f"""* The language model itself is in the folder `${MODEL_VARIABLE}`, for `transformers`, if you want it.
"""


@task(name="arena")
def arena(
    concepts: str | Sequence[str] = STARTERS,
    language_model: str = DEFAULT_MODEL,
    site: str = "14:mean",
    seed: int = 0,
    calls: int = CALLS,
    out: str = "results/arena",
    budget: float = 1.0,
    labels: float = 1.0,
) -> Task:
    """Inspect task `excise/arena`; `--epochs N` for N rollouts a concept.

    Args:
        concepts: built-in names or .jsonl files, as a list or separated by commas.
        language_model: where activations come from: packaged model, Hugging Face id or folder.
        site: module path or block number, and pooling.
        seed: of the draw.
        calls: of `evaluate`, a rollout.
        out: folder for score records.
        budget, labels: what makes the problem harder or easier; see `excise.arena.problem.prepare_rows`.

    Raises:
        ExciseError: see `prepare`; no sandbox holds on this machine; a concept named twice.
    """
    find_sandbox()  # Before minutes of reading activations.
    names = concepts.split(",") if isinstance(concepts, str) else list(concepts)
    found = [_concept(name) for name in names]
    if len({concept.name for concept in found}) < len(found):
        raise ExciseError(f"a concept is named twice: {', '.join(names)}; rollouts are asked for by epochs")
    where = Site.parse(site)
    cases = [Case(*prepare(concept, language_model, where, seed, budget=budget, labels=labels)) for concept in found]
    return arena_task(cases, Path(out), calls=calls, room=room_of(named_model(language_model)))


def arena_task(cases: Sequence[Case], out: Path, *, calls: int = CALLS, room: Room | None = None) -> Task:
    """The task on problems that are drawn already.

    Args:
        out: folder for score records.
        calls: of `evaluate`, a rollout.
        room: what the agent's sandbox holds.
    """
    room = room or Room()
    by_name = {case.private.data.name: case for case in cases}
    return Task(
        dataset=MemoryDataset(
            [Sample(id=name, input=_input(case, calls, room)) for name, case in by_name.items()], name="arena"
        ),
        solver=_author(by_name, calls),
        scorer=grader(by_name, out.absolute(), ANSWER),
        sandbox=SandboxEnvironmentSpec(NAME, room),
    )


def room_of(lm: LanguageModel) -> Room:
    """The model's weights for the agent's sandbox."""
    packaged = PACKAGED.get(lm.name)
    if packaged:
        return Room(model=str(local_folder(packaged, cache_root() / "models", lm.accept_terms)))
    if Path(lm.folder).is_dir():
        return Room(model=str(Path(lm.folder).absolute()))
    # Here, not at import time: seconds.
    from huggingface_hub import snapshot_download

    snapshot = Path(snapshot_download(lm.folder, revision=lm.revision, local_files_only=True))
    # The files of a snapshot are links to ../../blobs.
    return Room(model=str(snapshot.parents[1]), inside=str(snapshot.relative_to(snapshot.parents[1])))


def _concept(name: str) -> Concept:
    return read_jsonl(Path(name)) if name.endswith(".jsonl") else load_concept(name)


def _input(case: Case, calls: int, room: Room) -> str:
    task_md = _files(case.public)["task.md"].decode()
    return task_md + _HOW.format(calls=calls, model=_MODEL_THERE if room.model else "")


def _files(public: Public) -> dict[str, bytes]:
    """What `Public.write` writes, by name."""
    with TemporaryDirectory() as folder:
        public.write(Path(folder))
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _author(cases: dict[str, Case], calls: int) -> Solver:
    # Without parameters: Inspect writes those of a solver into the log, which must hold nothing of hidden rows.
    @solver(name="author")
    def author() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            case = cases[str(state.sample_id)]
            for name, content in _files(case.public).items():
                await sandbox().write_file(name, content)
            agent = react(
                tools=[bash(int(LIMITS.seconds)), python(int(LIMITS.seconds)), _evaluate(case, calls)],
                submit=AgentSubmit(tool=_hand_in()),
                # More would tell the agent what the hidden rows say.
                attempts=1,
            )
            return await as_solver(agent)(state, generate)

        return solve

    return author()


def _evaluate(case: Case, calls: int) -> Tool:
    """The agent's own tool, with its own count of calls; made anew for every rollout."""
    made: list[Evaluator] = []
    lock = anyio.Lock()

    @tool(name="evaluate")
    def evaluate() -> Tool:
        async def execute(file: str = ANSWER) -> str:
            """Tries a file with fit and transform on hidden texts.

            Says what went wrong, or how well a new classifier still reads the property.

            Args:
                file: The file, in the current directory.
            """
            # A wrong path costs no call.
            try:
                source = await sandbox().read_file(file, text=False)
            except (OSError, ValueError) as err:
                raise ToolError(str(err)) from None
            async with lock, cores():
                if not made:
                    new = partial(Evaluator, case.private, find_sandbox(), calls, probes=case.probes)
                    made.append(await anyio.to_thread.run_sync(new))
                try:
                    return str(await anyio.to_thread.run_sync(made[0].evaluate, source))
                except ExciseError as err:
                    raise ToolError(str(err)) from None

        return execute

    return evaluate()


@tool(name="submit")
def _hand_in() -> Tool:
    async def execute() -> str:
        """Hands in submission.py as it is now, and ends the work."""
        return ANSWER

    return execute
