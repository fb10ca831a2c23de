"""Every error that keepsay raises, in one tree. Facts are fields, never text to parse.

KeepsayError                    .code, .outcome
├── InvalidInput                a value is malformed or over a limit
│   ├── InvalidCursor           a page cursor that keepsay did not give out
│   └── TooLarge                a body, message or batch over its limit                  .limit
├── RoleOrderError              the message may not stand here                           .last_role, .attempted_role
│   └── UnansweredCalls         tool calls are still open, or the answered one is not    .open_calls
├── NotFound                    absent, deleted or another user's: all look the same     .kind
├── Conflict
│   ├── SeqMismatch             expected_seq is not the head                             .expected, .head
│   ├── VersionMismatch         If-Match is not the version                              .expected, .version
│   ├── KeyReused               same idempotency key, other content
│   ├── ConversationBusy        a run holds the conversation                             .run_id, .retry_after
│   └── RunSuperseded           this run was taken over or ended; it can write no more   .run_id
├── RateLimited                 the user began too many runs of late                    .limit, .retry_after
│   └── QuotaExceeded           ... on this day                                          .limit, .retry_after
├── Unavailable                 the database cannot be reached or refused to work        .retry_after
├── SchemaMismatch              the database's schema is not one this release can use    .found, .wanted
├── ConfigurationError          a setting is missing or contradictory
└── CorruptData                 a stored row breaks an invariant: please report it

``outcome`` says what became of a write: ``not_applied`` (nothing was stored) or ``unknown`` (it may have been; retry
with the same key). It is never ``not_applied`` for a write that was applied.
"""

from __future__ import annotations

from typing import ClassVar, Literal

__all__ = [
    "ConfigurationError",
    "Conflict",
    "ConversationBusy",
    "CorruptData",
    "InvalidCursor",
    "InvalidInput",
    "KeepsayError",
    "KeyReused",
    "NotFound",
    "Outcome",
    "QuotaExceeded",
    "RateLimited",
    "RoleOrderError",
    "RunSuperseded",
    "SchemaMismatch",
    "SeqMismatch",
    "TooLarge",
    "UnansweredCalls",
    "Unavailable",
    "VersionMismatch",
]

Outcome = Literal["not_applied", "unknown"]


class KeepsayError(Exception):
    """The root of the tree; catch it to catch everything that keepsay raises on purpose."""

    code: str = "keepsay_error"
    outcome: Outcome = "not_applied"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(KeepsayError):
    """A value is malformed or breaks a limit; the message names the field and the rule."""

    code = "invalid_input"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class InvalidCursor(InvalidInput):
    """A cursor that keepsay did not give out, or one for another list."""

    code = "invalid_cursor"

    def __init__(self) -> None:
        super().__init__("The cursor is not one that this list gave out; start again without it.", field="cursor")


class TooLarge(InvalidInput):
    """A body, message, batch or field is over its limit."""

    code = "too_large"

    def __init__(self, what: str, *, size: int, limit: int, unit: str, field: str | None = None) -> None:
        super().__init__(f"{what} has {size} {unit}; the limit is {limit}.", field=field)
        self.size = size
        self.limit = limit
        self.unit = unit


class RoleOrderError(KeepsayError):
    """The conversation's role policy does not let this message stand after the last one."""

    code = "role_ordering_violation"

    def __init__(self, message: str, *, last_role: str | None = None, attempted_role: str | None = None) -> None:
        super().__init__(message)
        self.last_role = last_role
        self.attempted_role = attempted_role


class UnansweredCalls(RoleOrderError):
    """Tool calls are open that must be answered first, or a result names no open call."""

    def __init__(
        self, message: str, *, open_calls: tuple[str, ...], last_role: str | None, attempted_role: str | None
    ) -> None:
        super().__init__(message, last_role=last_role, attempted_role=attempted_role)
        self.open_calls = open_calls


class NotFound(KeepsayError):
    """No such thing for this user. Absent, deleted and somebody else's cannot be told apart."""

    code = "not_found"

    def __init__(self, kind: str = "conversation") -> None:
        super().__init__(f"No such {kind}.")
        self.kind = kind


class Conflict(KeepsayError):
    """The request is sound, but the conversation is not in the state that it needs."""

    code = "conflict"


class SeqMismatch(Conflict):
    """``expected_seq`` is not the head: somebody else appended first."""

    code = "expected_seq_mismatch"

    def __init__(self, *, expected: int, head: int) -> None:
        super().__init__(f"Expected the head at seq {expected}, but it is {head}; read what came and try again.")
        self.expected = expected
        self.head = head


class VersionMismatch(Conflict):
    """``If-Match`` names another version than the stored one."""

    code = "version_mismatch"

    def __init__(self, *, expected: int, version: int) -> None:
        super().__init__(f"Expected version {expected}, but it is {version}; read the conversation and try again.")
        self.expected = expected
        self.version = version


class KeyReused(Conflict):
    """The idempotency key was used before, with other content."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This idempotency key was used before with other content; take a new key for a new request.")


class ConversationBusy(Conflict):
    """A run holds the conversation. ``retry_after`` is the time until its lease ends, in seconds."""

    code = "conversation_busy"

    def __init__(self, *, run_id: str, retry_after: float) -> None:
        super().__init__(
            f"Run {run_id} is under way in this conversation; wait for it, or begin with on_busy='interrupt'."
        )
        self.run_id = run_id
        self.retry_after = retry_after


class RunSuperseded(Conflict):
    """The run was taken over, cancelled or has ended: it can write nothing more."""

    code = "run_superseded"

    def __init__(self, *, run_id: str) -> None:
        super().__init__(f"Run {run_id} no longer holds the conversation; what it tried to write was refused.")
        self.run_id = run_id


class RateLimited(KeepsayError):
    """The user may begin ``limit`` runs a minute and has. ``retry_after`` is the time until the next, in seconds."""

    code = "rate_limited"
    span: ClassVar[str] = "minute"

    def __init__(self, *, limit: int, retry_after: float) -> None:
        super().__init__(
            f"The user may begin {limit} runs a {self.span} and has used them up; wait {retry_after:.1f} seconds."
        )
        self.limit = limit
        self.retry_after = retry_after


class QuotaExceeded(RateLimited):
    """The user began ``limit`` runs today. ``retry_after`` is the time until the next day of UTC, in seconds."""

    code = "quota_exceeded"
    span = "day"


class Unavailable(KeepsayError):
    """The database cannot be reached, or refused to work. ``retry_after`` is a hint in seconds."""

    code = "database_unavailable"

    def __init__(self, message: str, *, outcome: Outcome, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.retry_after = retry_after


class SchemaMismatch(KeepsayError):
    """The database's schema is older or newer than this release can use."""

    code = "schema_mismatch"

    def __init__(self, *, found: int, wanted: int) -> None:
        hint = "run `keepsay migrate`" if found < wanted else "upgrade keepsay"
        super().__init__(f"The database has schema {found}, this release needs {wanted}: {hint}.")
        self.found = found
        self.wanted = wanted


class ConfigurationError(KeepsayError):
    """A setting is missing, malformed or contradicts another."""

    code = "configuration_error"


class CorruptData(KeepsayError):
    """A stored row breaks an invariant. Nothing is skipped or guessed: please report it."""

    code = "corrupt_data"
