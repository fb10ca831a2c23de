"""``keepsay session``: JSON in, JSON out, errors too."""

from __future__ import annotations

import json

from keepsay.model import limits

from .program import NOWHERE, keepsay


def test_a_session_is_made_and_gone_on_with(url: str) -> None:
    made = keepsay("session", stdin='{"user_id": "ann", "context": "hello"}', DATABASE_URL=url).json
    assert made == {
        "session_id": made["session_id"],
        "created": True,
        "context_history": [{"role": "user", "content": "hello"}],
        "head": 1,
        "truncated": False,
    }
    request = {"user_id": "ann", "session_id": made["session_id"], "context": {"role": "assistant", "content": "hi"}}
    after = keepsay("session", stdin=json.dumps(request), DATABASE_URL=url).json
    assert (after["session_id"], after["created"], after["head"]) == (made["session_id"], False, 2)


def test_the_same_key_again_adds_nothing(url: str) -> None:
    request = '{"user_id": "ann", "context": "hello"}'
    first, again = (keepsay("session", "--key", "k1", stdin=request, DATABASE_URL=url).json for _ in range(2))
    assert first["session_id"] == again["session_id"]
    assert first["head"] == again["head"] == 1


def test_text_of_every_kind_comes_back_as_it_was(url: str) -> None:
    text = "NUL \0, half a pair \ud83d, Lisboa é bela, \x1b[2J"
    ran = keepsay("session", stdin=json.dumps({"user_id": "ann", "context": text}), DATABASE_URL=url)
    assert ran.json["context_history"] == [{"role": "user", "content": text}]
    assert ran.out.isascii()


def test_another_users_session_is_not_found(url: str) -> None:
    made = keepsay("session", stdin='{"user_id": "ann", "context": "hello"}', DATABASE_URL=url).json
    request = json.dumps({"user_id": "eve", "session_id": made["session_id"]})
    ran = keepsay("session", stdin=request, DATABASE_URL=url)
    assert ran.code == 1
    assert ran.json == {
        "error": {
            "code": "not_found",
            "message": "No such conversation.",
            "outcome": "not_applied",
            "kind": "conversation",
        }
    }
    assert ran.err == "error: No such conversation.\n"


def test_the_role_order_is_a_conflict_with_its_facts(url: str) -> None:
    request = {"user_id": "ann", "context": {"role": "tool", "tool_call_id": "c1", "content": "?"}}
    ran = keepsay("session", stdin=json.dumps(request), DATABASE_URL=url)
    assert ran.code == 4
    error = ran.json["error"]
    assert isinstance(error, dict)
    assert (error["code"], error["attempted_role"]) == ("role_ordering_violation", "tool")


def test_what_is_no_request_is_refused_before_a_database_is_asked() -> None:
    for stdin, code in (
        ("", "malformed_json"),
        ('{"user_id": ', "malformed_json"),
        (b"\xff", "malformed_json"),
        ("[]", "invalid_input"),
        ('{"user_id": 7}', "invalid_input"),
        ('{"user_id": "ann", "contex": "typo"}', "invalid_input"),
        ("[" * 100_000, "too_large"),
        ('"' + "x" * limits.BODY_BYTES + '"', "too_large"),
    ):
        ran = keepsay("session", stdin=stdin, DATABASE_URL=NOWHERE)
        error = ran.json["error"]
        assert isinstance(error, dict)
        assert (ran.code, error["code"]) == (2, code)
        assert ran.err.startswith("error: ")
        assert ran.err.count("\n") == 1


def test_an_unreachable_database_is_told_with_what_became_of_the_write() -> None:
    ran = keepsay("session", stdin='{"user_id": "ann", "context": "hello"}', DATABASE_URL=NOWHERE)
    error = ran.json["error"]
    assert isinstance(error, dict)
    assert (ran.code, error["code"], error["outcome"]) == (3, "database_unavailable", "not_applied")
