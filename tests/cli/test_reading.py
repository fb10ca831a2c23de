"""``keepsay ls`` and ``keepsay show``."""

from __future__ import annotations

import json

from keepsay import Keepsay, assistant, tool
from keepsay.model.json_text import JsonObject, JsonValue

from .program import keepsay

CALL: JsonObject = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"city":"Lisbon"}'}}],
}


async def test_ls_lists_the_newest_activity_first_page_by_page(ks: Keepsay, url: str) -> None:
    ann = ks.user("ann")
    made = [await ann.create(title=f"Talk {n}") for n in range(3)]
    await ann.append(made[0].id, "hello")
    first = keepsay("ls", "--user", "ann", "--limit", "2", DATABASE_URL=url)
    lines = first.out.splitlines()
    assert lines[0].split() == ["ID", "STATUS", "HEAD", "LAST", "ACTIVITY", "TITLE"]
    assert [line.split()[0] for line in lines[1:]] == [str(made[0].id), str(made[2].id)]
    assert lines[1].endswith("Talk 0")
    cursor = first.err.split("--cursor ")[1].strip()
    rest = keepsay("ls", "--user", "ann", "--cursor", cursor, "--json", DATABASE_URL=url).json
    assert isinstance(rest["items"], list)
    assert [each["id"] for each in rest["items"] if isinstance(each, dict)] == [str(made[1].id)]
    assert (rest["next_cursor"], rest["has_more"]) == (None, False)
    assert keepsay("ls", "--user", "ann", "--cursor", "nonsense", DATABASE_URL=url).code == 2


async def test_ls_takes_a_status_and_the_user_from_the_environment(ks: Keepsay, url: str) -> None:
    conversation = await ks.user("ann").create(title="Old")
    await ks.user("ann").update(conversation.id, status="archived")
    there = {"DATABASE_URL": url, "KEEPSAY_USER": "ann"}
    assert "Old" in keepsay("ls", "--status", "archived", **there).out
    active = keepsay("ls", "--status", "active", **there)
    assert (active.code, active.out, active.err) == (0, "", "There are no conversations.\n")
    assert keepsay("ls", "--status", "asleep", **there).code == 2


async def test_without_a_user_ls_lists_users(ks: Keepsay, url: str) -> None:
    for user in ("ann", "bob", "çem"):
        await ks.user(user).create()
    assert keepsay("ls", DATABASE_URL=url).out == "ann\nbob\nçem\n"
    page = keepsay("ls", "--limit", "2", "--json", DATABASE_URL=url).json
    assert page == {"items": [{"user_id": "ann"}, {"user_id": "bob"}], "next_cursor": "bob", "has_more": True}
    assert keepsay("ls", "--cursor", "bob", DATABASE_URL=url).out == "çem\n"


async def test_show_is_a_transcript_that_cannot_drive_the_terminal(ks: Keepsay, url: str) -> None:
    ann = ks.user("ann")
    conversation = await ann.create(title="Trip\x1b[31m", system_prompt="Be brief.", metadata={"a": "\x07"})
    parts: list[JsonValue] = [{"type": "text", "text": "In Portugal"}, {"type": "image_url", "image_url": {"url": "x"}}]
    await ann.append(conversation.id, "Where\x1b[2J is\tit?\nSecond line", CALL, tool("c1", "found"), assistant(parts))
    await ann.delete_message(conversation.id, 5)
    ran = keepsay("show", str(conversation.id), "--user", "ann", DATABASE_URL=url)
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "\x07" not in ran.out
    told = [line.split("  2")[0] for line in ran.out.splitlines() if line.startswith("#")]
    assert told == ["#1 system", "#2 user", "#3 assistant", "#4 tool", "#5 assistant"]
    for said in (
        "Trip\\x1b[31m\n",
        "    Where\\x1b[2J is\tit?\n    Second line\n",
        '    -> find({"city":"Lisbon"})  c1\n',
        "[answers c1]\n    found\n",
        "[deleted]\n    (deleted)\n",
    ):
        assert said in ran.out


async def test_show_goes_page_by_page_and_as_json(ks: Keepsay, url: str) -> None:
    conversation = await ks.user("ann").create(messages=["a", assistant("b"), "c"])
    words = ["show", str(conversation.id), "--user", "ann"]
    first = keepsay(*words, "--limit", "2", DATABASE_URL=url)
    assert first.err == "There are more: --after 2\n"
    assert "#3" not in first.out
    shown = keepsay(*words, "--after", "2", "--json", DATABASE_URL=url).json
    messages = shown["messages"]
    assert isinstance(messages, dict)
    assert isinstance(messages["items"], list)
    assert [each["content"] for each in messages["items"] if isinstance(each, dict)] == ["c"]
    assert messages["has_more"] is False


async def test_show_tells_what_the_model_would_see_and_why(ks: Keepsay, url: str) -> None:
    conversation = await ks.user("ann").create(
        system_prompt="Be brief.", messages=["a", assistant("b"), "c", assistant("d"), "e"]
    )
    words = ["show", str(conversation.id), "--user", "ann", "--window", "--max-messages", "3"]
    ran = keepsay(*words, DATABASE_URL=url)
    assert "would see 3 messages" in ran.out
    assert "out  #2-#3        older than the limit" in ran.out
    window = keepsay(*words, "--json", DATABASE_URL=url).json["window"]
    assert isinstance(window, dict)
    assert window["messages"] == [
        {"role": "system", "content": "Be brief."},
        *({"role": role, "content": text} for role, text in (("user", "c"), ("assistant", "d"), ("user", "e"))),
    ]
    assert window["truncated"] is True
    assert {"first_seq": 2, "last_seq": 3, "included": False, "reason": "older_than_the_limit"} in json.loads(
        json.dumps(window["explain"])
    )
    assert keepsay(*words[:4], "--max-tokens", "9", DATABASE_URL=url).code == 2


async def test_another_users_conversation_is_not_found(ks: Keepsay, url: str) -> None:
    conversation = await ks.user("ann").create()
    for wanted in (str(conversation.id), "nonsense"):
        ran = keepsay("show", wanted, "--user", "eve", DATABASE_URL=url)
        assert (ran.code, ran.out, ran.err) == (1, "", "error: No such conversation.\n")
