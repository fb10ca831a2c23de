"""What an agent may be: a function or an async one, a generator, a module's, an upstream's."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from keepsay import ConfigurationError
from keepsay.model.ids import ConversationId, RunId, UserId
from keepsay.model.json_text import JsonObject
from keepsay.server import Agent, AgentContext, Settings, echo
from keepsay.server.agents import ask, load_agent

Messages = list[JsonObject]
HELLO: Messages = [{"role": "user", "content": "Hello"}]
CONTEXT = AgentContext(UserId("ada"), ConversationId(UUID(int=1)), RunId(UUID(int=2)), 1)


async def said(agent: Agent, messages: Messages = HELLO) -> list[Any]:
    return [message.payload["content"] for message in await ask(agent, messages, CONTEXT)]


def sync_agent(messages: Messages) -> str:
    return f"{len(messages)} in {threading.current_thread() is threading.main_thread()}"


async def async_agent(messages: Messages) -> str:
    return f"{len(messages)} in {threading.current_thread() is threading.main_thread()}"


def generator_agent(messages: Messages) -> Iterator[str]:
    yield from ("a", "b", "")


async def async_generator_agent(messages: Messages) -> AsyncIterator[str]:
    for part in ("a", "b", ""):
        yield part


class CallableAgent:
    async def __call__(self, messages: Messages) -> str:
        return "object"


class StreamingAgent:
    async def __call__(self, messages: Messages) -> AsyncIterator[str]:
        return async_generator_agent(messages)


class PydanticLike:
    def model_dump(self, *, mode: str, exclude_none: bool) -> JsonObject:
        return {"role": "assistant", "content": f"{mode} {exclude_none}"}


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (sync_agent, "1 in False"),
        (async_agent, "1 in True"),
        (partial(async_agent), "1 in True"),
        (generator_agent, "ab"),
        (async_generator_agent, "ab"),
        (CallableAgent(), "object"),
        (StreamingAgent(), "ab"),
        (lambda messages: async_agent(messages), "1 in True"),
        (lambda messages: {"role": "assistant", "content": "dict"}, "dict"),
        (lambda messages: PydanticLike(), "json True"),
        (lambda messages: ["a text in a list"], "a text in a list"),
    ],
)
async def test_an_agent_is_any_callable(agent: Agent, expected: str) -> None:
    assert await said(agent) == [expected]


async def test_a_parameter_named_context_gets_the_context() -> None:
    async def by_place(messages: Messages, context: AgentContext) -> str:
        return context.user_id

    def by_name(messages: Messages, *, context: AgentContext) -> str:
        return str(context.attempt)

    def another(messages: Messages, temperature: float = 0.5) -> str:
        return str(temperature)

    assert [await said(agent) for agent in (by_place, by_name, another)] == [["ada"], ["1"], ["0.5"]]


@pytest.mark.parametrize("wrong", [lambda messages: iter([b"bytes"]), lambda messages: object(), lambda messages: [1]])
async def test_anything_else_is_refused(wrong: Agent) -> None:
    with pytest.raises(TypeError):
        await said(wrong)


async def test_a_blocking_agent_does_not_block_the_server() -> None:
    released = threading.Event()
    waiting = asyncio.create_task(said(lambda messages: "late" if released.wait(10) else "never"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    released.set()
    assert await waiting == ["late"]


def test_echo_is_deterministic_and_shows_that_it_remembers() -> None:
    long = "x" * 100
    history: Messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": long}]},
    ]
    assert echo(history) == f"You said: {long}\nThis is where our conversation begins."
    history += [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "\ud800?"}]
    assert echo(history) == (
        f"You said: \ud800?\nI remember 2 messages before it. The first thing you told me: {'x' * 60}..."
    )


def test_an_agent_is_imported_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_agent_module.py").write_text(
        "class Box:\n    @staticmethod\n    def answer(messages): return 'x'\n"
    )
    (tmp_path / "my_broken_module.py").write_text("import no_such_thing\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    settings = Settings()
    assert load_agent("my_agent_module:Box.answer", settings)([]) == "x"
    for name in ("nothing", ":", "my_agent_module:", "my_agent_module:other", "no_such_thing:f", "my_broken_module:f"):
        with pytest.raises(ConfigurationError):
            load_agent(name, settings)
    with pytest.raises(ConfigurationError, match="not callable"):
        load_agent("sys:path", settings)


class Upstream(BaseHTTPRequestHandler):
    """A stand-in for an OpenAI-compatible upstream."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = f"{asked['model']} {self.headers['Authorization']} {self.path} {len(asked['messages'])}"
        message = {"role": "assistant", "content": content, "refusal": None}
        body = json.dumps(
            {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        """Quiet."""


async def test_the_openai_agent_asks_any_compatible_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "must-not-leave")
    upstream = HTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{upstream.server_port}/v1"
    try:
        for key, sent in ((None, "none"), (SecretStr("k"), "k")):
            agent: Any = load_agent(
                "openai",
                Settings(agent_base_url=url, agent_model="m", agent_api_key=key, agent_system_prompt="Be brief."),
            )
            [message] = await ask(agent, HELLO, CONTEXT)
            content = f"m Bearer {sent} /v1/chat/completions 2"
            assert message.payload == {"role": "assistant", "content": content}
            await agent.aclose()
    finally:
        upstream.shutdown()
        upstream.server_close()


def test_the_openai_agent_needs_a_model() -> None:
    with pytest.raises(ConfigurationError, match="KEEPSAY_AGENT_MODEL"):
        load_agent("openai", Settings())


def test_echo_answers_though_nothing_was_said() -> None:
    assert echo([]) == echo([{"role": "system", "content": "Be brief."}]) == "You have not said anything yet."
