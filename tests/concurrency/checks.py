"""What must hold when calls meet, as functions that any store can be held to. Each raises ``AssertionError``.

``test_races`` holds keepsay to them on real Postgres, ``test_mutants`` shows that each of them can fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from keepsay.errors import ConversationBusy, RoleOrderError, SeqMismatch
from keepsay.model.conversation import RolePolicy, RunStatus
from keepsay.model.messages import Message
from keepsay.store.protocol import Appended, Begun, Created, Store
from keepsay.testing import build
from keepsay.testing.build import hold_of, new_conversation, plan_of
from keepsay.testing.talk import Talk, start_talk

from .ground import OpenStore, at_once

Outcome = Appended | BaseException


def _split(outcomes: Sequence[Outcome]) -> tuple[list[Appended], list[BaseException]]:
    done = [outcome for outcome in outcomes if isinstance(outcome, Appended)]
    return done, [outcome for outcome in outcomes if isinstance(outcome, BaseException)]


def _told(errors: Sequence[BaseException]) -> str:
    return ", ".join(sorted({f"{type(error).__name__}: {error}" for error in errors}))


async def check_one_user_message_is_accepted(open_store: OpenStore, *, rounds: int, writers: int = 20) -> None:
    """Of concurrent user messages to an empty strict conversation one is accepted; the others break the role order."""
    async with open_store(writers) as store:
        for number in range(rounds):
            talk = await start_talk(store)
            done, errors = _split(await at_once(*(talk.append(f"user: {n}") for n in range(writers))))
            told = f"round {number}: {len(done)} of {writers} accepted; {_told(errors)}"
            assert len(done) == 1, told
            assert all(type(error) is RoleOrderError for error in errors), told
            assert len(await talk.log()) == 1, told


async def check_expected_seq_has_one_winner(open_store: OpenStore, *, rounds: int, writers: int = 16) -> None:
    """Of concurrent appends that expect the same head one wins; the others are told the head that it made."""
    async with open_store(writers) as store:
        talk = await start_talk(store, policy=RolePolicy.LENIENT)
        for head in range(rounds):
            calls = [talk.append(f"user: {head}.{n}", expected_seq=head) for n in range(writers)]
            done, errors = _split(await at_once(*calls))
            assert [one.first_seq for one in done] == [head + 1], f"round {head}: {len(done)} won; {_told(errors)}"
            for error in errors:
                assert isinstance(error, SeqMismatch), f"round {head}: {_told(errors)}"
                assert (error.expected, error.head) == (head, head + 1), f"round {head}: {_told(errors)}"
        assert_gapless(await talk.log(), rounds)


async def check_equal_calls_apply_once(
    open_store: OpenStore, *, rounds: int, expect_head: bool, callers: int = 8
) -> None:
    """Concurrent calls with one key have one effect and one answer, which all but one are told is a replay."""
    async with open_store(callers) as store:
        talk = await start_talk(store, policy=RolePolicy.LENIENT)
        for number in range(rounds):
            expected = 2 * number if expect_head else None
            lines, key = (f"user: {number} a", f"user: {number} b"), build.key()
            calls = [talk.append(*lines, key=key, expected_seq=expected) for _ in range(callers)]
            _assert_one_effect(await at_once(*calls), 2 * number, number)
        words = [line for number in range(rounds) for line in (f"user: {number} a", f"user: {number} b")]
        assert await talk.words() == words


def _assert_one_effect(outcomes: Sequence[Outcome], head: int, number: int) -> None:
    done, errors = _split(outcomes)
    assert not errors, f"round {number}: {len(errors)} of {len(outcomes)} failed; {_told(errors)}"
    answers = {replace(one, replayed=True) for one in done}
    assert len(answers) == 1, f"round {number}: {len(answers)} different answers: {answers}"
    assert (done[0].first_seq, done[0].head) == (head + 1, head + 2), f"round {number}: {done[0]}"
    replayed = sum(one.replayed for one in done)
    assert replayed == len(done) - 1, f"round {number}: {replayed} of {len(done)} were told of a replay"


async def check_one_conversation_per_external_key(open_store: OpenStore, *, rounds: int, callers: int = 20) -> None:
    """Concurrent get-or-create calls with one external key all get one conversation, which one of them created."""
    async with open_store(callers) as store:
        for number in range(rounds):
            owner = build.owner()
            outcomes = await at_once(
                *(
                    store.create(owner, new_conversation(external_key="channel", fingerprint=n), plan_of("user: hi"))
                    for n in range(callers)
                )
            )
            errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            assert not errors, f"round {number}: {len(errors)} of {callers} failed; {_told(errors)}"
            found = [outcome for outcome in outcomes if isinstance(outcome, Created)]
            made = [one for one in found if one.created]
            assert len(made) == 1, f"round {number}: {len(made)} were told that they created it"
            assert {one.conversation.id for one in found} == {made[0].conversation.id}, f"round {number}"
            assert await Talk(store, owner, made[0].conversation.id).words() == ["user: hi"], f"round {number}"


async def check_equal_begins_make_one_run(open_store: OpenStore, *, rounds: int, callers: int = 16) -> None:
    """Concurrent begins with one key make one run, held by one caller; the others attach, with the same window."""
    async with open_store(callers) as store:
        for number in range(rounds):
            talk, run_id = await start_talk(store), build.run_id()
            outcomes = await at_once(
                *(talk.begin("user: hi", run_id=run_id, owner_token=n + 1) for n in range(callers))
            )
            begun, errors = _begun(outcomes)
            assert not errors, f"round {number}: {_told(errors)}"
            holders = [one for one in begun if one.held]
            assert len(holders) == 1, f"round {number}: {len(holders)} hold the run"
            assert sum(one.replayed for one in begun) == callers - 1, f"round {number}"
            assert {(one.run.id, one.run.fence, one.run.attempt) for one in begun} == {(run_id, 1, 1)}
            assert await talk.words() == ["user: hi"], f"round {number}: the user's message was doubled"


def _begun(outcomes: Sequence[Begun | BaseException]) -> tuple[list[Begun], list[BaseException]]:
    begun = [outcome for outcome in outcomes if isinstance(outcome, Begun)]
    return begun, [outcome for outcome in outcomes if isinstance(outcome, BaseException)]


async def check_one_run_at_a_time(open_store: OpenStore, *, rounds: int, callers: int = 16) -> None:
    """Of concurrent begins with different keys one holds the conversation, and the others are told which."""
    async with open_store(callers) as store:
        for number in range(rounds):
            talk = await start_talk(store)
            begun, errors = _begun(await at_once(*(talk.begin(f"user: {n}") for n in range(callers))))
            told = f"round {number}: {len(begun)} begun; {_told(errors)}"
            assert len(begun) == 1, told
            assert all(isinstance(e, ConversationBusy) and e.run_id == str(begun[0].run.id) for e in errors), told
            assert await talk.words() == [f"user: {_number_of(await talk.log())}"], told
            await talk.finish(hold_of(begun[0]), "assistant: done")


def _number_of(log: Sequence[Message]) -> str:
    return str(log[0].content)


async def check_interrupts_leave_one_holder(open_store: OpenStore, *, rounds: int, callers: int = 16) -> None:
    """Of concurrent begins that interrupt each other the last one holds; the others can write nothing more."""
    async with open_store(callers) as store:
        for number in range(rounds):
            talk = await start_talk(store)
            calls = [talk.begin(f"user: {n}", on_busy="interrupt") for n in range(callers)]
            begun, errors = _begun(await at_once(*calls))
            assert not errors, f"round {number}: {_told(errors)}"
            assert sorted(one.run.fence for one in begun) == list(range(1, callers + 1)), f"round {number}"
            await _assert_last_one_holds(talk, begun, number)


async def _assert_last_one_holds(talk: Talk, begun: Sequence[Begun], number: int) -> None:
    outcomes = await at_once(*(talk.append("assistant: mine", hold=hold_of(one)) for one in begun))
    done = [one.run for one, outcome in zip(begun, outcomes, strict=True) if isinstance(outcome, Appended)]
    last = max((one.run for one in begun), key=lambda run: run.fence)
    assert done == [last], f"round {number}: runs with the fences {[run.fence for run in done]} could write"
    statuses = {(await talk.run(one.run.id)).status for one in begun if one.run.id != last.id}
    assert statuses == {RunStatus.CANCELLED}, f"round {number}: {statuses}"


def assert_gapless(log: Sequence[Message], head: int) -> None:
    """The log is 1, 2, ... head, and time goes on with it."""
    assert [message.seq for message in log] == list(range(1, head + 1)), "seq has a gap or repeats"
    times = [message.created_at for message in log]
    assert all(before < after for before, after in pairwise(times)), "created_at does not increase"


async def read_whole_log(store: Store, talk: Talk, *, limit: int) -> list[Message]:
    """The log, page by page."""
    log: list[Message] = []
    while True:
        after = log[-1].seq if log else 0
        page = await store.page(talk.owner, talk.id, after=after, before=None, limit=limit, newest=False)
        log += page.messages
        if not page.has_more:
            return log
