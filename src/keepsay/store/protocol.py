"""The port: what the library asks of a store. Not stable: keepsay may reshape it in any release.

Every verb is atomic, takes effect while it holds the conversation's lock, and answers ``NotFound`` alike for what is
absent, deleted or another user's. ``keepsay.testing.contract`` is the suite that every store passes.

Checks are made in one order, and the first that fails is the one reported: owner, key, fence, expected, order, limits,
allowance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from keepsay.model.allowance import Allowance
from keepsay.model.conversation import Conversation, ConversationStatus, RolePolicy, RunRecord, RunStatus, Summary
from keepsay.model.cursor import Position
from keepsay.model.ids import ConversationId, Key, RunId, UserId, UserKey, user_key
from keepsay.model.json_text import JsonObject
from keepsay.model.messages import Message
from keepsay.model.order import AppendPlan
from keepsay.model.standing import Standing
from keepsay.model.window import Window, WindowRows

OnBusy = Literal["reject", "interrupt"]
Ending = Literal[RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED]


class Unset:
    """The type of ``UNSET``: a field that an update leaves as it is."""


UNSET = Unset()


@dataclass(frozen=True, slots=True)
class Owner:
    """The user whose data a call is about. Nothing is read or written without one."""

    user_id: UserId
    key: UserKey

    @classmethod
    def of(cls, user_id: UserId) -> Owner:
        return cls(user_id, user_key(user_id))


@dataclass(frozen=True, slots=True)
class NewConversation:
    """What ``create`` is given. ``fingerprint`` covers everything else: a retry is told from another request."""

    id: ConversationId
    fingerprint: int
    role_policy: RolePolicy = RolePolicy.STRICT
    title: str | None = None
    system_prompt: str | None = None
    external_key: Key | None = None
    metadata: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Created:
    conversation: Conversation
    created: bool
    """False when the external key named one that was there. A retry of the creating request is told true again."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Fields of a conversation to change; those left ``UNSET`` stay."""

    title: str | Unset | None = UNSET
    status: ConversationStatus | Unset = UNSET
    metadata: JsonObject | Unset = UNSET


@dataclass(frozen=True, slots=True)
class RunHold:
    """The right of a run to write: its id and the fence that it got when it began."""

    run_id: RunId
    fence: int
    lease: float
    """Seconds from now for which the run wants the conversation kept for it."""


@dataclass(frozen=True, slots=True)
class Append:
    """What ``append`` is given."""

    plan: AppendPlan
    key: UUID
    fingerprint: int
    expected_seq: int | None = None
    hold: RunHold | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """Where the batch came to stand: ``first_seq``, ``first_seq + 1``, ... one microsecond apart."""

    first_seq: int
    head: int
    created_at: datetime
    replayed: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a log, as it was when ``head`` was its last seq."""

    messages: tuple[Message, ...]
    head: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    conversation: Conversation
    rows: WindowRows


@dataclass(frozen=True, slots=True)
class Begin:
    """What ``begin`` is given. ``owner_token`` tells a retry of this very call, which renews the lease."""

    run_id: RunId
    fingerprint: int
    owner_token: int
    plan: AppendPlan
    lease: float
    on_busy: OnBusy = "reject"
    key: Key | None = None
    expected_seq: int | None = None
    window: Window = field(default_factory=Window)
    allowance: Allowance | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that began, or the one that began before with this key (``replayed``)."""

    run: RunRecord
    replayed: bool
    held: bool
    """Whether the caller now holds the conversation; false for a replay of a run that somebody holds or that ended."""
    took_over: bool
    """Whether another run lost the conversation to this one."""
    rows: WindowRows
    """For a replay of a run that has ended, the messages are those of the run instead."""


@dataclass(frozen=True, slots=True)
class Finish:
    """What ``finish`` is given: the last messages of the run, and how it ends."""

    hold: RunHold
    status: Ending
    plan: AppendPlan
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    run: RunRecord
    appended: Appended | None
    """Where the last messages came to stand; ``None`` if there were none."""


@dataclass(frozen=True, slots=True)
class Erased:
    """The receipt of an erasure: rows deleted, table by table."""

    conversations: int
    messages: int
    runs: int
    summaries: int
    users: int


class Store(Protocol):
    """A place where conversations are kept."""

    async def create(self, owner: Owner, new: NewConversation, plan: AppendPlan) -> Created:
        """Create a conversation with its first messages, and the user's row if it is the first; all or nothing.

        With an ``external_key`` that a conversation of the user has, return that one and apply nothing. The same id
        again: the first result if the fingerprint is equal, else ``KeyReused``. Raises ``RoleOrderError``.
        """

    async def get(self, owner: Owner, conversation_id: ConversationId) -> Conversation:
        """The conversation. Raises ``NotFound``."""

    async def load(self, owner: Owner, conversation_id: ConversationId, window: Window) -> Loaded:
        """The conversation and what its window is built of, both of one moment. Raises ``NotFound``."""

    async def status(self, owner: Owner, conversation_id: ConversationId) -> Standing:
        """Where the conversation stands, for whoever writes next: a run whose lease has run out counts as ended.

        Raises ``NotFound``.
        """

    async def list(
        self, owner: Owner, *, status: ConversationStatus | None, limit: int, after: Position | None, skip: int
    ) -> Sequence[Conversation]:
        """The user's conversations, newest activity first, those after the position. May lag behind."""

    async def update(
        self, owner: Owner, conversation_id: ConversationId, changes: Changes, *, expected_version: int | None
    ) -> Conversation:
        """Change the given fields and return the result. Raises ``NotFound``, ``VersionMismatch``."""

    async def delete(
        self, owner: Owner, conversation_id: ConversationId, *, hard: bool, expected_version: int | None
    ) -> None:
        """Make the conversation unfindable; with ``hard`` erase its rows. Raises ``NotFound``, ``VersionMismatch``."""

    async def append(self, owner: Owner, conversation_id: ConversationId, append: Append) -> Appended:
        """Append the batch: adjacent, all or nothing, in the order of the locks.

        The same key and fingerprint again: the first result, ``replayed``. With a hold, also renews the lease.
        Raises ``NotFound``, ``KeyReused``, ``RunSuperseded``, ``ConversationBusy`` (strict policy, another's run under
        way), ``SeqMismatch``, ``RoleOrderError``, ``InvalidInput`` (a client id that is taken).
        """

    async def page(
        self, owner: Owner, conversation_id: ConversationId, *, after: int, before: int | None, limit: int, newest: bool
    ) -> Page:
        """The messages with ``after < seq < before``: the first ``limit``; with ``newest`` the last, newest first."""

    async def delete_message(self, owner: Owner, conversation_id: ConversationId, seq: int) -> Conversation:
        """Blank a message, and summaries that cover it; its seq stays. Of the last one, the order goes back with it.

        Raises ``NotFound`` (also for a deleted one), ``ConversationBusy`` for the last one while a run is under way.
        """

    async def rewind(
        self, owner: Owner, conversation_id: ConversationId, at_seq: int, *, expected_version: int | None
    ) -> Conversation:
        """Hide everything after ``at_seq`` from windows and order; 0 hides all. The log keeps it.

        Raises ``NotFound`` for a seq that is not in the conversation or hidden itself, ``VersionMismatch``,
        ``ConversationBusy``, ``UnansweredCalls`` where it would part calls from their results.
        """

    async def fork(
        self, owner: Owner, conversation_id: ConversationId, new: NewConversation, at_seq: int | None
    ) -> Created:
        """Create a conversation that starts as a copy of what is not rewound up to ``at_seq`` (all), renumbered.

        Raises as ``create`` and ``rewind`` do.
        """

    async def begin(self, owner: Owner, conversation_id: ConversationId, begin: Begin) -> Begun:
        """Begin a run: append the user's messages, take the conversation, and return what its window is built of.

        A run whose lease has run out is ended as expired and taken over. The same key again: a run under way or ended
        well is replayed; one that failed or expired gets a new attempt on the messages that it appended then, unless
        they are gone or the conversation went on (``RunSuperseded``).
        With an allowance, what begins or gets a new attempt is charged to the user, exactly, over all conversations and
        callers; a replay is not, and what is refused leaves no trace.
        Raises as ``append`` does, ``ConversationBusy`` when another run is under way and not to be interrupted, and
        ``RateLimited``, ``QuotaExceeded``.
        """

    async def heartbeat(self, owner: Owner, conversation_id: ConversationId, hold: RunHold) -> datetime:
        """Renew the lease and return its end. Raises ``RunSuperseded``: the run was cancelled, taken over or ended."""

    async def finish(self, owner: Owner, conversation_id: ConversationId, finish: Finish) -> Finished:
        """Append the last messages, answer the calls still open with their stand-ins, and end the run; all or nothing.

        The same again: the first result. Raises ``RunSuperseded``, ``RoleOrderError``.
        """

    async def cancel(self, owner: Owner, conversation_id: ConversationId, run_id: RunId) -> RunRecord:
        """End the run as cancelled, if it is under way, and return it as it is now. Raises ``NotFound``."""

    async def run(self, owner: Owner, conversation_id: ConversationId, run_id: RunId) -> RunRecord:
        """The run; expired once its lease has run out, even if nobody took over. Raises ``NotFound``."""

    async def summarise(
        self, owner: Owner, conversation_id: ConversationId, *, to_seq: int, text: str, tokens: int
    ) -> Summary:
        """Let ``text`` stand for the messages up to ``to_seq`` in windows. The messages stay. Replaces one at that seq.

        Raises ``NotFound`` for a seq that is not there or hidden, ``UnansweredCalls`` inside a tool call.
        """

    async def export(self, owner: Owner, *, after: ConversationId | None, limit: int) -> Sequence[Conversation]:
        """The user's conversations by id, those after ``after``: a walk that misses none that is there throughout."""

    async def erase(self, owner: Owner) -> Erased:
        """Delete every row of the user from every table; what was spent of an allowance goes with the user's row."""

    async def users(self, *, after: UserId | None, limit: int) -> Sequence[UserId]:
        """For operators: user ids in the order of their bytes, those after ``after``."""

    async def close(self) -> None:
        """Give back what the store holds. A closed store may not be used again."""
