"""keepsay's values as parameters of the SQL functions, in the order of ``sql/calls.sql``."""

from __future__ import annotations

from keepsay.model.json_text import write_json
from keepsay.model.messages import CHAT, OpenCall
from keepsay.model.order import AppendPlan

_NO_CALLS = "{}"


def plan_parameters(plan: AppendPlan) -> tuple[object, ...]:
    """The 16 parts of the type ``append_plan``."""
    rows = plan.messages
    return (
        plan.allowed,
        plan.last_roles,
        plan.attempted_roles,
        plan.answers,
        plan.requires_closed,
        _opens(plan.opens),
        plan.system_at,
        [row.role for row in rows],
        [int(row.incomplete) for row in rows],
        [row.state for row in rows],
        [row.tokens for row in rows],
        [None if row.format == CHAT else row.format for row in rows],
        [row.payload for row in rows],
        [row.client_id for row in rows],
        [row.metadata for row in rows],
        [row.usage for row in rows],
    )


def _opens(calls: tuple[OpenCall, ...]) -> str:
    if not calls:
        return _NO_CALLS
    return write_json({call.call_id: {"payload": call.interrupted, "format": call.format} for call in calls})
