"""A random history in the making: what has been said and asked so far, and the next step of it, put to two stores.

A step chooses among what the history has by numbers: ``which`` (0..99) picks a conversation or an earlier request,
``salt`` (0..99) the content, ``dice`` (0..19) whether all is in order. So histories shrink well and can be replayed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import TypeVar
from uuid import UUID, uuid4

from keepsay.errors import KeepsayError
from keepsay.model.allowance import Allowance
from keepsay.model.conversation import Conversation, ConversationStatus, RolePolicy
from keepsay.model.cursor import Position
from keepsay.model.ids import ConversationId, UserId, run_id_of
from keepsay.model.json_text import JsonObject
from keepsay.model.messages import Message, MessageStatus, NewMessage, OrderState
from keepsay.model.standing import Standing
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
    Unset,
)
from keepsay.testing import build
from keepsay.testing.fitting import fitting_lines, spiced
from keepsay.testing.twins import Twins

__all__ = ["History", "Place"]

T = TypeVar("T")
LEASE = 600.0
MANY = 10_000
REMEMBERED = 12
USERS = 3
ALLOWANCES = (None, None, None, Allowance(per_minute=1, burst=2), Allowance(per_day=1), Allowance(1, 3, 2))
"""Of some runs: nothing comes back within a history, so that time has no say."""


@dataclass(frozen=True, slots=True)
class Place:
    """A conversation as a caller knows it: whose it is, and its id."""

    owner: Owner
    id: ConversationId


class History:
    """Several users and conversations. Every answer is compared; ``end`` compares and checks what is left."""

    def __init__(self, twins: Twins) -> None:
        self.twins = twins
        twins.differed = False
        self._numbers = count(1)
        self._scope = uuid4()
        self.users = [Owner.of(UserId(f"{self._scope}:{n}")) for n in range(USERS)]
        self.places: list[Place] = []
        self.gone: list[Place] = []
        self.creates: list[tuple[Owner, NewConversation, tuple[str, ...]]] = []
        self.appends: list[tuple[Place, Append]] = []
        self.begins: list[tuple[Place, Begin]] = []
        self.holds: list[tuple[Place, RunHold]] = []
        self.finishes: list[tuple[Place, Finish]] = []

    # What a step is made of.

    def _new_id(self) -> UUID:
        """The same in every repetition of this history, but for its scope, and in no telling order."""
        return UUID(int=(next(self._numbers) * 0x9E3779B1 % 2**32) << 96 | self._scope.int % 2**96)

    def place(self, which: int) -> Place:
        """Mostly one of the newest conversations, by its owner; sometimes one that is gone, or another user tries."""
        if which >= 97 and self.gone:
            return self.gone[which % len(self.gone)]
        if not self.places:
            self.create(which, RolePolicy.STRICT, ())
        place = self.places[-1 - which % min(len(self.places), 3)]
        return replace(place, owner=self.users[which % USERS]) if which in (93, 94, 95) else place

    def _view(self, place: Place) -> Conversation | None:
        view = self.twins.peek(lambda store: store.get(place.owner, place.id))
        return None if isinstance(view, KeepsayError) else view

    def _lines(self, place: Place, salt: int, dice: int) -> list[NewMessage]:
        """Messages that mostly may stand where the conversation stands."""
        view = self._view(place)
        calling = view is not None and view.state is OrderState.CALLING
        log = self.twins.peek(lambda store: whole_log(store, place)) if calling else ()
        messages = () if isinstance(log, KeepsayError) else log
        chosen = fitting_lines(view, messages, salt, fits=dice < 16)
        return [spiced(build.message(line), salt + at) for at, line in enumerate(chosen)]

    def _expected_seq(self, place: Place, dice: int) -> int | None:
        """Mostly nothing is expected, sometimes what is so, sometimes what is not."""
        if dice < 15:
            return None
        view = self._view(place)
        return (view.head if view is not None else 0) + (dice > 18)

    def _expected_version(self, place: Place, dice: int) -> int | None:
        if dice < 13:
            return None
        view = self._view(place)
        return (view.version if view is not None else 1) + (dice > 17)

    def _seq(self, place: Place, back: int) -> int:
        """A seq that lies so far before the head; one beyond for -1."""
        view = self._view(place)
        return max((view.head if view is not None else 0) - back, 0)

    def _met(self, event: str, happened: bool = True) -> None:
        if happened:
            self.twins.meetings.events[event] += 1

    # Conversations.

    def create(self, which: int, policy: RolePolicy, lines: tuple[str, ...], external_key: str | None = None) -> None:
        new = build.new_conversation(
            policy,
            id=ConversationId(self._new_id()),
            title=(None, "Trip")[which % 2],
            system_prompt="s" if "system: s" in lines else None,
            external_key=external_key,
            metadata={"b": 1, "a": [which]} if which % 3 else None,
        )
        self._create(self.users[which % USERS], new, lines)

    def create_again(self, which: int, dice: int) -> None:
        if self.creates:
            owner, new, lines = self.creates[which % len(self.creates)]
            self._create(owner, replace(new, fingerprint=new.fingerprint + (dice < 5)), lines)

    def _create(self, owner: Owner, new: NewConversation, lines: tuple[str, ...]) -> None:
        answer = self.twins.ask("create", lambda store: store.create(owner, new, build.plan_of(*lines)))
        self._remember(self.creates, (owner, new, lines))
        self._add_place(owner, answer)

    def _add_place(self, owner: Owner, answer: Created | KeepsayError) -> None:
        if isinstance(answer, KeepsayError):
            return
        self._met("taken external key", not answer.created)
        place = Place(owner, answer.conversation.id)
        self.places = [*(other for other in self.places if other != place), place]

    def _remember(self, requests: list[T], request: T) -> None:
        requests.append(request)
        del requests[:-REMEMBERED]

    def update(self, which: int, dice: int, title: str | Unset | None, metadata: JsonObject | None) -> None:
        place = self.place(which)
        status = (UNSET, ConversationStatus.ACTIVE, ConversationStatus.ARCHIVED)[which % 3]
        changes = Changes(title, status, UNSET if metadata is None else metadata)
        version = self._expected_version(place, dice)
        self.twins.ask("update", lambda store: store.update(place.owner, place.id, changes, expected_version=version))

    def delete(self, which: int, dice: int, *, hard: bool) -> None:
        place = self.place(which)
        version = self._expected_version(place, dice)
        answer = self.twins.ask(
            "delete", lambda store: store.delete(place.owner, place.id, hard=hard, expected_version=version)
        )
        if answer is None:
            self._leave(place)

    def erase(self, which: int) -> None:
        owner = self.users[which % USERS]
        self.twins.ask("erase", lambda store: store.erase(owner))
        for place in [place for place in self.places if place.owner == owner]:
            self._leave(place)

    def _leave(self, place: Place) -> None:
        self.places.remove(place)
        self.gone.append(place)

    # Messages.

    def append(self, which: int, dice: int, salt: int, *, in_run: bool) -> None:
        place = self.place(which)
        hold = self._hold(place, salt) if in_run else None
        plan = build.plan_of(*self._lines(place, salt, dice))
        self._append(place, Append(plan, self._new_id(), salt, self._expected_seq(place, dice), hold))
        if which % 10 == 0:
            self.append_again(0, dice)

    def append_this(self, which: int, message: NewMessage) -> None:
        self._append(self.place(which), Append(build.plan_of(message), self._new_id(), which))

    def append_again(self, which: int, dice: int) -> None:
        if self.appends:
            place, earlier = self.appends[-1 - which % len(self.appends)]
            self._append(place, replace(earlier, fingerprint=earlier.fingerprint + (dice < 4)))

    def _append(self, place: Place, given: Append) -> None:
        answer = self.twins.ask("append", lambda store: store.append(place.owner, place.id, given))
        self._remember(self.appends, (place, given))
        self._met("append replayed", isinstance(answer, Appended) and answer.replayed)

    def delete_message(self, which: int, back: int) -> None:
        place = self.place(which)
        seq = self._seq(place, back)
        self.twins.ask("delete_message", lambda store: store.delete_message(place.owner, place.id, seq))

    def rewind(self, which: int, dice: int, back: int) -> None:
        place = self.place(which)
        at, version = self._seq(place, back), self._expected_version(place, dice)
        self.twins.ask("rewind", lambda store: store.rewind(place.owner, place.id, at, expected_version=version))

    def fork(self, which: int, dice: int, back: int) -> None:
        place = self.place(which)
        new = build.new_conversation(
            id=ConversationId(self._new_id()),
            title=(None, "Fork")[dice % 2],
            external_key=(None, None, None, "channel-1")[dice % 4],
            metadata=({}, None)[dice % 2],
        )
        at = None if dice < 8 else self._seq(place, back)
        self._add_place(place.owner, self.twins.ask("fork", lambda s: s.fork(place.owner, place.id, new, at)))

    def summarise(self, which: int, dice: int, back: int) -> None:
        place = self.place(which)
        seq = self._seq(place, back)
        self.twins.ask(
            "summarise",
            lambda store: store.summarise(place.owner, place.id, to_seq=seq, text=f"Until {seq}.", tokens=dice),
        )

    # Runs.

    def _hold(self, place: Place, salt: int) -> RunHold | None:
        """Mostly the newest hold of the conversation; sometimes an older one, or a fence that nobody got."""
        mine = [hold for at, hold in self.holds if at.id == place.id] or [hold for _, hold in self.holds]
        if not mine:
            return None
        if salt >= 92:
            return replace(mine[-1], fence=mine[-1].fence + 1)
        return mine[salt % len(mine)] if salt >= 75 else mine[-1]

    def begin(self, which: int, dice: int, salt: int, on_busy: OnBusy, window: Window) -> None:
        place = self.place(which)
        lines = self._lines(place, salt, dice) if salt % 4 else []
        given = Begin(
            run_id=run_id_of(self._new_id().int >> 66),
            fingerprint=salt,
            owner_token=next(self._numbers),
            plan=build.plan_of(*lines, answering=True),
            lease=LEASE,
            on_busy=on_busy,
            expected_seq=self._expected_seq(place, dice),
            window=window,
            allowance=ALLOWANCES[salt % len(ALLOWANCES)],
        )
        self._begin(place, given)

    def begin_again(self, which: int, dice: int, on_busy: OnBusy) -> None:
        if self.begins:
            self._begin_again(*self.begins[-1 - which % len(self.begins)], dice, on_busy)

    def _begin_again(self, place: Place, earlier: Begin, dice: int, on_busy: OnBusy) -> None:
        """By the same caller or another, sometimes with another request."""
        token = earlier.owner_token if dice % 2 else next(self._numbers)
        fingerprint = earlier.fingerprint + (dice < 2)
        self._begin(place, replace(earlier, owner_token=token, fingerprint=fingerprint, on_busy=on_busy))

    def _begin(self, place: Place, given: Begin) -> None:
        answer = self.twins.ask("begin", lambda store: store.begin(place.owner, place.id, given), window=given.window)
        self._remember(self.begins, (place, given))
        if isinstance(answer, Begun):
            self._met("begin replayed", answer.replayed)
            self._met("run taken over", answer.took_over)
            self._met("new attempt", not answer.replayed and answer.run.attempt > 1)
            if answer.held:
                self._remember(self.holds, (place, RunHold(answer.run.id, answer.run.fence, LEASE)))

    def finish(self, which: int, dice: int, salt: int, status: Ending) -> None:
        """Mostly of the run that began last; some callers did not hear of it and do it, or the run, again."""
        place = self.holds[-1][0] if self.holds and which % 4 else self.place(which)
        hold = self._hold(place, salt)
        if hold is None:
            return
        lines = self._lines(place, salt, dice) if salt % 3 else []
        self._finish(place, Finish(hold, status, build.plan_of(*lines), (None, "why")[salt % 2]))
        if which % 3 == 0:
            self.finish_again(0)
        if which % 3 == 1:
            for at, begun in [(at, begun) for at, begun in self.begins if begun.run_id == hold.run_id][-1:]:
                self._begin_again(at, begun, salt % 20, "reject")

    def finish_again(self, which: int) -> None:
        if self.finishes:
            self._finish(*self.finishes[-1 - which % len(self.finishes)])

    def _finish(self, place: Place, given: Finish) -> None:
        answer = self.twins.ask("finish", lambda store: store.finish(place.owner, place.id, given))
        self._remember(self.finishes, (place, given))
        appended = answer.appended if isinstance(answer, Finished) else None
        self._met("finish replayed", appended is not None and appended.replayed)

    def heartbeat(self, which: int, salt: int) -> None:
        place = self.place(which)
        hold = self._hold(place, salt)
        if hold is not None:
            self.twins.ask("heartbeat", lambda store: store.heartbeat(place.owner, place.id, hold))

    def cancel(self, which: int) -> None:
        if self.begins:
            place, given = self.begins[-1 - which % len(self.begins)]
            self.twins.ask("cancel", lambda store: store.cancel(place.owner, place.id, given.run_id))

    def expire(self, which: int) -> None:
        """Of a conversation that a run holds, where there is one."""
        place = self.holds[-1][0] if self.holds else self.place(which)
        if self._view(place) is not None:
            self.twins.expire_lease(place.owner, place.id)

    # Reading.

    def run(self, which: int) -> None:
        if self.begins:
            place, given = self.begins[-1 - which % len(self.begins)]
            self.twins.ask("run", lambda store: store.run(place.owner, place.id, given.run_id))

    def get(self, which: int) -> None:
        place = self.place(which)
        self.twins.ask("get", lambda store: store.get(place.owner, place.id))

    def status(self, which: int, salt: int) -> None:
        """Where it stands; and at times somebody speaks, who is let if and only if that said so."""
        place, speaker = self.place(which), ("user", "assistant")[salt % 2]
        answer = self.twins.ask("status", lambda store: store.status(place.owner, place.id))
        if salt % 3 or not isinstance(answer, Standing):
            return
        told = answer.can_add_user if speaker == "user" else answer.can_add_assistant
        given = build.append(f"{speaker}: told so")
        appended = self.twins.ask("append", lambda store: store.append(place.owner, place.id, given))
        self._met("told who may speak", isinstance(appended, Appended))
        assert told is isinstance(appended, Appended), f"the {speaker} may speak: {told}, but {appended!r}"

    def load(self, which: int, window: Window) -> None:
        place = self.place(which)
        answer = self.twins.ask("load", lambda store: store.load(place.owner, place.id, window), window=window)
        if isinstance(answer, Loaded):
            chosen = choose_window(answer.rows, window)
            self._met("window cut", chosen.truncated)
            self._met("window summarised", chosen.summary is not None)

    def page(self, which: int, dice: int, limit: int) -> None:
        place = self.place(which)
        after, before, newest = dice // 3, (None, dice)[which % 2], which % 3 == 0
        self.twins.ask(
            "page",
            lambda store: store.page(place.owner, place.id, after=after, before=before, limit=limit, newest=newest),
        )

    def list(self, which: int, dice: int, limit: int) -> None:
        owner, status = self.users[which % USERS], (None, None, *ConversationStatus)[dice % 4]
        self.twins.ask("list", lambda store: _two_pages(store, owner, status, limit, skip=dice // 15))

    def export(self, which: int, limit: int) -> None:
        owner, after = self.users[which % USERS], self.place(which).id if which % 2 else None
        self.twins.ask("export", lambda store: store.export(owner, after=after, limit=limit))

    def list_users(self, limit: int) -> None:
        scope = UserId(str(self._scope))
        self.twins.ask("users", lambda store: _users_from(store, scope, limit))

    def end(self) -> None:
        """Compare all that is left, check that it keeps the laws of logs, and erase it."""
        for place in self.places:
            self._compare_log(place)
        for owner in {place.owner for place in (*self.places, *self.gone)}:
            self.twins.ask("erase", lambda store, user=owner: store.erase(user))  # type: ignore[misc]

    def _compare_log(self, place: Place) -> None:
        log = self.twins.ask("page", lambda store: whole_log(store, place))
        assert not isinstance(log, KeepsayError)
        self._met("stand-in result", any(m.status is MessageStatus.SYNTHETIC for m in log))
        self._met("message rewound", any(m.hidden for m in log))
        self._met("message deleted", any(m.status is MessageStatus.DELETED for m in log))


async def whole_log(store: Store, place: Place) -> tuple[Message, ...]:
    """The log, which keeps its laws: no gaps, times that increase with the seq, and a true count."""
    page = await store.page(place.owner, place.id, after=0, before=None, limit=MANY, newest=False)
    conversation = await store.get(place.owner, place.id)
    assert [m.seq for m in page.messages] == list(range(1, page.head + 1))
    assert all(earlier.created_at < later.created_at for earlier, later in pairwise(page.messages))
    visible = [m for m in page.messages if m.status is not MessageStatus.DELETED and not m.hidden]
    assert (conversation.head, conversation.message_count) == (page.head, len(visible))
    return page.messages


async def _two_pages(
    store: Store, owner: Owner, status: ConversationStatus | None, limit: int, skip: int
) -> list[Conversation]:
    """The second page goes on after the last of the first, whose time is the store's own."""
    first = await store.list(owner, status=status, limit=limit, after=None, skip=skip)
    if not first:
        return []
    position = Position(first[-1].updated_at, first[-1].id)
    return [*first, *await store.list(owner, status=status, limit=limit, after=position, skip=0)]


async def _users_from(store: Store, scope: UserId, limit: int) -> list[UserId]:
    return [user for user in await store.users(after=scope, limit=limit) if user.startswith(scope)]
