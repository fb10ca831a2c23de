"""The OpenAPI document and the page that shows it."""

from __future__ import annotations

import re
from typing import Any

from .client import Client

OPERATIONS = {
    "healthz", "readyz", "createConversation", "listConversations", "listActiveConversations", "getConversation",
    "deleteConversation", "appendMessages", "listMessages", "continueConversation", "chat", "session",
}  # fmt: skip


async def _document(ada: Client) -> Any:
    return (await ada.get("/openapi.json")).json


async def test_operations_have_stable_ids_and_words(ada: Client) -> None:
    document = await _document(ada)
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert {operation["operationId"] for operation in operations} == OPERATIONS
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        assert operation["responses"]["default"]["content"].keys() == {"application/problem+json"}
        assert "HTTPValidationError" not in str(operation)


async def test_every_reference_leads_somewhere_and_every_schema_is_used(ada: Client) -> None:
    document = await _document(ada)
    schemas = document["components"]["schemas"]
    used = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert used == set(schemas)


async def test_bodies_are_closed_and_have_examples(ada: Client) -> None:
    document = await _document(ada)
    schemas = document["components"]["schemas"]
    for name in ("NewConversation", "Continue", "Chat", "SessionRequest"):
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
    session = schemas["SessionRequest"]["examples"][0] | {"user_id": ada.user}
    assert (await ada.post("/api/session", session)).status == 200
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
        "Appended": await ada.post(f"{path}/messages", {"role": "user", "content": "Hello"}),
        "MessagePage": await ada.get(f"{path}/messages"),
        "ConversationPage": await ada.get("/api/conversations"),
        "Chatted": await ada.post(f"/api/{ada.user}/chat", {"message": "Hello"}),
        "Session": await ada.post("/api/session", {"user_id": ada.user}),
        "Health": await ada.get("/healthz"),
        "Problem": await ada.get("/nope"),
    }
    shown = {name: answer.json for name, answer in answers.items()}
    shown["Message"] = shown["Continued"]["message"]
    for name, found in shown.items():
        assert set(schemas[name]["required"]) <= set(found) <= set(schemas[name]["properties"]), name


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
