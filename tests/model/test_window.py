from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.model.cut import cut
from tests.model.histories import lawless_rows, talks, windows
from tests.model.providers import check_alternation, check_anthropic, check_openai_chat, check_openai_responses
from tests.model.talk import Talk

from keepsay.errors import InvalidInput
from keepsay.model.conversation import RolePolicy
from keepsay.model.formats import count_tokens
from keepsay.model.messages import Message, MessageStatus, NewMessage, OrderState, Role
from keepsay.model.turns import is_question, split_turns
from keepsay.model.window import Explanation, ModelWindow, Window, WindowRows, choose_window
from keepsay.testing.build import message, words_of

STRICT, LENIENT, OPEN = RolePolicy
TURNS = [f"{role}: {n}" for n in range(1, 6) for role in ("user", "assistant")]
STEPS = ["calls: c1 c2", "result: c2", "result: c1", "calls: c3", "result: c3", "assistant: done"]


def talk_of(*lines: str, policy: RolePolicy = STRICT, tokens: int = 10) -> Talk:
    talk = Talk(policy)
    for line in lines:
        new = message(line)
        assert talk.say(NewMessage(new.payload, new.format, tokens=tokens)), line
    return talk


def window_of(talk: Talk, **limits: Any) -> ModelWindow:
    return choose_window(talk.rows(), Window(**limits))


def seen(talk: Talk, **limits: Any) -> list[str]:
    return [words_of(one) for one in window_of(talk, **limits).messages]


def reasons(window: ModelWindow) -> list[tuple[int, str]]:
    return [(seq, one.reason) for one in window.explain for seq in range(one.first_seq, one.last_seq + 1)]


def state_of(rows: WindowRows) -> OrderState:
    """The state of a conversation of these rows; of those that are possible the one that is least told by them."""
    ordered = [m for m in rows.messages if m.role is not Role.OTHER and m.status is not MessageStatus.DELETED]
    if rows.policy is OPEN and rows.system is not None:
        return OrderState.SYSTEM
    return OrderState.INTERRUPTED if ordered else OrderState.EMPTY


# The laws, over logs that followed the rules and logs that followed none.

any_rows = lawless_rows() | talks().map(Talk.rows)
law = settings(max_examples=150, deadline=None)


def is_core(rows: WindowRows, chosen: Sequence[Message]) -> bool:
    """Whether nothing more could go: one question at most, and one step, of one turn."""
    questions = [one for one in chosen if is_question(one)]
    kept = tuple(one for one in rows.messages if one in chosen)
    return len(questions) <= 1 and len(split_turns(kept, rows.policy)) <= 1


@law
@given(any_rows, windows())
def test_a_window_keeps_within_its_limits_unless_only_its_core_is_left(rows: WindowRows, window: Window) -> None:
    chosen = choose_window(rows, window)
    over_messages = window.max_messages is not None and len(chosen.messages) > window.max_messages
    over_tokens = window.max_tokens is not None and chosen.tokens > window.max_tokens
    assert chosen.fits == (not over_messages and not over_tokens)
    event(f"fits: {chosen.fits}, truncated: {chosen.truncated}")
    if not chosen.fits:
        assert is_core(rows, chosen.messages)


@law
@given(any_rows, windows())
def test_a_window_counts_all_its_tokens(rows: WindowRows, window: Window) -> None:
    chosen = choose_window(rows, window)
    expected = sum(one.tokens for one in chosen.messages) + (0 if rows.summary is None else rows.summary.tokens)
    if window.system_prompt is not None:
        expected += count_tokens({"content": window.system_prompt})
    elif rows.system is not None:
        expected += rows.system.tokens
    assert chosen.tokens == expected


@law
@given(any_rows, windows())
def test_a_window_is_one_that_providers_accept(rows: WindowRows, window: Window) -> None:
    chosen = choose_window(rows, window)
    check_openai_chat(chosen.to_openai_chat())
    check_anthropic(chosen.to_openai_chat())
    check_openai_responses(chosen.to_openai_responses())


@law
@given(any_rows, windows())
def test_a_window_follows_the_order_of_the_log_and_changes_nothing(rows: WindowRows, window: Window) -> None:
    chosen = choose_window(rows, window).messages
    logged = {one.seq: one for one in rows.messages}
    own = [one for one in chosen if one is logged[one.seq]]
    assert [one.seq for one in own] == sorted({one.seq for one in own})
    for stand_in in (one for one in chosen if one is not logged[one.seq]):
        assert (stand_in.status, stand_in.role) == (MessageStatus.SYNTHETIC, Role.TOOL)
        assert logged[stand_in.seq] in own


@law
@given(any_rows, windows())
def test_deleted_and_incomplete_messages_are_in_no_window(rows: WindowRows, window: Window) -> None:
    chosen = choose_window(rows, window).messages
    assert not any(one.status in (MessageStatus.DELETED, MessageStatus.INCOMPLETE) for one in chosen)


@law
@given(any_rows, windows())
def test_older_turns_are_there_with_question_and_answer_or_not_at_all(rows: WindowRows, window: Window) -> None:
    chosen = {one.seq for one in choose_window(rows, window).messages}
    turns = [[m for m in turn if _usable(m)] for turn in split_turns(rows.messages, rows.policy)]
    for turn in [turn for turn in turns if turn][:-1]:
        kept = [one for one in turn if one.seq in chosen]
        said = [one for one in turn if one.role is not Role.OTHER]
        if kept:
            assert said
            assert said[-1].state is OrderState.ASSISTANT
            dropped = [one for one in turn if one.seq not in chosen and one.role is not Role.TOOL]
            assert all(is_question(one) or one.role is Role.OTHER for one in dropped)
            assert any(map(is_question, kept)) or not any(map(is_question, turn))


def _usable(one: Message) -> bool:
    return one.status not in (MessageStatus.DELETED, MessageStatus.INCOMPLETE)


@law
@given(talks(), windows())
def test_the_newest_question_and_step_are_always_there(talk: Talk, window: Window) -> None:
    rows = talk.rows()
    chosen = choose_window(rows, window).messages
    turns = [[m for m in turn if _usable(m)] for turn in split_turns(rows.messages, rows.policy)]
    newest = next((turn for turn in reversed(turns) if turn), [])
    questions = [one for one in newest if is_question(one)]
    if questions:
        assert questions[-1] in chosen
        assert newest[-1] in chosen or newest[-1].role is Role.OTHER or newest[-1].role is Role.TOOL


@law
@given(talks([STRICT], mixed=False), windows())
def test_strict_windows_alternate(talk: Talk, window: Window) -> None:
    chosen = choose_window(talk.rows(), window)
    chat = chosen.to_openai_chat()
    if chosen.summary is not None and chosen.messages and chosen.messages[0].role is not Role.USER:
        chat = [*chat[:1], {"role": "user", "content": "the question that was summarised"}, *chat[1:]]
    check_alternation(chat)


@law
@given(talks([STRICT, LENIENT]), windows())
def test_at_most_one_system_message_and_that_first(talk: Talk, window: Window) -> None:
    chosen = choose_window(talk.rows(), window)
    for shape in (chosen.to_openai_chat(), chosen.to_openai_responses()):
        roles = [one.get("role") for one in shape]
        assert not {"system", "developer"} & {*roles[1:]}
        has_one = window.system_prompt is not None or talk.system_seq > 0 or chosen.summary is not None
        assert (roles[:1] == ["system"]) == has_one


@law
@given(any_rows, windows())
def test_every_seq_is_explained_once_and_truthfully(rows: WindowRows, window: Window) -> None:
    chosen = choose_window(rows, window)
    told = dict(reasons(chosen))
    assert [seq for seq, _ in reasons(chosen)] == [*range(1, rows.head + 1)]
    assert {seq for one in chosen.explain if one.included for seq in [one.first_seq]} == {
        *(one.seq for one in chosen.messages),
        *([rows.system.seq] if rows.system is not None and window.system_prompt is None else []),
    }
    logged = {one.seq: one for one in rows.messages}
    summarised = 0 if rows.summary is None else rows.summary.to_seq
    for seq, reason in told.items():
        if rows.system is not None and seq == rows.system.seq:
            assert reason == ("system_prompt" if window.system_prompt is None else "replaced_system_prompt")
        elif seq not in logged:
            assert reason == ("summarised" if seq <= summarised else "rewound")
        else:
            assert reason in _possible_reasons(logged[seq], rows.policy, truncated=chosen.truncated)


def _possible_reasons(one: Message, policy: RolePolicy, *, truncated: bool) -> set[str]:
    if one.status is MessageStatus.DELETED:
        return {"deleted"}
    if one.status is MessageStatus.INCOMPLETE:
        return {"incomplete"}
    possible = {"included", "unanswered_turn"}
    possible |= {"result_without_call"} if one.role is Role.TOOL else set()
    possible |= {"unasked_turn"} if policy is STRICT else set()
    return possible | ({"older_than_the_limit"} if truncated else set())


@law
@given(any_rows)
def test_without_limits_only_what_is_never_in_a_window_is_left_out(rows: WindowRows) -> None:
    chosen = choose_window(rows, Window(max_messages=None))
    assert (chosen.truncated, chosen.fits) == (False, True)
    assert "older_than_the_limit" not in dict(reasons(chosen)).values()


@law
@given(any_rows, windows())
def test_a_greater_window_holds_all_of_the_smaller(rows: WindowRows, window: Window) -> None:
    smaller = choose_window(rows, window).messages
    more = None if window.max_messages is None else window.max_messages + 3
    greater = choose_window(rows, replace(window, max_messages=more, max_tokens=None)).messages
    assert not Counter(one.seq for one in smaller) - Counter(one.seq for one in greater)


@law
@given(any_rows, windows(), st.sampled_from([len, lambda text: text.count("a") * 7, lambda _: 3]))
def test_a_counter_of_ones_own_counts_everything(rows: WindowRows, window: Window, counter: Any) -> None:
    chosen = choose_window(rows, replace(window, counter=counter))
    expected = sum(count_tokens(one.payload, counter) for one in chosen.messages)
    if window.system_prompt is not None:
        expected += count_tokens({"content": window.system_prompt}, counter)
    elif rows.system is not None:
        expected += count_tokens(rows.system.payload, counter)
    if rows.summary is not None:
        expected += counter("Summary of the conversation so far:\nThey spoke.")
    assert chosen.tokens == expected
    assert chosen.fits or window.max_tokens is None or is_core(rows, chosen.messages)


# What the database cuts off is nothing that a window can hold.


@settings(max_examples=700, deadline=None)
@given(any_rows, windows())
def test_the_cut_that_the_database_makes_changes_no_window(rows: WindowRows, window: Window) -> None:
    part = cut(rows, state_of(rows), window.max_messages, window.max_tokens)
    whole, of_part = choose_window(rows, window), choose_window(part, window)
    event(f"cut: {not part.from_start}")
    assert of_part.messages == whole.messages
    assert (of_part.tokens, of_part.fits, of_part.truncated) == (whole.tokens, whole.fits, whole.truncated)
    assert [seq for seq, _ in reasons(of_part)] == [*range(1, rows.head + 1)]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.sampled_from([LENIENT, OPEN]))
def test_the_cut_reads_little_more_than_the_window(limit: int, policy: RolePolicy) -> None:
    for lines in (TURNS * 4, ["user: a"] * 60, ["unknown: x"] * 60, ["user: a", *STEPS[:-1] * 8], ["assistant: b"] * 9):
        talk = talk_of(*lines, policy=policy)
        part = cut(talk.rows(), talk.state, limit, None)
        longest = 10 if lines[0] == "assistant: b" else 5
        assert len(part.messages) <= limit + longest


def test_what_the_order_ignores_stays_when_everything_else_is_deleted_also_after_a_cut() -> None:
    talk = talk_of("user: a", "assistant: b", "unknown: x", "unknown: y")
    talk.delete(1)
    talk.delete(2)
    assert seen(talk, max_messages=1) == ["unknown: y"]
    part = cut(talk.rows(), OrderState.EMPTY, 1, None)
    assert choose_window(part, Window(max_messages=1)).messages == window_of(talk, max_messages=1).messages


def test_a_cut_inside_the_newest_turn_is_explained() -> None:
    talk = talk_of("user: a", "assistant: b", "user: c", *STEPS)
    part = cut(talk.rows(), talk.state, 4, None)
    assert [words_of(one) for one in part.messages] == ["user: c", "calls: c3", "result: c3", "assistant: done"]
    explained = dict(reasons(choose_window(part, Window(max_messages=4))))
    older = "older_than_the_limit"
    assert [explained[seq] for seq in range(1, 10)] == [
        older,
        older,
        "included",
        older,
        older,
        older,
        *["included"] * 3,
    ]


# Examples.


@pytest.mark.parametrize(("limit", "turns"), [(1, 1), (2, 1), (3, 1), (4, 2), (9, 4), (10, 5), (11, 5)])
def test_the_newest_whole_turns_that_fit_are_in(limit: int, turns: int) -> None:
    talk = talk_of("system: s", *TURNS)
    window = window_of(talk, max_messages=limit)
    assert [words_of(one) for one in window.messages] == TURNS[-2 * turns :]
    assert (window.truncated, window.fits, window.head) == (turns < 5, limit > 1, 11)


@pytest.mark.parametrize(("budget", "turns"), [(30, 1), (49, 1), (50, 2), (109, 4), (110, 5)])
def test_tokens_count_with_the_system_message(budget: int, turns: int) -> None:
    window = window_of(talk_of("system: s", *TURNS), max_tokens=budget)
    assert (len(window.messages), window.tokens) == (2 * turns, 10 + 20 * turns)


def test_a_newest_turn_that_is_too_long_loses_its_oldest_steps() -> None:
    talk = talk_of("user: a", "assistant: b", "user: c", *STEPS)
    assert seen(talk, max_messages=7) == ["user: c", *STEPS]
    assert seen(talk, max_messages=6) == seen(talk, max_messages=4) == ["user: c", *STEPS[3:]]
    assert seen(talk, max_messages=3) == seen(talk, max_messages=1) == ["user: c", "assistant: done"]
    assert [window_of(talk, max_messages=limit).fits for limit in (3, 2, 1)] == [True, True, False]


def test_of_questions_in_a_row_the_last_stays_longest() -> None:
    talk = talk_of("user: a", "user: b", "assistant: c", "user: d", "user: e", policy=LENIENT)
    assert seen(talk, max_messages=5) == ["user: a", "user: b", "assistant: c", "user: d", "user: e"]
    assert seen(talk, max_messages=4) == ["user: b", "assistant: c", "user: d", "user: e"]
    assert seen(talk, max_messages=3) == ["user: d", "user: e"]
    assert seen(talk, max_messages=1) == ["user: e"]


def test_an_older_turn_that_does_not_fit_ends_the_window() -> None:
    talk = talk_of("user: a", "assistant: b", "user: c", *STEPS, "user: d")
    assert seen(talk, max_messages=7) == ["user: d"]
    assert seen(talk, max_messages=8) == ["user: c", *STEPS, "user: d"]


def test_turns_without_an_answer_are_left_out_and_count_nothing() -> None:
    talk = talk_of("user: a", "assistant: b")
    for _ in range(5):
        talk.begin_run()
        talk.say("user: again")
        talk.say("calls: c1")
        talk.end_run()
    talk.say("user: c")
    window = window_of(talk, max_messages=3)
    assert [words_of(one) for one in window.messages] == ["user: a", "assistant: b", "user: c"]
    assert (window.truncated, Counter(reason for _, reason in reasons(window))["unanswered_turn"]) == (False, 15)


def test_the_newest_turn_is_in_without_an_answer() -> None:
    assert seen(talk_of("user: a", "assistant: b", "user: c")) == ["user: a", "assistant: b", "user: c"]
    assert seen(talk_of("user: a", "calls: c1", "result: c1")) == ["user: a", "calls: c1", "result: c1"]


def test_under_the_strict_policy_an_answer_goes_with_its_deleted_question() -> None:
    for policy, expected in ((STRICT, TURNS[:2]), (LENIENT, [*TURNS[:2], TURNS[3]])):
        talk = talk_of(*TURNS[:4], policy=policy)
        talk.delete(3)
        assert seen(talk) == expected
    assert dict(reasons(window_of(talk_and_delete(3))))[4] == "unasked_turn"


def talk_and_delete(seq: int) -> Talk:
    talk = talk_of(*TURNS[:4])
    talk.delete(seq)
    return talk


def test_a_question_goes_with_its_deleted_answer() -> None:
    talk = talk_of(*TURNS[:5])
    talk.delete(2)
    assert seen(talk) == TURNS[2:5]
    assert reasons(window_of(talk))[:2] == [(1, "unanswered_turn"), (2, "deleted")]


def test_a_result_whose_call_was_deleted_is_left_out_and_a_call_without_its_result_gets_a_stand_in() -> None:
    talk = talk_of("user: a", *STEPS)
    talk.delete(2)
    assert seen(talk) == ["user: a", *STEPS[3:]]
    assert dict(reasons(window_of(talk)))[3] == "result_without_call"
    talk.delete(6)
    assert seen(talk) == ["user: a", "calls: c3", "interrupted: c3", "assistant: done"]


def test_rewound_messages_are_left_out_and_said_to_be() -> None:
    talk = talk_of(*TURNS[:4])
    talk.rewind(2)
    talk.say("user: other")
    assert seen(talk) == [*TURNS[:2], "user: other"]
    assert reasons(window_of(talk))[2:] == [(3, "rewound"), (4, "rewound"), (5, "included")]


def test_a_summary_stands_for_what_it_tells_of() -> None:
    talk = talk_of("system: s", *TURNS)
    talk.summarise(5, "They counted.")
    window = window_of(talk)
    assert [words_of(one) for one in window.messages] == TURNS[4:]
    assert window.tokens == 10 + len("They counted.") + 60
    assert window.to_openai_chat()[0] == {
        "role": "system",
        "content": "s\n\nSummary of the conversation so far:\nThey counted.",
    }
    assert window.explain[:2] == (
        Explanation(1, 1, included=True, reason="system_prompt"),
        Explanation(2, 5, included=False, reason="summarised"),
    )


def test_a_system_prompt_for_once_takes_the_place_of_the_conversations_own() -> None:
    talk = talk_of("system: s", "user: a")
    window = window_of(talk, system_prompt="Be long.")
    assert window.to_openai_chat() == [{"role": "system", "content": "Be long."}, {"role": "user", "content": "a"}]
    assert window.to_openai_responses() == window.to_openai_chat()
    assert reasons(window)[0] == (1, "replaced_system_prompt")


def test_a_system_message_that_does_not_come_first_is_explained_in_its_place() -> None:
    talk = talk_of("unknown: x", "system: s", "user: a")
    assert reasons(window_of(talk)) == [(1, "included"), (2, "system_prompt"), (3, "included")]


def test_further_system_messages_of_an_open_log_stay_where_they_are() -> None:
    talk = talk_of("system: s", "user: a", "assistant: b", "system: t", "user: c", policy=OPEN)
    roles = [one["role"] for one in window_of(talk).to_openai_chat()]
    assert roles == ["system", "user", "assistant", "system", "user"]


def test_an_empty_conversation_has_an_empty_window() -> None:
    window = window_of(Talk())
    assert (window.messages, window.system_prompt, window.tokens, window.explain) == ((), None, 0, ())
    assert (window.truncated, window.fits, window.to_openai_chat()) == (False, True, [])


def test_a_log_of_unknown_entries_alone_is_cut_entry_by_entry() -> None:
    talk = talk_of(*[f"unknown: {n}" for n in range(9)])
    assert seen(talk, max_messages=3) == ["unknown: 6", "unknown: 7", "unknown: 8"]
    assert seen(talk, max_tokens=5) == ["unknown: 8"]


@pytest.mark.parametrize("value", [0, -1, 1_001, True, 1.0, "5"])
def test_max_messages_is_a_whole_number_within_its_limits(value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Window(max_messages=value)
    assert caught.value.field == "max_messages"


@pytest.mark.parametrize("value", [0, -1, 10_000_001, False, 1.0, "5"])
def test_max_tokens_is_a_whole_number_within_its_limits(value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Window(max_tokens=value)
    assert caught.value.field == "max_tokens"


def test_the_limits_themselves_are_taken() -> None:
    for messages, tokens in ((1, 1), (1_000, 10_000_000), (None, None)):
        assert Window(max_messages=messages, max_tokens=tokens).max_messages == messages
    assert (Window().max_messages, Window().max_tokens) == (100, None)
