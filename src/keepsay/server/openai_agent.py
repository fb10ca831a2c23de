"""The agent ``openai``: any upstream that speaks OpenAI Chat Completions (OpenAI, Ollama, vLLM, a gateway, ...)."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Self, cast

from keepsay.errors import ConfigurationError
from keepsay.model.json_text import JsonObject
from keepsay.server.settings import Settings

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionMessageParam

__all__ = ["OpenAIAgent"]


class OpenAIAgent:
    """Asks a model through the ``openai`` package, which is imported with the first question."""

    def __init__(self, *, base_url: str, api_key: str | None, model: str, system_prompt: str | None) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._model = model
        self._system_prompt = system_prompt
        self._client: AsyncOpenAI | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The agent of these settings. Raises ``ConfigurationError`` for what is missing, the package included."""
        if importlib.util.find_spec("openai") is None:
            raise ConfigurationError("The agent 'openai' needs the package: pip install 'keepsay[openai]'.")
        if settings.agent_model is None:
            raise ConfigurationError("The agent 'openai' needs a model: set KEEPSAY_AGENT_MODEL.")
        return cls(
            base_url=settings.agent_base_url,
            api_key=settings.agent_api_key.get_secret_value() if settings.agent_api_key else None,
            model=settings.agent_model,
            system_prompt=settings.agent_system_prompt,
        )

    async def __call__(self, messages: list[JsonObject]) -> JsonObject:
        """The model's message, verbatim but for fields that are null."""
        if self._system_prompt is not None and not any(message.get("role") == "system" for message in messages):
            messages = [{"role": "system", "content": self._system_prompt}, *messages]
        completion = await self._open().chat.completions.create(
            model=self._model, messages=cast("list[ChatCompletionMessageParam]", messages)
        )
        shown: JsonObject = completion.choices[0].message.model_dump(mode="json", exclude_none=True)
        return shown

    def _open(self) -> AsyncOpenAI:
        if self._client is None:
            from openai import AsyncOpenAI

            # A key is always given: without one the package takes OPENAI_API_KEY, and may send it to another host.
            self._client = AsyncOpenAI(base_url=self._base_url, api_key=self._api_key or "none")
        return self._client

    async def aclose(self) -> None:
        """Close the connections to the upstream."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
