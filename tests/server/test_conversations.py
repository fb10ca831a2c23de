"""Conversations over HTTP: row B4 (endpoints), B2 (create, get, list, delete), B5 (active list)."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime

from .client import Client

CONVERSATION = {
    "id", "user_id", "title", "system_prompt", "status", "role_policy", "external_key", "metadata", "head",
    "message_count", "version", "created_at", "updated_at",
}  # fmt: skip


async def test_a_conversation_is_created_with_all_that_it_may_have(ada: Client) -> None:
    """Row B4."""
    given = {
        "title": "Trip",
        "system_prompt": "Be brief.",
        "metadata": {"b": 1, "a": [None, 1.5]},
        "external_key": "telegram:7",
        "role_policy": "lenient",
        "messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}],
    }
    answer = await ada.post("/api/conversations", given)
    assert answer.status == 201
    shown = answer.json
    assert set(shown) == CONVERSATION
    assert {name: shown[name] for name in given if name != "messages"} == {
        name: value for name, value in given.items() if name != "messages"
    }
    assert (shown["user_id"], shown["head"], shown["message_count"], shown["status"]) == (ada.user, 3, 3, "active")
    assert datetime.fromisoformat(shown["created_at"]).tzinfo is not None
    assert answer.headers["location"] == f"/api/conversations/{shown['id']}"
    assert await ada.log(shown["id"]) == [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi")]
    assert (await ada.get(answer.headers["location"])).json == shown


async def test_the_external_key_finds_the_conversation_that_is_there(ada: Client) -> None:
    first = await ada.post("/api/conversations", {"external_key": "k", "title": "one"})
    second = await ada.post("/api/conversations", {"external_key": "k", "title": "two"})
    assert (first.status, second.status) == (201, 200)
    assert second.json == first.json


async def test_the_same_idempotency_key_creates_once(ada: Client) -> None:
    answers = await asyncio.gather(
        *(
            ada.post("/api/conversations", {"title": "one"}, headers={"Idempotency-Key": "k"})
            for _ in range(8)
        )
    )  # fmt: skip
    assert {answer.status for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    other = await ada.post("/api/conversations", {"title": "two"}, headers={"Idempotency-Key": "k"})
    assert (other.status, other.code) == (422, "idempotency_key_reused")


async def test_lists_go_page_by_page_newest_activity_first(ada: Client) -> None:
    """Row B2 (skip and limit)."""
    made = [await ada.create(title=str(n)) for n in range(5)]
    await ada.say(made[1], {"role": "user", "content": "Hello"})
    expected = [made[1], made[4], made[3], made[2], made[0]]
    path, found = "/api/conversations?limit=2", []
    while True:
        page = (await ada.get(path)).json
        assert set(page) == {"items", "next_cursor", "has_more"}
        assert page["has_more"] is (page["next_cursor"] is not None)
        found += [item["id"] for item in page["items"]]
        if not page["has_more"]:
            break
        path = f"/api/conversations?limit=2&cursor={page['next_cursor']}"
    assert found == expected
    skipped = (await ada.get("/api/conversations?skip=1&limit=2")).json
    assert [item["id"] for item in skipped["items"]] == expected[1:3]
    assert (await ada.get("/api/conversations?status=archived")).json["items"] == []


async def test_active_is_a_list_and_not_an_id(ada: Client) -> None:
    """Row B5; the documents' own sample answered 404 here."""
    made = [await ada.create() for _ in range(12)]
    answer = await ada.get("/api/conversations/active")
    assert answer.status == 200
    assert [item["id"] for item in answer.json["items"]] == made[:1:-1]
    assert answer.json["has_more"] is True


async def test_the_etag_is_the_version_and_guards_deletion(ada: Client) -> None:
    conversation = await ada.create()
    path = f"/api/conversations/{conversation}"
    before = await ada.get(path)
    assert re.fullmatch(r'"\d+"', before.headers["etag"])
    assert before.headers["etag"] == f'"{before.json["version"]}"'
    await ada.say(conversation, {"role": "user", "content": "Hello"})
    refused = await ada.send("DELETE", path, headers={"If-Match": before.headers["etag"]})
    assert (refused.status, refused.code) == (412, "version_mismatch")
    now = (await ada.get(path)).headers["etag"]
    assert refused.json["version"] == int(now.strip('"'))
    gone = await ada.send("DELETE", path, headers={"If-Match": now})
    assert (gone.status, gone.content) == (204, b"")


async def test_a_tag_that_keepsay_never_gave_out_is_refused(ada: Client) -> None:
    conversation = await ada.create()
    for tag in ("1", '"x"', 'W/"1"', '"1", "2"', '"99999999999"'):
        answer = await ada.send("DELETE", f"/api/conversations/{conversation}", headers={"If-Match": tag})
        assert (answer.status, answer.code, answer.json["field"]) == (422, "invalid_input", "If-Match")
    answer = await ada.send("DELETE", f"/api/conversations/{conversation}", headers={"If-Match": "*"})
    assert answer.status == 204


async def test_deleted_is_gone_softly_and_hard(ada: Client) -> None:
    for query in ("", "?hard=false", "?hard=true"):
        conversation = await ada.create(external_key=f"k{query}")
        path = f"/api/conversations/{conversation}"
        assert (await ada.send("DELETE", path + query)).status == 204
        assert (await ada.get(path)).code == "not_found"
        assert (await ada.send("DELETE", path + query)).code == "not_found"
        assert (await ada.say(conversation, {"role": "user", "content": "Hello"})).code == "not_found"
        assert (await ada.get(f"{path}/messages")).code == "not_found"
    assert (await ada.get("/api/conversations")).json["items"] == []


async def test_without_a_header_the_user_is_local(ada: Client) -> None:
    anybody = Client(ada.app, None)
    assert (await anybody.post("/api/conversations", {})).json["user_id"] == "local"
