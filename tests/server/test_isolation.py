"""Another user's things look as absent ones do, byte for byte, whatever else is wrong with the question.

``isolation/`` asks every route with ids in every place; here are questions that something else is wrong with, too.
"""

from __future__ import annotations

from uuid import UUID

from keepsay import Keepsay
from keepsay.model.ids import ConversationId, message_id

from .client import Answer, Client, connect

ABSENT = "018f0000-0000-7000-8000-000000000000"
HELLO = {"role": "user", "content": "Hello"}


async def _try_all(client: Client, conversation: str) -> list[Answer]:
    """Everything that can be asked of a conversation."""
    path = f"/api/conversations/{conversation}"
    return [
        await client.get(path),
        await client.get(path, headers={"If-None-Match": "*"}),
        await client.send("PATCH", path, {}),
        await client.send("PATCH", path, {"title": "mine"}, headers={"If-Match": '"9"'}),
        await client.get(f"{path}/window?explain=true"),
        await client.get(f"{path}/status"),
        await client.post(f"{path}/fork", {"at_seq": 9}),
        await client.post(f"{path}/fork", {}, headers={"Idempotency-Key": "k"}),
        await client.post(f"{path}/rewind", {"at_seq": 0}, headers={"If-Match": '"9"'}),
        await client.send("DELETE", f"{path}/messages/{message_id(ConversationId(UUID(conversation)), 1)}"),
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
