"""A model that plays a script: to try the arena, its sandbox and its grader without a provider."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.model._model_output import ChatCompletionChoice
from inspect_ai.tool import ToolCall, ToolChoice, ToolInfo

from excise.types import ExciseError

NAME = "excise-script"
_CHARACTERS = 4  # About as many as a token has in other models.


@dataclass(frozen=True)
class Turn:
    """What the model does once.

    Attributes:
        calls: tools with their arguments, called at once.
        say: text.
        expect: must stand in the results of the turn before, or the script ends with an error.
    """

    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    say: str = ""
    expect: str = ""


def read_script(path: Path) -> list[Turn]:
    """Reads a JSON list of turns: {"call": [["bash", {"command": "ls"}]], "say": "...", "expect": "..."}.

    Raises:
        ExciseError: no such file, or not of this form.
    """
    try:
        return [
            Turn(
                tuple((str(name), dict(given)) for name, given in turn.get("call", ())),
                str(turn.get("say", "")),
                str(turn.get("expect", "")),
            )
            for turn in json.loads(path.read_bytes())
        ]
    except (OSError, ValueError, TypeError, AttributeError) as err:
        raise ExciseError(
            f'{path} is not a script ({err}); write a JSON list of turns, {{"call": [["bash", {{"command": "ls"}}]]}}'
        ) from err


@modelapi(name=NAME)
class Script(ModelAPI):
    """`excise-script/FILE.json`. It keeps no state: which turn it is shows in the conversation, so many rollouts can
    play one script at a time."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  # Inspect's own signature; never changed.
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self._turns = read_script(Path(model_name))

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """The next turn; after the last, words without a call.

        Raises:
            ExciseError: what the turn expects is not there.
        """
        said = [i for i, message in enumerate(input) if isinstance(message, ChatMessageAssistant)]
        turn = self._turns[len(said)] if len(said) < len(self._turns) else Turn(say="The script is over.")
        heard = "\n".join(_heard(message) for message in input[said[-1] + 1 :]) if said else ""
        if turn.expect not in heard:
            raise ExciseError(
                f"turn {len(said) + 1} of {self.model_name} expects {turn.expect!r}; got: {heard[-2000:]}"
            )
        calls = [ToolCall(f"{len(said)}-{i}", name, dict(given)) for i, (name, given) in enumerate(turn.calls)]
        message = ChatMessageAssistant(
            content=turn.say, tool_calls=calls or None, model=self.model_name, source="generate"
        )
        read, written = (sum(map(len, texts)) // _CHARACTERS for texts in ([m.text for m in input], [str(turn)]))
        return ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=message, stop_reason="tool_calls" if calls else "stop")],
            # Without it, Inspect would fetch a tokenizer to count.
            usage=ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written),
        )


def _heard(message: ChatMessage) -> str:
    failed = (
        f"{message.error.type}: {message.error.message}"
        if isinstance(message, ChatMessageTool) and message.error
        else ""
    )
    return message.text + failed
