"""The store on Postgres: every verb is one SQL function, one transaction and one network round trip."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from time import perf_counter

import asyncpg

from keepsay.errors import KeepsayError
from keepsay.model.conversation import Conversation, ConversationStatus, RunRecord, Summary
from keepsay.model.cursor import Position
from keepsay.model.ids import ConversationId, RunId, UserId, run_number
from keepsay.model.json_text import JsonObject, write_json
from keepsay.model.order import AppendPlan
from keepsay.model.standing import Standing
from keepsay.model.window import Window
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.faults import fault_from, poisons_connection
from keepsay.store.postgres.migrate import migrate
from keepsay.store.postgres.parameters import plan_parameters
from keepsay.store.postgres.pool import POOL_WAIT, AutoMigrate, LazyPool
from keepsay.store.postgres.rows import Row, to_conversation, to_header, to_message, to_run, to_standing, to_window_rows
from keepsay.store.postgres.sqltext import DEFAULT_SCHEMA, checked_schema, load_calls
from keepsay.store.protocol import (
    Append,
    Appended,
    Begin,
    Begun,
    Changes,
    Created,
    Erased,
    Finish,
    Finished,
    Loaded,
    NewConversation,
    Owner,
    Page,
    RunHold,
    Unset,
)

__all__ = ["PostgresStore"]

READ_SECONDS = 2.0
WRITE_SECONDS = 5.0
CONNECT_SECONDS = 15.0
TOKEN_SAFETY = 1.5  # a window's own counter may find this much fewer tokens than the stored estimates


class PostgresStore:
    """Conversations in a schema of a Postgres database. Cheap to make: it connects when it is first used.

    ``dsn`` may be an async function, for a server that has yet to be started. ``auto_migrate`` says which databases are
    set up on first connect: ``never``, ``empty`` ones (default), or ``always`` older ones too. ``migration_dsn`` is the
    direct URL where ``dsn`` names a pooler that Neon's naming does not give away.
    """

    def __init__(
        self,
        dsn: Dsn | Callable[[], Awaitable[Dsn]],
        *,
        schema: str = DEFAULT_SCHEMA,
        auto_migrate: AutoMigrate = "empty",
        max_size: int = 10,
        connect_timeout: float = CONNECT_SECONDS,
        migration_dsn: Dsn | None = None,
    ) -> None:
        self._schema = checked_schema(schema)
        self._calls = load_calls(schema)
        self._dsn = dsn if callable(dsn) else _constant(dsn)
        self._migration_dsn = migration_dsn
        self._pool = LazyPool(
            self._dsn,
            schema=self._schema,
            auto_migrate=auto_migrate,
            max_size=max_size,
            connect_timeout=connect_timeout,
            migration_dsn=migration_dsn,
        )

    async def _read(self, name: str, *parameters: object) -> list[Row]:
        return await self._call(name, parameters, READ_SECONDS, write=False)

    async def _write(self, name: str, *parameters: object) -> list[Row]:
        return await self._call(name, parameters, WRITE_SECONDS, write=True)

    async def _call(self, name: str, parameters: tuple[object, ...], timeout: float, *, write: bool) -> list[Row]:
        """The one place where a statement is sent. Whatever goes wrong leaves as one of keepsay's errors."""
        sent = False
        began = perf_counter()
        try:
            pool = await self._pool.get()
            async with pool.acquire(timeout=CONNECT_SECONDS) as connection:
                sent = True
                POOL_WAIT.set(perf_counter() - began)
                try:
                    rows: list[Row] = await connection.call(self._calls[name], *parameters, timeout=timeout)
                except BaseException as error:
                    if poisons_connection(error):
                        # The call may have ended it itself, and the pool taken it back: no error may hide the first.
                        with contextlib.suppress(asyncpg.InterfaceError):
                            connection.terminate()
                    raise
                return rows
        except KeepsayError:
            raise
        except Exception as error:
            if not sent:
                POOL_WAIT.set(perf_counter() - began)
            fault = fault_from(error, sent=sent, write=write)
            assert fault is not None
            raise fault from error

    async def migrate(self) -> Sequence[str]:
        """Apply the pending migrations and return their names."""
        dsn = self._migration_dsn or await self._dsn()
        return [step.name for step in await migrate(dsn, self._schema)]

    async def row_security(self) -> bool:
        """Whether row-level security binds the functions, on every table."""
        [row] = await self._read("health")
        return bool(row["row_security"])

    async def create(self, owner: Owner, new: NewConversation, plan: AppendPlan) -> Created:
        [row] = await self._write(
            "create",
            owner.key,
            owner.user_id,
            new.id,
            new.fingerprint,
            new.role_policy,
            new.title,
            new.system_prompt,
            new.external_key,
            _json(new.metadata),
            *plan_parameters(plan),
        )
        return Created(to_conversation(row["conversation"], owner.user_id), row["created"])

    async def get(self, owner: Owner, conversation_id: ConversationId) -> Conversation:
        [row] = await self._read("get", owner.key, conversation_id)
        return to_conversation(row["conversation"], owner.user_id)

    async def load(self, owner: Owner, conversation_id: ConversationId, window: Window) -> Loaded:
        rows = await self._read("load", owner.key, conversation_id, window.max_messages, _token_budget(window))
        header = to_header(rows[0])
        return Loaded(
            to_conversation(header["facts"], owner.user_id), to_window_rows(header, rows[1:], conversation_id)
        )

    async def status(self, owner: Owner, conversation_id: ConversationId) -> Standing:
        header, *messages = await self._read("status", owner.key, conversation_id)
        return to_standing(to_header(header), messages, conversation_id, owner.user_id)

    async def list(
        self, owner: Owner, *, status: ConversationStatus | None, limit: int, after: Position | None, skip: int
    ) -> Sequence[Conversation]:
        position = (None, None) if after is None else (after.updated_at, after.conversation_id)
        rows = await self._read("list", owner.key, status, *position, limit, skip)
        return [to_conversation(row["conversation"], owner.user_id) for row in rows]

    async def update(
        self, owner: Owner, conversation_id: ConversationId, changes: Changes, *, expected_version: int | None
    ) -> Conversation:
        title, status, metadata = changes.title, changes.status, changes.metadata
        [row] = await self._write(
            "update",
            owner.key,
            conversation_id,
            expected_version,
            not isinstance(title, Unset),
            None if isinstance(title, Unset) else title,
            None if isinstance(status, Unset) else status,
            not isinstance(metadata, Unset),
            None if isinstance(metadata, Unset) else _json(metadata),
        )
        return to_conversation(row["conversation"], owner.user_id)

    async def delete(
        self, owner: Owner, conversation_id: ConversationId, *, hard: bool, expected_version: int | None
    ) -> None:
        await self._write("delete", owner.key, conversation_id, expected_version, hard)

    async def append(self, owner: Owner, conversation_id: ConversationId, append: Append) -> Appended:
        [row] = await self._write(
            "append",
            owner.key,
            conversation_id,
            append.key,
            append.fingerprint,
            *_hold_parameters(append.hold),
            append.expected_seq,
            *plan_parameters(append.plan),
        )
        return _to_appended(row)

    async def page(
        self, owner: Owner, conversation_id: ConversationId, *, after: int, before: int | None, limit: int, newest: bool
    ) -> Page:
        rows = await self._read("page", owner.key, conversation_id, after, before, limit + 1, newest)
        messages = tuple(to_message(row, conversation_id) for row in rows[1 : limit + 1])
        return Page(messages, head=to_header(rows[0])["head"], has_more=len(rows) > limit + 1)

    async def delete_message(self, owner: Owner, conversation_id: ConversationId, seq: int) -> Conversation:
        [row] = await self._write("delete_message", owner.key, conversation_id, seq)
        return to_conversation(row["conversation"], owner.user_id)

    async def rewind(
        self, owner: Owner, conversation_id: ConversationId, at_seq: int, *, expected_version: int | None
    ) -> Conversation:
        [row] = await self._write("rewind", owner.key, conversation_id, at_seq, expected_version)
        return to_conversation(row["conversation"], owner.user_id)

    async def fork(
        self, owner: Owner, conversation_id: ConversationId, new: NewConversation, at_seq: int | None
    ) -> Created:
        [row] = await self._write(
            "fork",
            owner.key,
            owner.user_id,
            conversation_id,
            at_seq,
            new.id,
            new.fingerprint,
            new.title,
            new.external_key,
            _json(new.metadata),
        )
        return Created(to_conversation(row["conversation"], owner.user_id), row["created"])

    async def begin(self, owner: Owner, conversation_id: ConversationId, begin: Begin) -> Begun:
        given, plan = _begin_parameters(begin), plan_parameters(begin.plan)
        if begin.allowance is None:
            rows = await self._write("begin", owner.key, conversation_id, *given, *plan)
        else:
            limits = begin.allowance.per_minute, begin.allowance.bucket, begin.allowance.per_day
            rows = await self._write("begin_within", owner.key, conversation_id, *given, *limits, *plan)
        header = to_header(rows[0])
        facts = header["facts"]
        return Begun(
            run=to_run(facts["run"]),
            replayed=facts["replayed"],
            held=facts["held"],
            took_over=facts["took_over"],
            rows=to_window_rows(header, rows[1:], conversation_id),
        )

    async def heartbeat(self, owner: Owner, conversation_id: ConversationId, hold: RunHold) -> datetime:
        [row] = await self._write("heartbeat", owner.key, conversation_id, *_hold_parameters(hold))
        until: datetime = row["lease_until"]
        return until

    async def finish(self, owner: Owner, conversation_id: ConversationId, finish: Finish) -> Finished:
        [row] = await self._write(
            "finish",
            owner.key,
            conversation_id,
            run_number(finish.hold.run_id),
            finish.hold.fence,
            finish.status,
            finish.error,
            *plan_parameters(finish.plan),
        )
        return Finished(to_run(row["run"]), _to_appended(row) if finish.plan.messages else None)

    async def cancel(self, owner: Owner, conversation_id: ConversationId, run_id: RunId) -> RunRecord:
        [row] = await self._write("cancel", owner.key, conversation_id, run_number(run_id))
        return to_run(row["run"])

    async def run(self, owner: Owner, conversation_id: ConversationId, run_id: RunId) -> RunRecord:
        [row] = await self._read("run", owner.key, conversation_id, run_number(run_id))
        return to_run(row["run"])

    async def summarise(
        self, owner: Owner, conversation_id: ConversationId, *, to_seq: int, text: str, tokens: int
    ) -> Summary:
        await self._write("summarise", owner.key, conversation_id, to_seq, text, tokens)
        return Summary(to_seq, text, tokens)

    async def export(self, owner: Owner, *, after: ConversationId | None, limit: int) -> Sequence[Conversation]:
        rows = await self._read("export", owner.key, after, limit)
        return [to_conversation(row["conversation"], owner.user_id) for row in rows]

    async def erase(self, owner: Owner) -> Erased:
        [row] = await self._write("erase", owner.key)
        return Erased(**dict(row))

    async def users(self, *, after: UserId | None, limit: int) -> Sequence[UserId]:
        return [UserId(row["user_id"]) for row in await self._read("users", after, limit)]

    async def close(self) -> None:
        await self._pool.close()


def _constant(dsn: Dsn) -> Callable[[], Awaitable[Dsn]]:
    async def give() -> Dsn:
        return dsn

    return give


def _json(value: JsonObject | None) -> str | None:
    return None if value is None else write_json(value)


def _token_budget(window: Window) -> int | None:
    if window.max_tokens is None or window.counter is None:
        return window.max_tokens
    return int(window.max_tokens * TOKEN_SAFETY)


def _hold_parameters(hold: RunHold | None) -> tuple[object, object, object]:
    return (None, None, None) if hold is None else (run_number(hold.run_id), hold.fence, hold.lease)


def _begin_parameters(begin: Begin) -> tuple[object, ...]:
    return (
        run_number(begin.run_id),
        begin.fingerprint,
        begin.owner_token,
        begin.key,
        begin.lease,
        begin.on_busy == "interrupt",
        begin.expected_seq,
        begin.window.max_messages,
        _token_budget(begin.window),
    )


def _to_appended(row: Row) -> Appended:
    return Appended(row["first_seq"], row["head"], row["created_at"], row["replayed"])
