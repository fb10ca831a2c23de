"""A payload comes back as it went in, over HTTP: keys in order, NUL characters and lone surrogates included."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keepsay import Keepsay

from .client import Client, connect

TEXTS = st.text(st.characters(codec=None), max_size=30) | st.sampled_from(
    ["\0", "\ud800", "\udfff", "\\u0000", "\u2028", "\U0001f600"]
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
EXTRAS = st.dictionaries(
    TEXTS.filter(lambda name: name not in {"payload", "metadata", "role", "content"}), VALUES, max_size=4
)


def _canonical(value: object) -> str:
    """The JSON text, by which key order, 1 and 1.0, and True and 1 differ; two halves that meet are one character."""
    return json.dumps(json.loads(json.dumps(value)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.dictionaries(TEXTS, VALUES, max_size=5))
async def test_any_payload_comes_back_equal(keepsay: Keepsay, payload: dict[str, Any]) -> None:
    ada = connect(keepsay)
    conversation = await ada.create(role_policy="open")
    appended = await ada.say(conversation, {"payload": payload, "format": "mine"})
    assert appended.status == 201, appended.content
    read = (await ada.get(f"/api/conversations/{conversation}/messages")).json["items"]
    assert read == appended.json["messages"]
    assert _canonical(read[0]["payload"]) == _canonical(payload)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=TEXTS, extras=EXTRAS)
async def test_a_chat_message_comes_back_equal(keepsay: Keepsay, content: str, extras: dict[str, Any]) -> None:
    ada = connect(keepsay)
    message = {"role": "user", "content": content} | extras
    appended = await ada.say(await ada.create(), message)
    assert appended.status == 201, appended.content
    [stored] = appended.json["messages"]
    assert _canonical(stored["content"]) == _canonical(content)
    if extras.keys() - {"name", "tool_calls"}:
        assert _canonical(stored["payload"]) == _canonical(message)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=TEXTS.filter(lambda text: bool(text.strip())))
async def test_a_chat_echoes_any_text(keepsay: Keepsay, message: str) -> None:
    ada = connect(keepsay)
    answer = await ada.post(f"/api/{ada.user}/chat", {"message": message, "request_id": "r"})
    assert answer.status == 200, answer.content
    assert answer.json["response"].startswith(f"You said: {json.loads(json.dumps(message))}\n")
    log = await ada.log(answer.json["conversation_id"])
    assert log[0] == ("user", json.loads(json.dumps(message)))


async def test_the_session_keeps_it_too(ada: Client) -> None:
    context = [{"role": "user", "content": "\0\ud800", "z": 1, "a": [2**63 - 1, 1.0]}]
    answer = await ada.post("/api/session", {"user_id": ada.user, "context": context})
    assert _canonical(answer.json["context_history"]) == _canonical(context)
