"""A conversation in a store, to be talked to in lines of text (``keepsay.testing.build``)."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from keepsay.model.allowance import Allowance
from keepsay.model.conversation import Conversation, RolePolicy, RunRecord, RunStatus
from keepsay.model.ids import ConversationId, RunId
from keepsay.model.json_text import JsonObject
from keepsay.model.messages import Message
from keepsay.model.window import ModelWindow, Window, choose_window
from keepsay.store.protocol import Appended, Begun, Created, Ending, Finished, OnBusy, Owner, RunHold, Store
from keepsay.testing import build
from keepsay.testing.build import Line

__all__ = ["Talk", "start_talk"]

_ALL = 100_000


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation and its owner: verbs without what every call repeats."""

    store: Store
    owner: Owner
    id: ConversationId

    async def get(self) -> Conversation:
        return await self.store.get(self.owner, self.id)

    async def log(self) -> tuple[Message, ...]:
        page = await self.store.page(self.owner, self.id, after=0, before=None, limit=_ALL, newest=False)
        return page.messages

    async def words(self) -> list[str]:
        """The log in lines, rewound messages left out."""
        return [build.words_of(stored) for stored in await self.log() if not stored.hidden]

    async def window(self, window: Window | None = None) -> ModelWindow:
        window = window or Window()
        return choose_window((await self.store.load(self.owner, self.id, window)).rows, window)

    async def seen(self, window: Window | None = None) -> list[str]:
        """What the model sees, in lines."""
        return [build.words_of(stored) for stored in (await self.window(window)).messages]

    async def append(
        self,
        *lines: Line,
        key: UUID | None = None,
        fingerprint: int = 1,
        expected_seq: int | None = None,
        hold: RunHold | None = None,
    ) -> Appended:
        given = build.append(*lines, key=key, fingerprint=fingerprint, expected_seq=expected_seq, hold=hold)
        return await self.store.append(self.owner, self.id, given)

    async def begin(
        self,
        *lines: Line,
        run_id: RunId | None = None,
        fingerprint: int = 1,
        owner_token: int | None = None,
        lease: float = build.LEASE,
        on_busy: OnBusy = "reject",
        key: str | None = None,
        expected_seq: int | None = None,
        allowance: Allowance | None = None,
    ) -> Begun:
        given = build.begin(
            *lines,
            run_id=run_id,
            fingerprint=fingerprint,
            owner_token=owner_token,
            lease=lease,
            on_busy=on_busy,
            key=key,
            expected_seq=expected_seq,
            allowance=allowance,
        )
        return await self.store.begin(self.owner, self.id, given)

    async def hold(self, *lines: Line, on_busy: OnBusy = "reject") -> RunHold:
        """Begin a run and return its right to write."""
        return build.hold_of(await self.begin(*lines, on_busy=on_busy))

    async def finish(
        self, hold: RunHold, *lines: Line, status: Ending = RunStatus.COMPLETED, error: str | None = None
    ) -> Finished:
        return await self.store.finish(self.owner, self.id, build.finish(hold, *lines, status=status, error=error))

    async def run(self, run_id: RunId) -> RunRecord:
        return await self.store.run(self.owner, self.id, run_id)

    async def cancel(self, run_id: RunId) -> RunRecord:
        return await self.store.cancel(self.owner, self.id, run_id)

    async def rewind(self, at_seq: int, *, expected_version: int | None = None) -> Conversation:
        return await self.store.rewind(self.owner, self.id, at_seq, expected_version=expected_version)

    async def delete_message(self, seq: int) -> Conversation:
        return await self.store.delete_message(self.owner, self.id, seq)

    async def summarise(self, to_seq: int, text: str = "They met.", tokens: int = 3) -> None:
        await self.store.summarise(self.owner, self.id, to_seq=to_seq, text=text, tokens=tokens)

    async def fork(self, at_seq: int | None = None, *, title: str | None = None) -> Talk:
        created: Created = await self.store.fork(self.owner, self.id, build.new_conversation(title=title), at_seq)
        return Talk(self.store, self.owner, created.conversation.id)


async def start_talk(
    store: Store,
    *lines: Line,
    policy: RolePolicy = RolePolicy.STRICT,
    owner: Owner | None = None,
    title: str | None = None,
    system_prompt: str | None = None,
    metadata: JsonObject | None = None,
) -> Talk:
    """Create a conversation with these messages, of a new user if none is given."""
    owner = build.owner() if owner is None else owner
    new = build.new_conversation(policy, title=title, system_prompt=system_prompt, metadata=metadata)
    created = await store.create(owner, new, build.plan_of(*lines))
    return Talk(store, owner, created.conversation.id)
