"""Another user's things look as absent ones do, byte for byte: rows B4 and C1 (404 and not 403)."""

from __future__ import annotations

import pytest

from keepsay import Keepsay

from .client import Answer, Client, connect, new_user

ABSENT = "018f0000-0000-7000-8000-000000000000"
HELLO = {"role": "user", "content": "Hello"}


async def _try_all(client: Client, conversation: str) -> list[Answer]:
    """Everything that can be asked of a conversation."""
    path = f"/api/conversations/{conversation}"
    return [
        await client.get(path),
        await client.send("DELETE", path),
        await client.send("DELETE", f"{path}?hard=true", headers={"If-Match": '"1"'}),
        await client.get(f"{path}/messages"),
        await client.get(f"{path}/messages?after=1&order=desc"),
        await client.post(f"{path}/messages", HELLO),
        await client.post(f"{path}/messages", HELLO | {"expected_seq": 9}, headers={"Idempotency-Key": "k"}),
        await client.post(f"{path}/messages", {"role": "assistant", "content": "out of order"}),
        await client.post(f"{path}/continue", {"message": "Hello"}),
        await client.post(f"{path}/continue", {"message": "Hello", "request_id": "r"}),
        await client.post(f"/api/{client.user}/chat", {"message": "Hello", "conversation_id": conversation}),
        await client.post("/api/session", {"user_id": client.user, "session_id": conversation}),
        await client.post("/api/session", {"user_id": client.user, "session_id": conversation, "context": "Hello"}),
    ]


async def test_absent_deleted_and_foreign_are_equal_byte_for_byte(keepsay: Keepsay, ada: Client) -> None:
    foreign = await connect(keepsay).create(messages=[HELLO], title="secret")
    deleted = await ada.create(messages=[HELLO])
    await ada.send("DELETE", f"/api/conversations/{deleted}")
    absent_answers = await _try_all(ada, ABSENT)
    for answer in absent_answers:
        assert (answer.status, answer.code) == (404, "not_found")
    for conversation in (foreign, deleted):
        for absent, other in zip(absent_answers, await _try_all(ada, conversation), strict=True):
            assert (other.status, other.content) == (absent.status, absent.content)
            assert _known(other) == _known(absent)


def _known(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "x-request-id"}


async def test_nothing_that_a_stranger_tries_changes_anything(keepsay: Keepsay, ada: Client) -> None:
    conversation = await ada.create(messages=[HELLO])
    before = (await ada.get(f"/api/conversations/{conversation}")).content
    await _try_all(connect(keepsay), conversation)
    assert (await ada.get(f"/api/conversations/{conversation}")).content == before
    assert await ada.log(conversation) == [("user", "Hello")]


@pytest.mark.parametrize("path", ["/api/{other}/chat", "/api/session"])
async def test_nobody_acts_as_another_user(ada: Client, path: str) -> None:
    """Rows B4, C2: the user of the path, or of the body, is the one who asks; 404 otherwise."""
    other = new_user()
    body = {"user_id": other, "context": "x"} if "session" in path else {"message": "x"}
    answer = await ada.post(path.format(other=other), body)
    assert (answer.status, answer.code) == (404, "not_found")
    assert (await Client(ada.app, other).get("/api/conversations")).json["items"] == []


async def test_equal_keys_of_two_users_are_two_keys(keepsay: Keepsay) -> None:
    keyed = {"Idempotency-Key": "k"}
    made = [await connect(keepsay).post("/api/conversations", {"external_key": "e"}, headers=keyed) for _ in range(2)]
    assert [answer.status for answer in made] == [201, 201]
    assert made[0].json["id"] != made[1].json["id"]
    chats = [connect(keepsay) for _ in range(2)]
    answers = [await one.post(f"/api/{one.user}/chat", {"message": "Hello", "request_id": "r"}) for one in chats]
    assert len({answer.json["conversation_id"] for answer in answers}) == 2


async def test_lists_hold_the_users_own_alone(keepsay: Keepsay, ada: Client) -> None:
    await connect(keepsay).create()
    mine = await ada.create()
    for path in ("/api/conversations", "/api/conversations/active"):
        assert [item["id"] for item in (await ada.get(path)).json["items"]] == [mine]
