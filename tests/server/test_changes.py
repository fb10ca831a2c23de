"""Changing a conversation, and conditional requests by its version: rows B2 and B4."""

from __future__ import annotations

from typing import Any

import pytest

from .client import Client


async def _path(client: Client, **fields: object) -> str:
    return f"/api/conversations/{await client.create(**fields)}"


async def test_the_given_fields_change_and_the_others_stay(ada: Client) -> None:
    path = await _path(ada, title="Trip", metadata={"a": 1, "b": {"c": 2}}, external_key="k")
    before = await ada.get(path)
    for change, expected in (
        ({"title": "Tour"}, {"title": "Tour"}),
        ({"status": "archived"}, {"status": "archived"}),
        ({"metadata": {"z": None}}, {"metadata": {"z": None}}),
        ({"title": None, "status": "active", "metadata": {}}, {"title": None, "status": "active", "metadata": {}}),
    ):
        changed = await ada.send("PATCH", path, change)
        assert changed.status == 200
        assert {name: changed.json[name] for name in expected} == expected
        assert changed.headers["etag"] == f'"{changed.json["version"]}"'
        assert changed.content == (await ada.get(path)).content
    left = {"title", "status", "metadata", "version", "updated_at"}
    assert {name: value for name, value in changed.json.items() if name not in left} == {
        name: value for name, value in before.json.items() if name not in left
    }
    assert changed.json["version"] == before.json["version"] + 4


async def test_archived_conversations_are_listed_apart(ada: Client) -> None:
    path = await _path(ada)
    await ada.send("PATCH", path, {"status": "archived"})
    assert (await ada.get("/api/conversations/active")).json["items"] == []
    [archived] = (await ada.get("/api/conversations?status=archived")).json["items"]
    assert path.endswith(archived["id"])
    assert (await ada.post(f"{path}/messages", {"role": "user", "content": "Hello"})).status == 201


async def test_an_empty_change_changes_nothing(ada: Client) -> None:
    path = await _path(ada, title="Trip")
    before = await ada.get(path)
    same = await ada.send("PATCH", path, {})
    assert (same.status, same.content, same.headers["etag"]) == (200, before.content, before.headers["etag"])
    refused = await ada.send("PATCH", path, {}, headers={"If-Match": '"9"'})
    assert (refused.status, refused.code, refused.json["version"]) == (412, "version_mismatch", 1)
    absent = await ada.send("PATCH", "/api/conversations/018f0000-0000-7000-8000-000000000000", {})
    assert (absent.status, absent.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"status": None}, "status"),
        ({"status": "deleted"}, "status"),
        ({"status": 1}, "status"),
        ({"metadata": None}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": "\0"}}, "metadata"),
        ({"title": 7}, "title"),
        ({"title": "x" * 256}, "title"),
        ({"titel": "Trip"}, "titel"),
        ({"role_policy": "open"}, "role_policy"),
        ({"external_key": "k"}, "external_key"),
    ],
)
async def test_a_bad_change_is_refused_by_name_and_nothing_changes(
    ada: Client, change: dict[str, Any], field: str
) -> None:
    path = await _path(ada, title="Trip", metadata={"a": 1})
    before = await ada.get(path)
    refused = await ada.send("PATCH", path, {"title": "Tour"} | change)
    assert (refused.status, refused.json["field"], refused.json["outcome"]) == (422, field, "not_applied")
    assert (await ada.get(path)).content == before.content


async def test_if_match_keeps_one_change_from_undoing_another(ada: Client) -> None:
    path = await _path(ada)
    tag = (await ada.get(path)).headers["etag"]
    first = await ada.send("PATCH", path, {"title": "mine"}, headers={"If-Match": tag})
    second = await ada.send("PATCH", path, {"title": "yours"}, headers={"If-Match": tag})
    assert first.status == 200
    assert (second.status, second.code) == (412, "version_mismatch")
    assert (second.json["expected"], second.json["version"]) == (1, first.json["version"])
    assert (await ada.get(path)).json["title"] == "mine"
    anyway = await ada.send("PATCH", path, {"title": "ours"}, headers={"If-Match": "*"})
    assert (anyway.status, anyway.json["title"]) == (200, "ours")
    malformed = await ada.send("PATCH", path, {"title": "x"}, headers={"If-Match": 'W/"1"'})
    assert (malformed.status, malformed.code, malformed.json["field"]) == (422, "invalid_input", "If-Match")


async def test_who_has_the_version_is_told_that_nothing_is_new(ada: Client) -> None:
    path = await _path(ada)
    tag = (await ada.get(path)).headers["etag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        same = await ada.get(path, headers={"If-None-Match": known})
        assert (same.status, same.content, same.headers["etag"]) == (304, b"", tag)
    await ada.post(f"{path}/messages", {"role": "user", "content": "Hello"})
    for stale in (tag, "nonsense", '"1", "9"'):
        news = await ada.get(path, headers={"If-None-Match": stale})
        assert (news.status, news.json["head"]) == (200, 1)
        assert news.headers["etag"] != tag


async def test_a_head_tells_the_version_alone(ada: Client) -> None:
    path = await _path(ada)
    answer = await ada.send("HEAD", path)
    assert (answer.status, answer.headers["etag"]) == (200, '"1"')
    assert (await ada.send("HEAD", path, headers={"If-None-Match": '"1"'})).status == 304
    assert (await ada.send("HEAD", "/api/conversations/018f0000-0000-7000-8000-000000000000")).status == 404
