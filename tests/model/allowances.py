"""Allowances and moments to draw, and the outcome of one attempt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from keepsay.errors import RateLimited
from keepsay.model import limits
from keepsay.model.allowance import Allowance, Balance, spend

BEGIN = datetime(2026, 2, 27, 23, 58, 59, 999_999, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

_numbers = st.one_of(st.integers(1, 7), st.integers(1, 5_000), st.integers(1, limits.ALLOWANCE_MAX))


@st.composite
def allowances(draw: st.DrawFn, *limited: str) -> Allowance:
    """Limited by ``rate``, by ``quota``, by ``both``, or by any of these."""
    by = draw(st.sampled_from(limited or ("rate", "quota", "both")))
    per_minute = None if by == "quota" else draw(_numbers)
    burst = None if per_minute is None else draw(st.one_of(st.none(), st.integers(1, 5), _numbers))
    return Allowance(per_minute, burst, None if by == "rate" else draw(st.integers(1, 9)))


@st.composite
def gaps(draw: st.DrawFn, *, forwards: bool = True) -> timedelta:
    """Times between attempts: none, a few microseconds, seconds, days; backwards too if asked for."""
    size = draw(st.sampled_from([0, 1, 10**3, 10**6, 60 * 10**6, 86_400 * 10**6, 400 * 86_400 * 10**6]))
    gap = draw(st.integers(0, size)) * MICROSECOND
    return -gap if not forwards and draw(st.booleans()) else gap


def attempt(allowance: Allowance, balance: Balance, now: datetime) -> tuple[Balance, RateLimited | None]:
    """What is left, or what was left and why no more may begin."""
    try:
        return spend(allowance, balance, now), None
    except RateLimited as error:
        return balance, error
