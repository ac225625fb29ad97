"""A taskset of verifiers 0.4, one task a concept: `vf-eval excise-arena`. See docs/arena-adapters.md.

Its default harness asks for one reply and runs nothing; any other harness of verifiers finds the sample in its folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import verifiers.v1 as vf
from openai import AsyncOpenAI
from pydantic import Field

from excise.arena.adapters.judge import Problems, builtin, reward
from excise.arena.adapters.reply import ASK, source_in
from excise.arena.problem import Public, dev_concepts
from excise.arena.statement import statement
from excise.arena.submission import MOST_BYTES
from excise.models import DEFAULT_MODEL

__all__ = ["ArenaTaskset", "ReplyHarness"]


class ArenaConfig(vf.TasksetConfig):
    """`--env.taskset.*`."""

    concepts: list[str] = Field(default_factory=lambda: list(dev_concepts()))
    lm: str = DEFAULT_MODEL
    """Whose activations."""
    site: str = "14:mean"
    seed: int = 0
    records: Path = Path("results/arena-verifiers")


class ArenaData(vf.TaskData):
    concept: str


class ArenaTask(vf.Task[ArenaData]):
    """Attributes: problems, shared by all tasks."""

    problems: Problems

    async def setup(self, trace: vf.Trace, runtime: vf.Runtime) -> None:
        """Puts the labelled sample into the working folder."""
        with TemporaryDirectory() as folder:
            self.problems.public(self.data.concept).write(Path(folder))
            for path in Path(folder).iterdir():
                await runtime.write(path.name, path.read_bytes())

    @vf.reward
    async def way_to_chance(self, trace: vf.Trace, runtime: vf.Runtime) -> float:
        """See `reward`. A failure of the grader is an error of the rollout, which has no reward then."""
        try:
            source = await runtime.read("submission.py", max_bytes=MOST_BYTES + 1)
        except (OSError, vf.SandboxError):
            source = source_in(trace.last_reply)
        judge = self.problems.judge(self.data.concept)
        return reward(await asyncio.to_thread(judge.score, source))


class ArenaTaskset(vf.Taskset[ArenaTask, ArenaConfig]):
    """One task a concept, drawn when it is asked for."""

    def problems(self) -> Problems:
        """From what the configuration names."""
        given = self.config
        return Problems(given.records, "verifiers", draw=builtin(given.lm, given.site, given.seed))

    def load(self) -> Iterator[ArenaTask]:
        problems = self.problems()
        for concept in self.config.concepts:
            data = ArenaData(name=concept, concept=concept, prompt=prompt(problems.public(concept)))
            task = ArenaTask(data, self.config.task)
            task.problems = problems
            yield task


def prompt(public: Public) -> str:
    """The task in words."""
    return statement(len(public.texts), public.x.shape[1], public.model, public.site, public.budget) + ASK


class ReplyHarness(vf.Harness[vf.HarnessConfig]):
    """One message, one reply, no tools; works in this process and on any runtime."""

    APPENDS_SYSTEM_PROMPT = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
        tool_interception_url: str | None = None,
    ) -> vf.ProgramResult:
        system, text = self.resolve_text_prompt(data)
        said: list[Any] = [{"role": "system", "content": system}] if system else []
        said.append({"role": "user", "content": text})
        # Retries are the engine's business: another attempt here would be another branch of the trace.
        async with AsyncOpenAI(base_url=endpoint, api_key=secret, max_retries=0) as client:
            await client.chat.completions.create(model=ctx.model, messages=said)
        return vf.ProgramResult(0, "", "")
