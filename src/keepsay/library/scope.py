"""One user's conversations: everything that reads or writes goes through a scope."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from keepsay.errors import InvalidInput, VersionMismatch
from keepsay.library.ids import new_conversation_id, new_key, new_owner_token
from keepsay.library.messages import AnyMessage, fingerprint_of, plan_messages, system
from keepsay.library.run import Appending, RunContext, appending
from keepsay.model import limits
from keepsay.model.allowance import Allowance
from keepsay.model.conversation import Conversation, ConversationStatus, RolePolicy, RunRecord, Summary
from keepsay.model.cursor import Position, decode_cursor, encode_cursor
from keepsay.model.formats import count_tokens
from keepsay.model.ids import (
    ConversationId,
    RunId,
    UserId,
    append_id_for,
    checked_key,
    conversation_id_for,
    parse_conversation_id,
    parse_run_id,
    run_id_for,
    seq_of,
)
from keepsay.model.json_text import JsonObject, JsonValue, checked_metadata, storable_text, write_json
from keepsay.model.messages import Message
from keepsay.model.order import AppendPlan
from keepsay.model.standing import Standing
from keepsay.model.window import ModelWindow, Window, choose_window
from keepsay.store.protocol import (
    UNSET,
    Append,
    Begin,
    Changes,
    Created,
    Erased,
    NewConversation,
    OnBusy,
    Owner,
    Store,
    Unset,
)

Policy = Literal["strict", "lenient", "open"]
Status = Literal["active", "archived"]

EXPORT_PAGE = 50
"""How many messages of an export are read at once, and so held in memory: 50 MiB of them at the very most."""


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """Part of a list; pass ``next_cursor`` on for the next part. It is ``None`` on the last."""

    items: tuple[Conversation, ...]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        return self.next_cursor is not None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Part of a log, as it was when ``head`` was its last seq."""

    items: tuple[Message, ...]
    head: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class ConversationWindow:
    """A conversation with what the model would see of it, both of one moment."""

    conversation: Conversation
    window: ModelWindow


class UserScope:
    """The conversations of one user. Another user's are ``NotFound``, as absent and deleted ones are.

    Conversation ids may be given as UUIDs or as their texts.
    """

    def __init__(self, store: Store, user_id: UserId) -> None:
        self._store = store
        self._owner = Owner.of(user_id)

    @property
    def user_id(self) -> UserId:
        return self._owner.user_id

    async def create(
        self,
        *,
        title: str | None = None,
        system_prompt: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        external_key: str | None = None,
        role_policy: Policy = "strict",
        messages: Iterable[AnyMessage] = (),
        key: str | None = None,
    ) -> Conversation:
        """Create a conversation, with its first messages if any, all or nothing.

        ``external_key`` is your own id for it, unique among the user's: if one with it exists, that is returned and
        nothing else applied. ``key`` makes a retry from any process return the first result. A system prompt becomes
        the first message. Raises ``InvalidInput``, ``RoleOrderError``, ``KeyReused``.
        """
        created = await self.create_or_get(
            title=title,
            system_prompt=system_prompt,
            metadata=metadata,
            external_key=external_key,
            role_policy=role_policy,
            messages=messages,
            key=key,
        )
        return created.conversation

    async def create_or_get(
        self,
        *,
        title: str | None = None,
        system_prompt: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        external_key: str | None = None,
        role_policy: Policy = "strict",
        messages: Iterable[AnyMessage] = (),
        key: str | None = None,
    ) -> Created:
        """As ``create``, and say whether it was created."""
        first = [] if system_prompt is None else [system(checked_prompt(system_prompt))]
        plan = plan_messages([*first, *messages], limit=limits.MESSAGES_PER_CALL + len(first))
        new = self._new(
            plan, key, title=title, metadata=metadata, external_key=external_key, role_policy=_policy(role_policy),
            system_prompt=system_prompt,
        )  # fmt: skip
        return await self._store.create(self._owner, new, plan)

    def _new(
        self,
        plan: AppendPlan | None,
        key: str | None,
        *,
        title: str | None,
        metadata: Mapping[str, JsonValue] | None,
        external_key: str | None,
        role_policy: RolePolicy = RolePolicy.STRICT,
        system_prompt: str | None = None,
        source: str | None = None,
    ) -> NewConversation:
        checked = None if metadata is None else checked_metadata(metadata)
        parts = (title, None if checked is None else write_json(checked), external_key, role_policy.text, source)
        empty = plan if plan is not None else plan_messages(())
        return NewConversation(
            id=new_conversation_id() if key is None else conversation_id_for(self._owner.key, checked_key(key)),
            fingerprint=fingerprint_of("create", empty, *parts),
            role_policy=role_policy,
            title=None if title is None else _checked_title(title),
            system_prompt=system_prompt,
            external_key=None if external_key is None else checked_key(external_key, field="external_key"),
            metadata=checked,
        )

    async def get(self, conversation_id: UUID | str) -> Conversation:
        """The conversation. Raises ``NotFound``."""
        return await self._store.get(self._owner, parse_conversation_id(conversation_id))

    async def load(self, conversation_id: UUID | str, window: Window | None = None) -> ConversationWindow:
        """The conversation and what the model would see of it, in one round trip. Raises ``NotFound``."""
        window = Window() if window is None else window
        loaded = await self._store.load(self._owner, parse_conversation_id(conversation_id), window)
        return ConversationWindow(loaded.conversation, choose_window(loaded.rows, window))

    async def load_or_create(
        self, conversation_id: UUID | str | None, window: Window | None = None, *, role_policy: Policy = "strict"
    ) -> ConversationWindow:
        """The conversation with its window; a new one for ``None``, and only for that. Raises ``NotFound``."""
        if conversation_id is None:
            conversation_id = (await self.create(role_policy=role_policy)).id
        return await self.load(conversation_id, window)

    async def window(self, conversation_id: UUID | str, window: Window | None = None) -> ModelWindow:
        """What the model would see. Raises ``NotFound``."""
        return (await self.load(conversation_id, window)).window

    async def status(self, conversation_id: UUID | str) -> Standing:
        """Where the conversation stands: who may speak, what was said last, whether a run is under way.

        What may be appended is what ``append`` would accept at this moment. Raises ``NotFound``.
        """
        return await self._store.status(self._owner, parse_conversation_id(conversation_id))

    async def list(
        self,
        *,
        status: Status | None = None,
        limit: int = limits.PAGE_DEFAULT,
        cursor: str | None = None,
        skip: int = 0,
    ) -> ConversationPage:
        """The user's conversations, newest activity first. Raises ``InvalidCursor``, ``InvalidInput``."""
        check_page(limit)
        if type(skip) is not int or not 0 <= skip <= limits.SKIP_MAX:
            raise InvalidInput(f"skip is a whole number from 0 to {limits.SKIP_MAX}.", field="skip")
        found = await self._store.list(
            self._owner,
            status=None if status is None else _status(status),
            limit=limit + 1,
            after=None if cursor is None else decode_cursor(cursor),
            skip=skip,
        )
        items = tuple(found[:limit])
        more = len(found) > limit
        last = encode_cursor(Position(items[-1].updated_at, items[-1].id)) if more else None
        return ConversationPage(items, last)

    async def update(
        self,
        conversation_id: UUID | str,
        *,
        title: str | Unset | None = UNSET,
        status: Status | Unset = UNSET,
        metadata: Mapping[str, JsonValue] | Unset = UNSET,
        expected_version: int | None = None,
    ) -> Conversation:
        """Change title, status or metadata (as a whole). With nothing to change the conversation stays as it is.

        Raises ``NotFound``, ``VersionMismatch``, ``InvalidInput``.
        """
        changes = Changes(
            title=_checked_title(title) if isinstance(title, str) else title,
            status=status if isinstance(status, Unset) else _status(status),
            metadata=metadata if isinstance(metadata, Unset) else checked_metadata(metadata),
        )
        wanted = parse_conversation_id(conversation_id)
        if changes == Changes():
            return await self._unchanged(wanted, expected_version)
        return await self._store.update(self._owner, wanted, changes, expected_version=expected_version)

    async def _unchanged(self, conversation_id: ConversationId, expected_version: int | None) -> Conversation:
        found = await self._store.get(self._owner, conversation_id)
        if expected_version is not None and expected_version != found.version:
            raise VersionMismatch(expected=expected_version, version=found.version)
        return found

    async def delete(
        self, conversation_id: UUID | str, *, hard: bool = False, expected_version: int | None = None
    ) -> None:
        """Make the conversation unfindable; with ``hard`` erase its rows. Raises ``NotFound``, ``VersionMismatch``."""
        wanted = parse_conversation_id(conversation_id)
        await self._store.delete(self._owner, wanted, hard=hard, expected_version=expected_version)

    async def append(
        self,
        conversation_id: UUID | str,
        *messages: AnyMessage,
        key: str | None = None,
        expected_seq: int | None = None,
    ) -> Appending:
        """Append messages: adjacent, all or none. A text is a user's message, an object one in the chat format.

        ``key`` (1..255 characters): the same call again returns the first result, ``replayed``; other content with
        it is ``KeyReused``. ``expected_seq``: the head that you have seen; another is a ``SeqMismatch``.
        Raises ``NotFound``, ``RoleOrderError``, ``ConversationBusy``, ``InvalidInput``, ``TooLarge``.
        """
        wanted = parse_conversation_id(conversation_id)
        plan = plan_messages(messages)
        if not plan.messages:
            raise InvalidInput("There is no message to append.", field="messages")
        _check_seq("expected_seq", expected_seq)
        checked = new_key() if key is None else checked_key(key)
        append = Append(
            plan=plan,
            key=append_id_for(wanted, checked),
            fingerprint=fingerprint_of("append", plan),
            expected_seq=expected_seq,
        )
        return appending(wanted, plan, await self._store.append(self._owner, wanted, append))

    async def messages(
        self,
        conversation_id: UUID | str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = limits.PAGE_DEFAULT,
        newest_first: bool = False,
    ) -> MessagePage:
        """The log between two seqs, both exclusive: the first ``limit`` messages; with ``newest_first`` the last ones.

        Everything is in it: incomplete, deleted (blank) and rewound (``hidden``) messages too. Raises ``NotFound``.
        """
        check_page(limit)
        _check_seq("after", after)
        _check_seq("before", before)
        wanted = parse_conversation_id(conversation_id)
        page = await self._store.page(self._owner, wanted, after=after, before=before, limit=limit, newest=newest_first)
        return MessagePage(page.messages, page.head, page.has_more)

    async def delete_message(self, conversation_id: UUID | str, message: UUID | int) -> Conversation:
        """Blank a message, given by id or seq. Its seq stays; summaries that tell of it go. Raises ``NotFound``."""
        wanted = parse_conversation_id(conversation_id)
        seq = message if isinstance(message, int) else seq_of(wanted, message)
        _check_seq("seq", seq)
        return await self._store.delete_message(self._owner, wanted, seq)

    async def rewind(
        self, conversation_id: UUID | str, at_seq: int, *, expected_version: int | None = None
    ) -> Conversation:
        """Hide everything after ``at_seq`` from windows and order (to edit or regenerate); the log keeps it.

        Raises ``NotFound`` for a seq that is not there, ``ConversationBusy``, ``UnansweredCalls`` inside a tool call.
        """
        _check_seq("at_seq", at_seq)
        wanted = parse_conversation_id(conversation_id)
        return await self._store.rewind(self._owner, wanted, at_seq, expected_version=expected_version)

    async def fork(
        self,
        conversation_id: UUID | str,
        at_seq: int | None = None,
        *,
        title: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        external_key: str | None = None,
        key: str | None = None,
    ) -> Conversation:
        """A new conversation that starts as a copy up to ``at_seq`` (all of it), numbered anew from 1.

        Raises as ``create`` and ``rewind`` do.
        """
        forked = await self.fork_or_get(
            conversation_id, at_seq, title=title, metadata=metadata, external_key=external_key, key=key
        )
        return forked.conversation

    async def fork_or_get(
        self,
        conversation_id: UUID | str,
        at_seq: int | None = None,
        *,
        title: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        external_key: str | None = None,
        key: str | None = None,
    ) -> Created:
        """As ``fork``, and say whether it was created: one that has the ``external_key`` is returned as it is."""
        _check_seq("at_seq", at_seq)
        wanted = parse_conversation_id(conversation_id)
        new = self._new(
            None, key, title=title, metadata=metadata, external_key=external_key, source=f"{wanted}@{at_seq}"
        )
        return await self._store.fork(self._owner, wanted, new, at_seq)

    def run(
        self,
        conversation_id: UUID | str,
        *messages: AnyMessage,
        key: str | None = None,
        window: Window | None = None,
        lease: float = 30.0,
        on_busy: OnBusy = "reject",
        expected_seq: int | None = None,
        allowance: Allowance | None = None,
    ) -> RunContext:
        """``async with`` it: store the user's messages, take the conversation, get a ``Run`` with the model's window.

        Leaving the block completes the run; an exception fails it; cancellation cancels it. Tool calls that are then
        open get a stand-in result. Without messages the run answers what stands there. ``key``: the same again, after
        a crash or a retry, goes on with the same user message (see ``Run.replayed``). ``lease`` is in seconds: so long
        after the process dies may somebody else take over; it is renewed meanwhile. ``on_busy='interrupt'`` cancels a
        run that is under way instead of raising ``ConversationBusy``. ``allowance``: how many runs the user may begin;
        replays and refused ones do not count, new attempts do.
        Raises on entering: as ``append`` does, ``RunSuperseded`` for the key of a cancelled run, and ``RateLimited`` or
        ``QuotaExceeded``, which leave nothing behind.
        """
        wanted = parse_conversation_id(conversation_id)
        plan = plan_messages(messages, answering=True)
        if not limits.LEASE_SECONDS_MIN <= lease <= limits.LEASE_SECONDS_MAX:
            raise InvalidInput(
                f"lease is {limits.LEASE_SECONDS_MIN} to {limits.LEASE_SECONDS_MAX} seconds.", field="lease"
            )
        if on_busy not in ("reject", "interrupt"):
            raise InvalidInput("on_busy is 'reject' or 'interrupt'.", field="on_busy")
        _check_seq("expected_seq", expected_seq)
        window = Window() if window is None else window
        begin = Begin(
            run_id=run_id_for(wanted, new_key() if key is None else checked_key(key)),
            fingerprint=fingerprint_of("run", plan),
            owner_token=new_owner_token(),
            plan=plan,
            lease=lease,
            on_busy=on_busy,
            key=None if key is None else checked_key(key),
            expected_seq=expected_seq,
            window=window,
            allowance=allowance,
        )
        return RunContext(self._store, self._owner, wanted, begin, window)

    async def get_run(self, conversation_id: UUID | str, run_id: UUID | str) -> RunRecord:
        """A run as it is now. Raises ``NotFound``."""
        return await self._store.run(self._owner, parse_conversation_id(conversation_id), parse_run_id(run_id))

    async def cancel_run(self, conversation_id: UUID | str, run_id: UUID | str) -> RunRecord:
        """Cancel a run wherever it is under way; it can write nothing more. Raises ``NotFound``."""
        return await self._store.cancel(self._owner, parse_conversation_id(conversation_id), parse_run_id(run_id))

    def run_id(self, conversation_id: UUID | str, key: str) -> RunId:
        """The id of the run that has, or will have, this key."""
        return run_id_for(parse_conversation_id(conversation_id), checked_key(key))

    async def summarise(self, conversation_id: UUID | str, up_to_seq: int, text: str) -> Summary:
        """Let ``text`` stand for the messages up to a seq in windows; they stay.

        Raises ``NotFound`` for a seq that is not there, ``UnansweredCalls`` inside a tool call.
        """
        _check_seq("up_to_seq", up_to_seq)
        checked = storable_text(text, field="text", limit=limits.SUMMARY_CHARS)
        return await self._store.summarise(
            self._owner,
            parse_conversation_id(conversation_id),
            to_seq=up_to_seq,
            text=checked,
            tokens=count_tokens({"content": checked}),
        )

    async def export(self) -> AsyncIterator[JsonObject]:
        """Everything kept of the user: each conversation as one object, followed by its messages, payloads verbatim.

        The last object, of type ``end``, tells how many there were: without it the export is not whole.
        """
        after: ConversationId | None = None
        conversations = messages = 0
        while found := await self._store.export(self._owner, after=after, limit=limits.PAGE_MAX):
            for conversation in found:
                yield {"type": "conversation", **conversation.to_dict()}
                conversations += 1
                async for message in self._whole_log(conversation.id):
                    yield {"type": "message", "conversation_id": str(conversation.id), **_exported(message)}
                    messages += 1
            after = found[-1].id
        yield {"type": "end", "conversations": conversations, "messages": messages}

    async def _whole_log(self, conversation_id: ConversationId) -> AsyncIterator[Message]:
        seq = 0
        while True:
            page = await self._store.page(
                self._owner, conversation_id, after=seq, before=None, limit=EXPORT_PAGE, newest=False
            )
            for message in page.messages:
                yield message
            if not page.has_more:
                return
            seq = page.messages[-1].seq

    async def erase(self) -> Erased:
        """Delete every row of the user from every table, for good, and return how many there were."""
        return await self._store.erase(self._owner)


def _exported(message: Message) -> JsonObject:
    return {**message.to_dict(), "payload": message.payload}


def _checked_title(title: str) -> str:
    return storable_text(title, field="title", limit=limits.TITLE_CHARS)


def checked_prompt(prompt: str) -> str:
    """The system prompt. Raises ``InvalidInput``, ``TooLarge``."""
    return storable_text(prompt, field="system_prompt", limit=limits.SYSTEM_PROMPT_CHARS)


def check_page(limit: object) -> None:
    """Raise ``InvalidInput`` unless this can be the length of a page."""
    if type(limit) is not int or not 1 <= limit <= limits.PAGE_MAX:
        raise InvalidInput(f"limit is a whole number from 1 to {limits.PAGE_MAX}.", field="limit")


def _check_seq(name: str, seq: object) -> None:
    if seq is not None and (type(seq) is not int or not 0 <= seq <= limits.SEQ_MAX):
        raise InvalidInput(f"{name} is a whole number from 0 to {limits.SEQ_MAX}.", field=name)


def _policy(name: str) -> RolePolicy:
    for policy in RolePolicy:
        if policy.text == name:
            return policy
    raise InvalidInput("role_policy is 'strict', 'lenient' or 'open'.", field="role_policy")


def _status(name: str) -> ConversationStatus:
    for status in ConversationStatus:
        if status.text == name:
            return status
    raise InvalidInput("status is 'active' or 'archived'.", field="status")
