"""The OpenAPI document and the page that shows it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from keepsay import Keepsay

from .client import Client, connect

OPERATIONS = {
    "healthz", "readyz", "createConversation", "listConversations", "listActiveConversations", "getConversation",
    "updateConversation", "deleteConversation", "getWindow", "getStatus", "forkConversation", "rewindConversation",
    "appendMessages", "listMessages", "deleteMessage", "continueConversation", "chat", "session", "runAgent", "getRun",
    "cancelRun", "eraseUser", "exportUser", "listUsers", "metrics",
}  # fmt: skip


@pytest.fixture
def ada(keepsay: Keepsay) -> Client:
    """A new user of an app that has everything."""
    return connect(keepsay, operators=True)


async def _document(ada: Client) -> Any:
    return (await ada.get("/openapi.json")).json


async def test_operations_have_stable_ids_and_words(ada: Client) -> None:
    document = await _document(ada)
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert {operation["operationId"] for operation in operations} == OPERATIONS
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        refusals = [answer for status, answer in operation["responses"].items() if status >= "4"]
        assert refusals
        assert all(answer["content"].keys() == {"application/problem+json"} for answer in refusals)
        assert "HTTPValidationError" not in str(operation)


async def test_every_reference_leads_somewhere_and_every_schema_is_used(ada: Client) -> None:
    document = await _document(ada)
    schemas = document["components"]["schemas"]
    used = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert used == set(schemas)


async def test_bodies_are_closed_and_have_examples(ada: Client) -> None:
    document = await _document(ada)
    schemas = document["components"]["schemas"]
    for name in (
        "NewConversation",
        "ConversationChanges",
        "Fork",
        "Rewind",
        "Continue",
        "Chat",
        "SessionRequest",
        "RunRequest",
    ):
        assert schemas[name]["additionalProperties"] is False
        assert schemas[name]["examples"]
    for name, schema in schemas.items():
        for example in schema.get("examples", []):
            if "properties" in schema and name != "Problem":
                assert set(schema.get("required", [])) <= set(example) <= set(schema["properties"]), name


async def test_the_examples_work(ada: Client) -> None:
    schemas = (await _document(ada))["components"]["schemas"]
    conversation = await ada.create()
    examples = {
        "/api/conversations": "NewConversation",
        f"/api/conversations/{conversation}/continue": "Continue",
        f"/api/{ada.user}/chat": "Chat",
    }
    for path, name in examples.items():
        assert (await ada.post(path, schemas[name]["examples"][0])).status in (200, 201)
    run = await ada.post(f"/api/conversations/{conversation}/runs", schemas["RunRequest"]["examples"][0])
    assert run.status == 202
    await ada.post(run.headers["location"] + "/cancel")
    session = schemas["SessionRequest"]["examples"][0] | {"user_id": ada.user}
    assert (await ada.post("/api/session", session)).status == 200
    change = schemas["ConversationChanges"]["examples"][0]
    assert (await ada.send("PATCH", f"/api/conversations/{conversation}", change)).status == 200
    for verb in ("fork", "rewind"):
        example = schemas[verb.capitalize()]["examples"][0]
        assert (await ada.post(f"/api/conversations/{conversation}/{verb}", example)).status in (200, 201)
    hello = {"role": "user", "content": "Hello"}
    for name in ("NewMessage", "NewMessages"):
        fresh = await ada.create(messages=[hello, hello | {"role": "assistant"}][: 2 if name == "NewMessage" else 0])
        example = schemas[name]["examples"][0]
        if name == "NewMessages":
            example = example | {"expected_seq": 0}
        assert (await ada.post(f"/api/conversations/{fresh}/messages", example)).status == 201


async def test_answers_are_as_the_document_says(ada: Client) -> None:
    schemas = (await _document(ada))["components"]["schemas"]
    conversation = await ada.post("/api/conversations", {})
    path = f"/api/conversations/{conversation.json['id']}"
    answers = {
        "Conversation": conversation,
        "Continued": await ada.post(f"{path}/continue", {"message": "Hello"}),
        "AnsweredRun": await ada.post(f"{path}/runs", {"message": "Hello"}),
        "BegunRun": await ada.post(
            f"/api/conversations/{await ada.create()}/runs", {"message": "Hi", "background": True}
        ),
        "Appended": await ada.post(f"{path}/messages", {"role": "user", "content": "Hello"}),
        "MessagePage": await ada.get(f"{path}/messages"),
        "ConversationPage": await ada.get("/api/conversations"),
        "Chatted": await ada.post(f"/api/{ada.user}/chat", {"message": "Hello"}),
        "Session": await ada.post("/api/session", {"user_id": ada.user}),
        "Window": await ada.get(f"{path}/window?explain=true"),
        "Standing": await ada.get(f"{path}/status"),
        "UserPage": await ada.get("/api/admin/users", headers={"X-Keepsay-Operator": "true"}),
        "Erased": await ada.send("DELETE", f"/api/users/{ada.user}"),
        "Health": await ada.get("/healthz"),
        "Problem": await ada.get("/nope"),
    }
    shown = {name: answer.json for name, answer in answers.items()}
    shown["Message"] = shown["Continued"]["message"]
    shown["Run"] = shown["AnsweredRun"]["run"]
    for name, found in shown.items():
        assert set(schemas[name]["required"]) <= set(found) <= set(schemas[name]["properties"]), name


async def test_what_is_not_there_is_not_documented(keepsay: Keepsay) -> None:
    document = await _document(connect(keepsay))
    assert [path for path in document["paths"] if "admin" in path] == []


async def test_the_documentation_needs_nothing_from_elsewhere(ada: Client) -> None:
    answer = await ada.get("/docs")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.findall(rb"(?:src|href)\s*=\s*[\"'](?!data:|/)", answer.content)
    assert b"http://" not in answer.content
    assert b"https://" not in answer.content
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    root = await ada.get("/")
    assert (root.status, root.headers["location"]) == (307, "/docs")
