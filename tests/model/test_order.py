from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.histories import talks
from tests.model.providers import check_alternation, check_anthropic, check_openai_chat, check_openai_responses
from tests.model.talk import Talk

from keepsay.errors import RoleOrderError, TooLarge, UnansweredCalls
from keepsay.model.conversation import RolePolicy
from keepsay.model.convert import to_chat, to_responses
from keepsay.model.messages import Message, OrderState, Role
from keepsay.model.order import (
    AppendPlan,
    calls_refusal,
    cut_refusal,
    order_refusal,
    plan_append,
    state_after_rewind,
    state_after_run,
)
from keepsay.testing.build import plan_of

STRICT, LENIENT, OPEN = RolePolicy
S = OrderState

# A history that leads to each state, with the calls c1 and, while they are open, c2 in it.
HISTORIES: dict[OrderState, tuple[str, ...]] = {
    S.EMPTY: (),
    S.SYSTEM: ("system: s",),
    S.USER: ("user: a",),
    S.ASSISTANT: ("user: a", "assistant: b"),
    S.STEP: ("user: a", "reasoning: r"),
    S.CALLING: ("user: a", "calls: c1"),
    S.TOOL: ("user: a", "calls: c1", "result: c1"),
    S.INTERRUPTED: ("user: a",),
}
# Who may speak where, as the documentation has it. The entries, in the order of the columns:
ENTRIES = (
    "system: s",
    "user: a",
    "assistant: b",
    "reasoning: r",
    "calls: c3",
    "call item: c3",
    "result: c1",
    "unknown: x",
)
MAY_SPEAK = {
    STRICT: {  # system user answer step calls item result unknown
        S.EMPTY: "       yes    yes  no     no   no    no   no     yes",
        S.SYSTEM: "      no     yes  no     no   no    no   no     yes",
        S.USER: "        no     no   yes    yes  yes   yes  no     yes",
        S.ASSISTANT: "   no     yes  no     yes  no    yes  no     yes",
        S.STEP: "        no     no   yes    yes  yes   yes  no     yes",
        S.CALLING: "     no     no   no     no   no    yes  yes    yes",
        S.TOOL: "        no     no   yes    yes  yes   yes  no     yes",
        S.INTERRUPTED: " no     yes  yes    yes  yes   yes  no     yes",
    },
    LENIENT: {
        S.EMPTY: "       yes    yes  yes    yes  yes   yes  no     yes",
        S.SYSTEM: "      no     yes  yes    yes  yes   yes  no     yes",
        S.USER: "        no     yes  yes    yes  yes   yes  no     yes",
        S.ASSISTANT: "   no     yes  yes    yes  yes   yes  no     yes",
        S.STEP: "        no     yes  yes    yes  yes   yes  no     yes",
        S.CALLING: "     no     no   no     no   no    yes  yes    yes",
        S.TOOL: "        no     yes  yes    yes  yes   yes  no     yes",
        S.INTERRUPTED: " no     yes  yes    yes  yes   yes  no     yes",
    },
    OPEN: dict.fromkeys(S, "yes    yes  yes    yes  yes   yes  yes    yes"),
}


def talk_in(policy: RolePolicy, state: OrderState) -> Talk:
    talk = Talk(policy)
    if state is S.INTERRUPTED:
        talk.begin_run()
    for line in HISTORIES[state]:
        assert talk.say(line)
    talk.end_run()
    assert talk.state is state
    return talk


@pytest.mark.parametrize(
    ("policy", "state", "entry", "answer"),
    [
        (policy, state, entry, answer)
        for policy, rows in MAY_SPEAK.items()
        for state, row in rows.items()
        for entry, answer in zip(ENTRIES, row.split(), strict=True)
    ],
)
def test_each_entry_may_stand_where_its_policy_says(
    policy: RolePolicy, state: OrderState, entry: str, answer: str
) -> None:
    talk = talk_in(policy, state)
    assert talk.accepts(plan_of(entry)) == (answer == "yes")


AFTER = (S.SYSTEM, S.USER, S.ASSISTANT, S.STEP, S.CALLING, S.CALLING, S.TOOL, None)


@pytest.mark.parametrize(("entry", "after"), [*zip(ENTRIES, AFTER, strict=True)])
def test_each_entry_leaves_its_state_and_unknown_ones_leave_it_as_it_was(entry: str, after: OrderState | None) -> None:
    plan = plan_of(entry)
    assert plan.next is after
    assert [planned.state for planned in plan.messages] == [after]
    for state in S:
        talk = talk_in(OPEN, state)
        talk.say(entry)
        assert talk.state is (state if after is None else after)


def test_an_empty_plan_changes_nothing_and_may_stand_anywhere() -> None:
    plan = plan_append([])
    assert (plan.messages, plan.next, plan.system_at, plan.opens, plan.answers) == ((), None, None, (), ())
    for policy, state in product(RolePolicy, S):
        talk = talk_in(policy, state)
        assert talk.append(plan)
        assert talk.state is state


ANSWERABLE = {
    STRICT: {S.USER, S.STEP, S.TOOL, S.INTERRUPTED},
    LENIENT: {S.SYSTEM, S.USER, S.ASSISTANT, S.STEP, S.TOOL, S.INTERRUPTED},
    OPEN: set(S),
}


@pytest.mark.parametrize(("policy", "state"), [*product(RolePolicy, S)])
def test_a_run_without_a_message_begins_where_there_is_something_to_answer(
    policy: RolePolicy, state: OrderState
) -> None:
    plan = plan_append([], answering=True)
    assert talk_in(policy, state).accepts(plan) == (state in ANSWERABLE[policy])
    assert plan.attempted_roles == (Role.ASSISTANT,) * 3


@pytest.mark.parametrize(("policy", "state"), [*product(RolePolicy, S)])
def test_no_conversation_is_stuck_once_its_run_has_ended(policy: RolePolicy, state: OrderState) -> None:
    after = state_after_run(state)
    assert plan_of("user: a").allowed[policy] & (1 << after)
    assert state_after_rewind(state) is after
    if state not in (S.EMPTY, S.SYSTEM, S.ASSISTANT):
        assert after is S.INTERRUPTED
        assert plan_of("assistant: b").allowed[policy] & (1 << after)


# Every history of up to six entries that the strict policy accepts, one at a time.

CHAT = ("system: s", "user: a", "assistant: b", "calls: c1", "calls: c1 c2", "result: c1", "result: c2", "unknown: x")
ITEMS = (
    "user: a",
    "answer item: b",
    "reasoning: r",
    "call item: c1",
    "call item: c2",
    "result item: c1",
    "result item: c2",
)
PLANS = {line: plan_of(line) for line in {*CHAT, *ITEMS}}


def accepted(policy: RolePolicy, alphabet: tuple[str, ...], longest: int) -> Iterator[tuple[str, ...]]:
    """Every history that may come to be by single appends, no call called again while its id is in use."""
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        history = waiting.pop()
        yield history
        if len(history) < longest:
            talk = said(policy, *history)
            waiting += [(*history, line) for line in alphabet if _is_new(talk, line) and talk.accepts(PLANS[line])]


def _is_new(talk: Talk, line: str) -> bool:
    """Whether the line calls nothing that was called before in a step that still goes on."""
    return not (line.startswith("call") and any(name in talk.open or name in _called(talk) for name in line.split()))


def _called(talk: Talk) -> set[str]:
    names: set[str] = set()
    for message in reversed(talk.messages):
        if message.role is Role.ASSISTANT and message.state is S.CALLING:
            names.add(str(message.payload.get("call_id")))
        elif message.role is not Role.TOOL or message.state is not S.CALLING:
            break
    return names


def said(policy: RolePolicy, *history: str) -> Talk:
    talk = Talk(policy)
    for line in history:
        assert talk.append(PLANS[line])
    return talk


def check(messages: list[Message], *, alternating: bool) -> None:
    chat = to_chat(messages)
    check_openai_chat(chat)
    check_anthropic(chat)
    check_openai_responses(to_responses(messages))
    if alternating:
        check_alternation(chat)


@pytest.mark.parametrize(("alphabet", "longest"), [(CHAT, 6), (ITEMS, 7)], ids=["chat", "items"])
def test_every_history_that_strict_accepts_is_one_that_providers_accept(
    alphabet: tuple[str, ...], longest: int
) -> None:
    count = 0
    for history in accepted(STRICT, alphabet, longest):
        talk = said(STRICT, *history)
        assert (talk.state is S.CALLING) == bool(talk.open)
        talk.close_calls()
        check(talk.messages, alternating=True)
        count += 1
    assert count > 500


def test_every_history_that_lenient_accepts_is_one_that_providers_accept() -> None:
    for alphabet in (CHAT[1:], ITEMS):
        for history in accepted(LENIENT, alphabet, 4):
            talk = said(LENIENT, *history)
            talk.close_calls()
            check(talk.messages, alternating=False)


def test_a_strict_chat_history_is_accepted_as_one_batch_and_leaves_the_same_states() -> None:
    for history in accepted(STRICT, CHAT, 5):
        one_by_one, at_once = said(STRICT, *history), Talk(STRICT)
        assert at_once.say(*history), history
        assert at_once.messages == one_by_one.messages
        assert (at_once.state, at_once.open, at_once.system_seq) == (
            one_by_one.state,
            one_by_one.open,
            one_by_one.system_seq,
        )


def test_a_batch_is_accepted_exactly_when_its_messages_are_one_by_one() -> None:
    for batch in (*product(CHAT, repeat=2), *product(CHAT[1:6], repeat=3)):
        plan = plan_of(*batch)
        for state in S:
            one_by_one = talk_in(STRICT, state)
            refused = [line for line in batch if not one_by_one.append(PLANS[line])]
            assert talk_in(STRICT, state).accepts(plan) == (not refused), (state, batch)


@settings(max_examples=150, deadline=None)
@given(talks([STRICT, LENIENT]))
def test_whatever_happens_calls_are_open_exactly_in_the_calling_state(talk: Talk) -> None:
    assert (talk.state is S.CALLING) == bool(talk.open)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*CHAT, *ITEMS]), min_size=1, max_size=6))
def test_the_open_policy_takes_whatever_parses(batch: list[str]) -> None:
    plan = plan_of(*batch)
    assert all(plan.allowed[OPEN] & (1 << state) for state in S)
    assert len(plan.messages) == len(batch)


# Batches.


def states(plan: AppendPlan) -> list[OrderState | None]:
    return [planned.state for planned in plan.messages]


def test_results_leave_the_calls_open_until_the_last() -> None:
    assert states(plan_of("calls: c1 c2", "result: c2", "result: c1")) == [S.CALLING, S.CALLING, S.TOOL]
    assert states(plan_of("result: c1", "unknown: x", "result: c2")) == [S.CALLING, S.CALLING, S.TOOL]
    assert states(plan_of("calls: c1 c2", "result: c2", "unknown: x")) == [S.CALLING] * 3


def test_a_whole_responses_answer_is_one_step_whatever_the_order_of_its_items() -> None:
    answer = ("reasoning: r", "call item: c1", "reasoning: r", "answer item: b", "call item: c2")
    plan = plan_of("user: a", *answer, "result item: c2", "result item: c1", "answer item: b")
    assert states(plan) == [S.USER, S.STEP, *[S.CALLING] * 5, S.TOOL, S.ASSISTANT]
    for policy in (STRICT, LENIENT):
        talk = Talk(policy)
        assert talk.append(plan)
        check(talk.messages, alternating=True)
        stopped = Talk(policy)
        assert stopped.say("user: a", *answer)
        assert (stopped.state, [*stopped.open]) == (S.CALLING, ["c1", "c2"])


def test_an_answer_in_two_appends_waits_for_its_results() -> None:
    talk = said(STRICT, "user: a", "call item: c1")
    assert not talk.say("reasoning: r")
    assert not talk.say("answer item: b")
    assert talk.say("call item: c2")
    assert not talk.say("result item: c1", "answer item: b")
    assert talk.say("result item: c1", "result item: c2", "answer item: b")


def test_a_plan_says_what_it_opens_and_what_it_answers() -> None:
    plan = plan_of("result: c9", "calls: c1 c2", "result: c2")
    assert plan.answers == ("c9",)
    assert [call.call_id for call in plan.opens] == ["c1"]
    assert plan.requires_closed
    assert not plan_of("result: c9", "unknown: x").requires_closed
    assert not plan_of("call item: c1").requires_closed


def test_a_plan_says_where_its_system_message_is() -> None:
    assert plan_of("unknown: x", "system: s", "user: a").system_at == 1
    assert plan_of("system: s").system_at == 0
    assert plan_of("user: a").system_at is None
    talk = Talk()
    talk.say("unknown: x")
    assert talk.say("unknown: x", "system: s", "user: a")
    assert talk.system_seq == 3


def test_a_hundred_and_twenty_eight_calls_may_be_open_and_no_more() -> None:
    assert len(plan_of("calls: " + " ".join(f"c{n}" for n in range(128))).opens) == 128
    for batch in (
        ["calls: " + " ".join(f"c{n}" for n in range(129))],
        [f"call item: c{n}" for n in range(129)],
    ):
        with pytest.raises(TooLarge) as caught:
            plan_of(*batch)
        assert (caught.value.size, caught.value.limit, caught.value.unit) == (129, 128, "open tool calls")
    answered = [line for n in range(200) for line in (f"call item: c{n}", f"result item: c{n}")]
    assert plan_of(*answered).opens == ()


# What refused batches are told.


@pytest.mark.parametrize(
    ("batch", "strict", "lenient"),
    [
        (("user: a", "user: b"), (Role.USER, Role.USER), None),
        (("assistant: a", "assistant: b"), (Role.ASSISTANT, Role.ASSISTANT), None),
        (("user: a", "assistant: b", "unknown: x", "assistant: c"), (Role.ASSISTANT, Role.ASSISTANT), None),
        (("system: s", "assistant: b"), (Role.SYSTEM, Role.ASSISTANT), None),
        (("user: a", "system: s"), (Role.USER, Role.SYSTEM), (Role.USER, Role.SYSTEM)),
        (("system: s", "system: s"), (Role.SYSTEM, Role.SYSTEM), (Role.SYSTEM, Role.SYSTEM)),
        (("user: a", "result: c1"), (Role.USER, Role.TOOL), (Role.USER, Role.TOOL)),
        (("calls: c1", "user: a"), (Role.ASSISTANT, Role.USER), (Role.ASSISTANT, Role.USER)),
        (("calls: c1", "assistant: b"), (Role.ASSISTANT, Role.ASSISTANT), (Role.ASSISTANT, Role.ASSISTANT)),
        (("calls: c1", "result: c1", "result: c1"), (Role.TOOL, Role.TOOL), (Role.TOOL, Role.TOOL)),
        (("calls: c1 c2", "result: c1", "assistant: b"), (Role.TOOL, Role.ASSISTANT), (Role.TOOL, Role.ASSISTANT)),
        (("result: c1", "assistant: b", "result: c2"), (Role.ASSISTANT, Role.TOOL), (Role.ASSISTANT, Role.TOOL)),
        (("call item: c1", "call item: c1"), (Role.ASSISTANT, Role.ASSISTANT), (Role.ASSISTANT, Role.ASSISTANT)),
    ],
)
def test_a_batch_that_is_out_of_order_says_which_roles_meet(
    batch: tuple[str, ...], strict: tuple[Role, Role], lenient: tuple[Role, Role] | None
) -> None:
    plan = plan_of(*batch)
    assert plan.allowed[STRICT] == 0
    assert (plan.last_roles[STRICT], plan.attempted_roles[STRICT]) == strict
    assert (plan.allowed[LENIENT] == 0) == (lenient is not None)
    if lenient is not None:
        assert (plan.last_roles[LENIENT], plan.attempted_roles[LENIENT]) == lenient
    assert plan.allowed[OPEN]


def test_a_batch_in_order_says_its_first_role_for_the_store_to_report() -> None:
    plan = plan_of("unknown: x", "assistant: b", "user: a")
    assert plan.last_roles == (None, None, None)
    assert plan.attempted_roles == (Role.ASSISTANT,) * 3
    assert plan_of("unknown: x").attempted_roles == (None, None, None)


@pytest.mark.parametrize(
    ("last", "attempted", "rule"),
    [
        (None, Role.ASSISTANT, "A conversation does not start with the assistant message; start with a system or user"),
        (None, Role.TOOL, "A conversation does not start with the tool message"),
        (Role.USER, Role.SYSTEM, "A system message stands only at the start, and there is at most one."),
        (None, Role.SYSTEM, "A system message stands only at the start"),
        (Role.SYSTEM, Role.SYSTEM, "A system message stands only at the start"),
        (Role.USER, Role.USER, "Two user messages may not follow each other; user and assistant alternate."),
        (Role.ASSISTANT, Role.ASSISTANT, "Two assistant messages may not follow each other"),
        (Role.USER, Role.TOOL, "A tool message answers a call of the assistant's message before it."),
        (Role.TOOL, Role.TOOL, "A tool message answers a call of the assistant's message before it."),
        (Role.TOOL, Role.USER, "The user message may not follow the tool message: the assistant's turn is not over."),
        (Role.ASSISTANT, Role.USER, "may not follow the assistant message: the assistant's turn is not over."),
        (Role.SYSTEM, Role.ASSISTANT, "The assistant message may not follow the system message."),
    ],
)
def test_a_refusal_names_both_roles_and_the_rule(last: Role | None, attempted: Role, rule: str) -> None:
    error = order_refusal(last, attempted)
    assert type(error) is RoleOrderError
    assert rule in error.message
    assert error.code == "role_ordering_violation"
    assert (error.last_role, error.attempted_role) == (None if last is None else last.text, attempted.text)


def test_a_refusal_for_open_calls_lists_them() -> None:
    error = calls_refusal(["c1", "c2"], Role.ASSISTANT, Role.USER, unknown=False)
    assert isinstance(error, UnansweredCalls)
    assert (error.message, error.open_calls) == ("Tool calls must be answered first; open: c1, c2.", ("c1", "c2"))
    assert (error.last_role, error.attempted_role) == ("assistant", "user")
    unknown = calls_refusal([], Role.USER, Role.TOOL, unknown=True)
    assert (unknown.message, unknown.open_calls) == ("A tool result names no open call; open: none.", ())
    assert "Message 7" in cut_refusal(7).message
