"""A stateful machine: the same random histories to two stores, and every answer compared.

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        twins = Twins(Side("memory", ...), Side("mine", ...), runner)
        run_histories(twins, examples=500)
        print(twins.meetings.report())

Histories have several users and conversations of all policies; they know what stands open, so that most steps are
sound, and repeat, mix up and contradict earlier requests, so that many are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import TypeVar
from uuid import UUID, uuid4

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from keepsay.errors import KeepsayError
from keepsay.model.conversation import Conversation, ConversationStatus, RolePolicy, RunStatus
from keepsay.model.cursor import Position
from keepsay.model.ids import ConversationId, UserId, run_id_of
from keepsay.model.messages import Message, MessageStatus, NewMessage
from keepsay.model.window import Window, choose_window
from keepsay.store.protocol import (
    UNSET,
    Append,
    Appended,
    Begin,
    Begun,
    Changes,
    Created,
    Ending,
    Finish,
    Finished,
    Loaded,
    NewConversation,
    OnBusy,
    Owner,
    RunHold,
    Store,
)
from keepsay.testing import build, strategies
from keepsay.testing.fitting import fitting_lines
from keepsay.testing.twins import Twins

__all__ = ["ERRORS", "EVENTS", "VERBS", "StoreMachine", "run_histories"]

T = TypeVar("T")

VERBS = frozenset(
    {
        *(
            "append",
            "begin",
            "cancel",
            "create",
            "delete",
            "delete_message",
            "erase",
            "export",
            "finish",
            "fork",
            "get",
        ),
        *("heartbeat", "list", "load", "page", "rewind", "run", "summarise", "update", "users"),
    }
)
ERRORS = frozenset(
    {
        *("ConversationBusy", "InvalidInput", "KeyReused", "NotFound", "RoleOrderError", "RunSuperseded"),
        *("SeqMismatch", "UnansweredCalls", "VersionMismatch"),
    }
)
EVENTS = frozenset(
    {
        *("append replayed", "begin replayed", "finish replayed", "new attempt", "run taken over", "stand-in result"),
        *("message deleted", "message rewound", "taken external key", "window cut", "window summarised"),
    }
)

_which = st.integers(0, 99)
_dice = st.integers(0, 19)
_policies = st.sampled_from([RolePolicy.STRICT, RolePolicy.STRICT, RolePolicy.LENIENT, RolePolicy.OPEN])
_windows = st.builds(
    Window,
    max_messages=st.none() | st.integers(1, 12),
    max_tokens=st.none() | st.integers(1, 120),
    system_prompt=st.sampled_from([None, None, "Be another."]),
)
_on_busy: st.SearchStrategy[OnBusy] = st.sampled_from(["reject", "reject", "interrupt"])
_endings: st.SearchStrategy[Ending] = st.sampled_from([RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED])
_LEASE = 600.0
_MANY = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """A conversation as a caller knows it: whose it is, and its id."""

    owner: Owner
    id: ConversationId


class StoreMachine(RuleBasedStateMachine):
    """One history. Steps choose among what the history has by a number, ``which``, so that they shrink well."""

    def __init__(self, twins: Twins) -> None:
        super().__init__()
        self.twins = twins
        twins.differed = False
        self._ids = count(1)
        self._scope = uuid4()
        self.users = [Owner.of(UserId(f"{self._scope}/{n}".replace("/", ":"))) for n in range(3)]
        self.places: list[Place] = []
        self.creates: list[tuple[Owner, NewConversation, tuple[str, ...]]] = []
        self.appends: list[tuple[Place, Append]] = []
        self.begins: list[tuple[Place, Begin]] = []
        self.holds: list[tuple[Place, RunHold]] = []
        self.finishes: list[tuple[Place, Finish]] = []

    # What a step is made of.

    def _new_id(self) -> UUID:
        """The same in every repetition of this history, but for the scope, and in no telling order."""
        n = next(self._ids)
        return UUID(int=(n * 0x9E3779B1 % 2**32) << 96 | self._scope.int % 2**96)

    def _place(self, which: int) -> Place:
        """Mostly the newest conversations, by their owner; sometimes another user tries."""
        place = self.places[-1 - which % min(len(self.places), 4)]
        if which < 96:
            return place
        return replace(place, owner=self.users[which % len(self.users)])

    def _view(self, place: Place) -> Conversation | None:
        view = self.twins.peek(lambda store: store.get(place.owner, place.id))
        return None if isinstance(view, KeepsayError) else view

    def _log(self, place: Place) -> tuple[Message, ...]:
        page = self.twins.peek(lambda store: _whole_log(store, place))
        return () if isinstance(page, KeepsayError) else page

    def _lines(self, place: Place, which: int, dice: int) -> list[NewMessage]:
        """Messages that mostly may stand where the conversation stands."""
        view = self._view(place)
        chosen = fitting_lines(view, self._log(place), which, fits=dice < 15)
        return [_spiced(build.message(line), which + at) for at, line in enumerate(chosen)]

    def _expected(self, place: Place, dice: int) -> int | None:
        if dice < 12:
            return None
        view = self._view(place)
        return (view.head if view is not None else 0) + (1 if dice > 17 else 0)

    def _expected_version(self, place: Place, dice: int) -> int | None:
        if dice < 12:
            return None
        view = self._view(place)
        return (view.version if view is not None else 0) + (1 if dice > 17 else 0)

    def _met(self, event: str, happened: bool = True) -> None:
        if happened:
            self.twins.meetings.events[event] += 1

    # Conversations.

    def _create(self, owner: Owner, new: NewConversation, lines: tuple[str, ...]) -> None:
        answer = self.twins.ask("create", lambda store: store.create(owner, new, build.plan_of(*lines)))
        if isinstance(answer, Created):
            self._met("taken external key", not answer.created)
            self.places.append(Place(owner, answer.conversation.id))

    @precondition(lambda self: len(self.places) < 8)
    @rule(
        which=_which,
        policy=_policies,
        lines=st.sampled_from([(), (), ("user: a",), ("system: s",), ("system: s", "user: a"), ("assistant: b",)]),
        external_key=st.sampled_from([None, None, None, "channel-1"]),
    )
    def create(self, which: int, policy: RolePolicy, lines: tuple[str, ...], external_key: str | None) -> None:
        new = build.new_conversation(
            policy,
            id=ConversationId(self._new_id()),
            title=(None, "Trip")[which % 2],
            system_prompt="s" if "system: s" in lines else None,
            external_key=external_key,
            metadata={"b": 1, "a": [which]} if which % 3 else None,
        )
        owner = self.users[which % len(self.users)]
        self.creates.append((owner, new, lines))
        self._create(owner, new, lines)

    @precondition(lambda self: self.creates)
    @rule(which=_which, dice=_dice)
    def create_again(self, which: int, dice: int) -> None:
        owner, new, lines = self.creates[which % len(self.creates)]
        self._create(owner, replace(new, fingerprint=new.fingerprint + (dice < 5)), lines)

    @precondition(lambda self: self.places)
    @rule(
        which=_which,
        dice=_dice,
        title=st.sampled_from([UNSET, None, "New"]),
        metadata=st.none() | strategies.metadata(),
    )
    def update(self, which: int, dice: int, title: object, metadata: dict[str, object] | None) -> None:
        place = self._place(which)
        status = (UNSET, ConversationStatus.ACTIVE, ConversationStatus.ARCHIVED)[which % 3]
        changes = Changes(title, status, UNSET if metadata is None else metadata)  # type: ignore[arg-type]
        expected = self._expected_version(place, dice)
        self.twins.ask("update", lambda store: store.update(place.owner, place.id, changes, expected_version=expected))

    @precondition(lambda self: self.places)
    @rule(which=_which, dice=_dice, hard=st.booleans())
    def delete(self, which: int, dice: int, hard: bool) -> None:
        place = self._place(which)
        expected = self._expected_version(place, dice)
        if dice in (7, 13, 19):  # seldom: the rest of the history needs something to go on with
            self.twins.ask(
                "delete", lambda store: store.delete(place.owner, place.id, hard=hard, expected_version=expected)
            )

    # Messages.

    @precondition(lambda self: self.places)
    @rule(which=_which, dice=_dice, salt=_which, in_run=st.booleans())
    def append(self, which: int, dice: int, salt: int, in_run: bool) -> None:
        place = self._place(which)
        hold = self._hold(place, salt) if in_run else None
        plan = build.plan_of(*self._lines(place, salt, dice))
        self._append(place, Append(plan, self._new_id(), salt, self._expected(place, dice), hold))

    @precondition(lambda self: self.places)
    @rule(which=_which, batch=st.lists(strategies.messages(), min_size=1, max_size=3))
    def append_anything(self, which: int, batch: list[NewMessage]) -> None:
        place = self._place(which)
        self._append(place, Append(build.plan_of(*batch), self._new_id(), which))

    @precondition(lambda self: self.appends)
    @rule(which=_which, dice=_dice)
    def append_again(self, which: int, dice: int) -> None:
        place, earlier = self.appends[which % len(self.appends)]
        self._append(place, replace(earlier, fingerprint=earlier.fingerprint + (dice < 4)))

    def _append(self, place: Place, given: Append) -> None:
        answer = self.twins.ask("append", lambda store: store.append(place.owner, place.id, given))
        self.appends.append((place, given))
        self._met("append replayed", isinstance(answer, Appended) and answer.replayed)

    @precondition(lambda self: self.places)
    @rule(which=_which, seq=st.integers(-1, 12))
    def delete_message(self, which: int, seq: int) -> None:
        place = self._place(which)
        at = self._seq(place, seq)
        self.twins.ask("delete_message", lambda store: store.delete_message(place.owner, place.id, at))

    @precondition(lambda self: self.places)
    @rule(which=_which, dice=_dice, back=st.integers(-1, 12))
    def rewind(self, which: int, dice: int, back: int) -> None:
        place = self._place(which)
        at, expected = self._seq(place, back), self._expected_version(place, dice)
        self.twins.ask("rewind", lambda store: store.rewind(place.owner, place.id, at, expected_version=expected))

    @precondition(lambda self: self.places and len(self.places) < 10)
    @rule(which=_which, back=st.integers(-1, 12), whole=st.booleans())
    def fork(self, which: int, back: int, whole: bool) -> None:
        place = self._place(which)
        new = build.new_conversation(
            id=ConversationId(self._new_id()),
            title=(None, "Fork")[which % 2],
            external_key=(None, None, None, "channel-1")[which % 4],
            metadata=({}, None)[which % 2],
        )
        at = None if whole else self._seq(place, back)
        answer = self.twins.ask("fork", lambda store: store.fork(place.owner, place.id, new, at))
        if isinstance(answer, Created):
            self.places.append(Place(place.owner, answer.conversation.id))

    @precondition(lambda self: self.places)
    @rule(which=_which, back=st.integers(-1, 12), tokens=st.integers(0, 30))
    def summarise(self, which: int, back: int, tokens: int) -> None:
        place = self._place(which)
        at = self._seq(place, back)
        self.twins.ask(
            "summarise",
            lambda store: store.summarise(place.owner, place.id, to_seq=at, text=f"Until {at}.", tokens=tokens),
        )

    def _seq(self, place: Place, back: int) -> int:
        """A seq near the head; -1 is one beyond."""
        view = self._view(place)
        return max((view.head if view is not None else 0) - back, 0)

    # Runs.

    def _hold(self, place: Place, which: int) -> RunHold | None:
        """Mostly the newest hold of the conversation; sometimes an older one, or a fence that nobody got."""
        mine = [hold for at, hold in self.holds if at.id == place.id] or [hold for _, hold in self.holds]
        if not mine:
            return None
        if which >= 90:
            return replace(mine[-1], fence=mine[-1].fence + 1)
        return mine[which % len(mine)] if which >= 70 else mine[-1]

    @precondition(lambda self: self.places)
    @rule(which=_which, dice=_dice, salt=_which, on_busy=_on_busy, window=_windows)
    def begin(self, which: int, dice: int, salt: int, on_busy: OnBusy, window: Window) -> None:
        place = self._place(which)
        lines = self._lines(place, salt, dice) if salt % 4 else []
        given = Begin(
            run_id=run_id_of(self._new_id().int >> 66),
            fingerprint=salt,
            owner_token=next(self._ids),
            plan=build.plan_of(*lines, answering=True),
            lease=_LEASE,
            on_busy=on_busy,
            key=None,
            expected_seq=self._expected(place, dice),
            window=window,
        )
        self._begin(place, given)

    @precondition(lambda self: self.begins)
    @rule(which=_which, dice=_dice, on_busy=_on_busy)
    def begin_again(self, which: int, dice: int, on_busy: OnBusy) -> None:
        place, earlier = self.begins[-1 - which % len(self.begins)]
        token = earlier.owner_token if dice % 2 else next(self._ids)
        changed = replace(earlier, owner_token=token, fingerprint=earlier.fingerprint + (dice < 2), on_busy=on_busy)
        self._begin(place, changed)

    def _begin(self, place: Place, given: Begin) -> None:
        answer = self.twins.ask("begin", lambda store: store.begin(place.owner, place.id, given), window=given.window)
        self.begins.append((place, given))
        if isinstance(answer, Begun):
            self._met("begin replayed", answer.replayed)
            self._met("run taken over", answer.took_over)
            self._met("new attempt", answer.run.attempt > 1)
            if answer.held:
                self.holds.append((place, RunHold(answer.run.id, answer.run.fence, _LEASE)))

    @precondition(lambda self: self.holds)
    @rule(which=_which, dice=_dice, salt=_which, status=_endings)
    def finish(self, which: int, dice: int, salt: int, status: Ending) -> None:
        place = self.holds[-1 - which % min(len(self.holds), 3)][0]
        hold = self._hold(place, which)
        assert hold is not None
        lines = self._lines(place, salt, dice) if salt % 3 else []
        self._finish(place, Finish(hold, status, build.plan_of(*lines), (None, "why")[salt % 2]))

    @precondition(lambda self: self.finishes)
    @rule(which=_which)
    def finish_again(self, which: int) -> None:
        self._finish(*self.finishes[-1 - which % len(self.finishes)])

    def _finish(self, place: Place, given: Finish) -> None:
        answer = self.twins.ask("finish", lambda store: store.finish(place.owner, place.id, given))
        self.finishes.append((place, given))
        appended = answer.appended if isinstance(answer, Finished) else None
        self._met("finish replayed", appended is not None and appended.replayed)

    @precondition(lambda self: self.holds)
    @rule(which=_which, salt=_which)
    def heartbeat(self, which: int, salt: int) -> None:
        place = self._place(which)
        hold = self._hold(place, salt)
        assert hold is not None
        self.twins.ask("heartbeat", lambda store: store.heartbeat(place.owner, place.id, hold))

    @precondition(lambda self: self.begins)
    @rule(which=_which, cancels=st.booleans())
    def look_at_or_cancel_a_run(self, which: int, cancels: bool) -> None:
        place, given = self.begins[-1 - which % len(self.begins)]
        if cancels and which % 3 == 0:
            self.twins.ask("cancel", lambda store: store.cancel(place.owner, place.id, given.run_id))
        else:
            self.twins.ask("run", lambda store: store.run(place.owner, place.id, given.run_id))

    @precondition(lambda self: self.holds)
    @rule(which=_which)
    def a_lease_runs_out(self, which: int) -> None:
        place = self._place(which)
        self.twins.expire_lease(place.owner, place.id)

    # Reading.

    @precondition(lambda self: self.places)
    @rule(which=_which, window=_windows)
    def load(self, which: int, window: Window) -> None:
        place = self._place(which)
        answer = self.twins.ask("load", lambda store: store.load(place.owner, place.id, window), window=window)
        if isinstance(answer, Loaded):
            chosen = choose_window(answer.rows, window)
            self._met("window cut", chosen.truncated)
            self._met("window summarised", chosen.summary is not None)

    @precondition(lambda self: self.places)
    @rule(which=_which, after=st.integers(0, 6), before=st.none() | st.integers(1, 12), limit=st.integers(1, 5))
    def page(self, which: int, after: int, before: int | None, limit: int) -> None:
        place, newest = self._place(which), which % 2 == 0
        self.twins.ask(
            "page",
            lambda store: store.page(place.owner, place.id, after=after, before=before, limit=limit, newest=newest),
        )

    @rule(which=_which, limit=st.integers(1, 4))
    def lists(self, which: int, limit: int) -> None:
        owner, status = self.users[which % len(self.users)], (None, ConversationStatus.ACTIVE)[which // 3 % 2]
        self.twins.ask("list", lambda store: _listed(store, owner, status, limit, skip=which // 50))
        after = self.places[which % len(self.places)].id if self.places and which % 2 else None
        self.twins.ask("export", lambda store: store.export(owner, after=after, limit=limit))
        first = UserId(f"{self._scope}")
        self.twins.ask("users", lambda store: _users_of_scope(store, first, limit))

    @precondition(lambda self: self.places)
    @rule(which=_which)
    def get(self, which: int) -> None:
        place = self._place(which)
        self.twins.ask("get", lambda store: store.get(place.owner, place.id))

    @rule(which=_which, really=_dice)
    def erase(self, which: int, really: int) -> None:
        if really == 19:
            self.twins.ask("erase", lambda store: store.erase(self.users[which % len(self.users)]))

    # What must hold at all times, and in the end.

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """Bounded, so that long histories stay quick."""
        for remembered in (self.appends, self.begins, self.holds, self.finishes, self.creates):
            del remembered[:-12]

    def teardown(self) -> None:
        if self.twins.differed:
            return
        for place in dict.fromkeys(self.places):
            self.twins.ask("get", lambda store, at=place: store.get(at.owner, at.id))  # type: ignore[misc]
            log = self.twins.ask("page", lambda store, at=place: _whole_log(store, at))  # type: ignore[misc]
            if not isinstance(log, KeepsayError):
                self._met("stand-in result", any(m.status is MessageStatus.SYNTHETIC for m in log))
                self._met("message rewound", any(m.hidden for m in log))
                self._met("message deleted", any(m.status is MessageStatus.DELETED for m in log))
        for owner in self.users:
            self.twins.ask("erase", lambda store, user=owner: store.erase(user))  # type: ignore[misc]


async def _whole_log(store: Store, place: Place) -> tuple[Message, ...]:
    """The log, which keeps its laws: no gaps, times that increase with the seq, and a true count."""
    page = await store.page(place.owner, place.id, after=0, before=None, limit=_MANY, newest=False)
    conversation = await store.get(place.owner, place.id)
    assert [m.seq for m in page.messages] == list(range(1, page.head + 1))
    assert all(one.created_at < next_one.created_at for one, next_one in pairwise(page.messages))
    visible = [m for m in page.messages if m.status is not MessageStatus.DELETED and not m.hidden]
    assert (conversation.head, conversation.message_count) == (page.head, len(visible))
    return page.messages


async def _listed(
    store: Store, owner: Owner, status: ConversationStatus | None, limit: int, skip: int
) -> list[Conversation]:
    """Two pages of the list: the second after the last of the first, whose time is the store's own."""
    first = await store.list(owner, status=status, limit=limit, after=None, skip=skip)
    if not first:
        return []
    position = Position(first[-1].updated_at, first[-1].id)
    return [*first, *await store.list(owner, status=status, limit=limit, after=position, skip=0)]


async def _users_of_scope(store: Store, scope: UserId, limit: int) -> list[UserId]:
    return [user for user in await store.users(after=scope, limit=limit) if user.startswith(scope)]


def _spiced(message: NewMessage, salt: int) -> NewMessage:
    """The message with what a few have: a client's id, an estimate of one's own, a cut."""
    return replace(
        message,
        tokens=(None, 1, 5, 20, 40)[salt % 5],
        client_id=f"item-{salt}" if salt % 7 == 0 else None,
        status="incomplete" if salt % 11 == 0 else "complete",
        metadata={"n": salt} if salt % 13 == 0 else {},
        usage={"total": salt} if salt % 17 == 0 else None,
    )


def run_histories(twins: Twins, *, examples: int, steps: int = 50) -> None:
    """Run so many histories of so many steps. Raises ``Difference`` with the shortest one that shows it."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        print_blob=True,
        report_multiple_bugs=False,
    )
    machine: Callable[[], StoreMachine] = lambda: StoreMachine(twins)  # noqa: E731
    run_state_machine_as_test(machine, settings=chosen)  # type: ignore[arg-type]
