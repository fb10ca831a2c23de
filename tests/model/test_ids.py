from __future__ import annotations

import hashlib
import unicodedata
from uuid import RFC_4122, UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsay.errors import InvalidInput, NotFound, TooLarge
from keepsay.model.ids import (
    ConversationId,
    Key,
    UserId,
    append_id_for,
    checked_key,
    checked_user_id,
    conversation_id_for,
    message_id,
    parse_conversation_id,
    parse_run_id,
    run_id_for,
    run_id_of,
    run_number,
    seq_of,
    user_key,
)
from keepsay.testing import strategies

LAST_SEQ = 2**31 - 1
SOME = ConversationId(UUID("01890a5d-ac96-774b-bcce-b302099a8057"))

conversations = st.uuids().map(ConversationId)
seqs = st.integers(1, LAST_SEQ)
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30).map(Key)


@settings(max_examples=100, deadline=None)
@given(strategies.user_ids())
def test_a_user_id_by_the_rules_comes_back_as_it_is(text: str) -> None:
    assert checked_user_id(text) == text


@pytest.mark.parametrize(
    "text",
    ["u", "a" * 255, "é" * 127, "😀" * 63, "tenant:user", "a b", "...", " ", "\u00a0", "\u2028", "%2F", "\\", "é"],
)
def test_user_ids_at_the_edge_of_the_rules_are_taken(text: str) -> None:
    assert checked_user_id(text) == text


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "/", "a/b", "/a", "a\0", "\n", "a\x1f", "\x7f", "a\x80", "\x9f", "\ud800", "e\u0301", "\u212b"],
)
def test_user_ids_against_the_rules_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        checked_user_id(text)
    assert caught.value.field == "user_id"


@pytest.mark.parametrize(("text", "size"), [("a" * 256, 256), ("é" * 128, 256), ("😀" * 64, 256)])
def test_a_user_id_of_more_than_255_bytes_is_too_large(text: str, size: int) -> None:
    with pytest.raises(TooLarge) as caught:
        checked_user_id(text)
    assert (caught.value.size, caught.value.limit) == (size, 255)


@pytest.mark.parametrize("value", [None, 1, b"u", ["u"], UUID(int=0)])
def test_a_user_id_is_text(value: object) -> None:
    with pytest.raises(InvalidInput):
        checked_user_id(value)


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=8))
def test_any_text_is_a_user_id_or_invalid_input(text: str) -> None:
    try:
        assert checked_user_id(text) == text
    except InvalidInput:
        assert (
            not text
            or text in {".", ".."}
            or "/" in text
            or not unicodedata.is_normalized("NFC", text)
            or any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)
        )


def test_a_user_key_is_half_of_the_ids_hash() -> None:
    assert user_key(UserId("é")).bytes == hashlib.sha256("é".encode()).digest()[:16]
    assert user_key(UserId("a")) != user_key(UserId("A"))


@settings(max_examples=100, deadline=None)
@given(conversations, seqs)
def test_a_message_id_leads_back_to_its_seq(conversation: ConversationId, seq: int) -> None:
    assert seq_of(conversation, message_id(conversation, seq)) == seq


@settings(max_examples=100, deadline=None)
@given(conversations, conversations, seqs)
def test_a_message_id_of_another_conversation_is_not_found(
    conversation: ConversationId, other: ConversationId, seq: int
) -> None:
    if conversation != other:
        with pytest.raises(NotFound) as caught:
            seq_of(conversation, message_id(other, seq))
        assert caught.value.kind == "message"


@pytest.mark.parametrize("seq", [1, 2, LAST_SEQ])
def test_the_first_and_the_last_seq_have_message_ids(seq: int) -> None:
    assert seq_of(SOME, message_id(SOME, seq)) == seq


def test_what_is_no_message_id_is_not_found() -> None:
    first = message_id(SOME, 1)
    for other in (SOME, uuid4(), UUID(int=first.int ^ 1), UUID(int=first.int ^ 1 << 31), UUID(int=first.int ^ 1 << 32)):
        with pytest.raises(NotFound):
            seq_of(SOME, other)


@settings(max_examples=100, deadline=None)
@given(conversations, keys, seqs)
def test_derived_ids_are_uuids_of_version_8(conversation: ConversationId, key: Key, seq: int) -> None:
    owner = user_key(UserId("u"))
    for derived in (
        run_id_for(conversation, key),
        append_id_for(conversation, key),
        conversation_id_for(owner, key),
        message_id(SOME, seq),
    ):
        assert (derived.version, derived.variant) == (8, RFC_4122)


def test_derived_ids_are_the_same_in_every_release() -> None:
    key = Key("k-1")
    assert str(user_key(UserId("u_42"))) == "afc2d29f-5ba1-9d74-1c1f-777eb30989cb"
    assert str(run_id_for(SOME, key)) == "72756e00-0000-8000-a22b-0cd2338702d6"
    assert str(append_id_for(SOME, key)) == "ab002c35-aa51-8719-9a5f-6c02e97f1775"
    assert str(conversation_id_for(user_key(UserId("u_42")), key)) == "9d50c882-47f0-8393-a052-2e1914ff1a1f"
    assert str(message_id(SOME, 7)) == "01890a5d-ac96-874b-bcce-b302099a8050"


@settings(max_examples=100, deadline=None)
@given(conversations, keys, keys)
def test_ids_differ_by_key_by_scope_and_by_purpose(conversation: ConversationId, key: Key, other: Key) -> None:
    made = [append_id_for(conversation, key), conversation_id_for(user_key(UserId("u")), key)]
    made += [append_id_for(SOME, key), run_id_for(conversation, key), run_id_for(SOME, key)]
    if key != other:
        made += [append_id_for(conversation, other), run_id_for(conversation, other)]
    assert len(set(made)) == len(made) or conversation == SOME


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**62 - 1))
def test_a_run_id_leads_back_to_its_number(number: int) -> None:
    assert run_number(run_id_of(number)) == number


@settings(max_examples=100, deadline=None)
@given(st.uuids())
def test_what_is_no_run_id_is_not_found(other: UUID) -> None:
    with pytest.raises(NotFound) as caught:
        run_number(other)
    assert caught.value.kind == "run"


@settings(max_examples=100, deadline=None)
@given(st.uuids())
def test_the_canonical_spelling_of_a_uuid_is_an_id(found: UUID) -> None:
    assert parse_conversation_id(str(found)) == parse_run_id(str(found)) == found
    assert parse_conversation_id(found) == found


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "01890A5D-AC96-774B-BCCE-B302099A8057",
        "01890a5dac96774bbcceb302099a8057",
        "{01890a5d-ac96-774b-bcce-b302099a8057}",
        "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
        " 01890a5d-ac96-774b-bcce-b302099a8057",
        "01890a5d-ac96-774b-bcce-b302099a8057\n",
        "01890a5d-ac96-774b-bcce-b302099a805",
        "01890a5d-ac96-774b-bcce-b302099a80577",
        "0189-0a5d-ac96-774b-bcce-b302099a8057",
        "٠1890a5d-ac96-774b-bcce-b302099a8057",
        "0_890a5d-ac96-774b-bcce-b302099a8057",
        "\ud800",
        "\0",
        None,
        1,
        b"01890a5d-ac96-774b-bcce-b302099a8057",
        1.5,
    ],
)
def test_any_other_spelling_is_of_nothing_that_exists(value: object) -> None:
    with pytest.raises(NotFound) as conversation:
        parse_conversation_id(value)
    with pytest.raises(NotFound) as run:
        parse_run_id(value)
    assert (conversation.value.kind, run.value.kind) == ("conversation", "run")


@pytest.mark.parametrize("text", ["k", "a" * 255, "é" * 255, " ", "/"])
def test_keys_of_up_to_255_characters_are_taken(text: str) -> None:
    assert checked_key(text) == text


@pytest.mark.parametrize("text", ["", "a" * 256, "a\0", "\ud800", None, 7, b"k"])
def test_other_keys_are_refused(text: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        checked_key(text, field="external_key")
    assert caught.value.field == "external_key"
