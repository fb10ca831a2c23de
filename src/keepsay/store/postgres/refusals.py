"""What the SQL functions refuse, as keepsay's errors: the other end of every ``RAISE ... USING ERRCODE = 'KS00n'``.

The facts come as JSON in the error's DETAIL; nothing is read out of a message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from keepsay.errors import (
    ConversationBusy,
    CorruptData,
    InvalidInput,
    KeepsayError,
    KeyReused,
    NotFound,
    QuotaExceeded,
    RateLimited,
    RoleOrderError,
    RunSuperseded,
    SeqMismatch,
    UnansweredCalls,
    VersionMismatch,
)
from keepsay.model.ids import run_id_of
from keepsay.model.messages import Role
from keepsay.model.order import calls_refusal, cut_refusal, order_refusal

__all__ = ["REFUSAL_CLASS", "refusal_from"]

REFUSAL_CLASS = "KS"
"""The SQLSTATE class of all refusals. A refused statement was rolled back: nothing was stored."""


class _Facts:
    """DETAIL, read strictly: a missing or mistyped fact is a ``TypeError``."""

    def __init__(self, detail: Mapping[str, object]) -> None:
        self._detail = detail

    def text(self, name: str) -> str:
        value = self._detail.get(name)
        if not isinstance(value, str):
            raise TypeError(name)
        return value

    def text_or_none(self, name: str) -> str | None:
        return None if self._detail.get(name) is None else self.text(name)

    def run_id(self) -> str:
        return str(run_id_of(self.whole("run_id")))

    def role(self, name: str) -> Role | None:
        return None if self._detail.get(name) is None else Role(self.whole(name))

    def flag(self, name: str) -> bool:
        value = self._detail.get(name)
        if not isinstance(value, bool):
            raise TypeError(name)
        return value

    def whole(self, name: str) -> int:
        value = self._detail.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(name)
        return value

    def seconds(self, name: str) -> float:
        value = self._detail.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError(name)
        return float(value)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._detail.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise TypeError(name)
        return tuple(value)


def _role_order(facts: _Facts) -> RoleOrderError:
    return order_refusal(facts.role("last_role"), facts.role("attempted_role"))


def _unanswered(facts: _Facts) -> UnansweredCalls:
    return calls_refusal(
        facts.texts("open_calls"), facts.role("last_role"), facts.role("attempted_role"), unknown=facts.flag("unknown")
    )


def _invalid(facts: _Facts) -> InvalidInput:
    message = facts.text_or_none("message") or "The database refused a value that is malformed or over a limit."
    return InvalidInput(message, field=facts.text_or_none("field"))


_REFUSALS: dict[str, Callable[[_Facts], KeepsayError]] = {
    "KS001": lambda facts: NotFound(facts.text("kind")),
    "KS002": lambda _: KeyReused(),
    "KS003": lambda facts: ConversationBusy(run_id=facts.run_id(), retry_after=facts.seconds("retry_after")),
    "KS004": lambda facts: RunSuperseded(run_id=facts.run_id()),
    "KS005": lambda facts: SeqMismatch(expected=facts.whole("expected"), head=facts.whole("head")),
    "KS006": lambda facts: VersionMismatch(expected=facts.whole("expected"), version=facts.whole("version")),
    "KS007": _role_order,
    "KS008": _unanswered,
    "KS009": _invalid,
    "KS010": lambda facts: cut_refusal(facts.whole("seq")),
    "KS011": lambda facts: RateLimited(limit=facts.whole("limit"), retry_after=facts.seconds("retry_after")),
    "KS012": lambda facts: QuotaExceeded(limit=facts.whole("limit"), retry_after=facts.seconds("retry_after")),
}


def refusal_from(sqlstate: str, detail: Mapping[str, object]) -> KeepsayError:
    """The error for a refusal. ``CorruptData`` when the code or its facts are not of the form agreed with the SQL."""
    refusal = _REFUSALS.get(sqlstate)
    if refusal is None:
        return CorruptData(f"The database refused with {sqlstate}, which this release does not know: please report it.")
    try:
        return refusal(_Facts(detail))
    except (TypeError, ValueError) as missing:
        return CorruptData(f"The database refused with {sqlstate}, but without the fact {missing}: please report it.")
