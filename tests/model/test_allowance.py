"""The laws of allowances, over every way of asking."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.model.allowances import BEGIN, MICROSECOND, allowances, attempt, gaps

from keepsay.errors import InvalidInput, QuotaExceeded, RateLimited
from keepsay.model import limits
from keepsay.model.allowance import RUN, UNSPENT, Allowance, Balance, spend

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def times_of(given_gaps: list[timedelta]) -> list[datetime]:
    return list(accumulate(given_gaps, lambda now, gap: now + gap, initial=BEGIN))


def begun(allowance: Allowance, times: list[datetime]) -> list[datetime]:
    """The moments at which a run began, of those at which one was asked for."""
    balance, found = UNSPENT, []
    for now in times:
        left, error = attempt(allowance, balance, now)
        if error is None:
            balance = left
            found.append(now)
    return found


@given(allowances("rate"), st.lists(gaps(), max_size=60))
def test_in_no_span_begin_more_than_the_burst_and_what_comes_back(
    allowance: Allowance, given_gaps: list[timedelta]
) -> None:
    assert allowance.per_minute is not None
    assert allowance.bucket is not None
    found = begun(allowance, times_of(given_gaps))
    for at, first in enumerate(found):
        for to, last in enumerate(found[at:], start=at):
            assert to - at + 1 <= allowance.bucket + Fraction((last - first) // MICROSECOND * allowance.per_minute, RUN)


@given(allowances("quota"), st.lists(gaps(), max_size=60))
def test_on_no_day_begin_more_than_its_quota(allowance: Allowance, given_gaps: list[timedelta]) -> None:
    assert allowance.per_day is not None
    times = times_of(given_gaps)
    found = begun(allowance, times)
    for day in {now.date() for now in times}:
        asked = sum(now.date() == day for now in times)
        assert sum(now.date() == day for now in found) == min(asked, allowance.per_day)


@given(allowances(), st.lists(gaps(), max_size=40))
def test_after_the_time_that_is_told_the_same_is_not_refused_and_before_it_is(
    allowance: Allowance, given_gaps: list[timedelta]
) -> None:
    balance = UNSPENT
    for now in times_of(given_gaps):
        left, error = attempt(allowance, balance, now)
        if error is None:
            balance = left
            continue
        then = now + timedelta(seconds=error.retry_after)
        assert then > now
        after = attempt(allowance, balance, then)[1]
        assert after is None or (type(error), type(after)) == (QuotaExceeded, RateLimited)
        assert type(attempt(allowance, balance, then - MICROSECOND)[1]) is type(error)


@given(st.integers(1, 1_000), st.lists(st.integers(0, 10**6), max_size=20))
def test_a_bucket_looked_at_often_holds_to_the_microsecond_what_one_looked_at_once_does(
    per_minute: int, steps: list[int]
) -> None:
    roomy = Allowance(per_minute, limits.ALLOWANCE_MAX)  # it is never full
    once = Balance(BEGIN, 100 * RUN, BEGIN.date(), 0)
    often, now = once, BEGIN
    for step in steps:
        now += step * MICROSECOND
        often = spend(roomy, often, now)
    assert often.level == (100 - len(steps)) * RUN + sum(steps) * per_minute
    assert spend(roomy, often, now).level == spend(roomy, once, now).level - len(steps) * RUN


@given(allowances(), st.lists(gaps(forwards=False), max_size=60))
def test_a_clock_that_goes_back_mints_nothing(allowance: Allowance, given_gaps: list[timedelta]) -> None:
    """All runs that begin are as few as if the clock had stood still where it went back."""
    times = times_of(given_gaps)
    steady = list(accumulate(times, max))
    found = len(begun(allowance, times))
    if allowance.per_minute is not None and allowance.bucket is not None:
        elapsed = (steady[-1] - steady[0]) // MICROSECOND
        assert found <= allowance.bucket + Fraction(elapsed * allowance.per_minute, RUN)
    if allowance.per_day is not None:
        assert found <= allowance.per_day * ((steady[-1].date() - steady[0].date()).days + 1)


@given(allowances(), st.lists(gaps(forwards=False), max_size=30), gaps())
def test_going_back_never_leaves_more_than_staying(
    allowance: Allowance, given_gaps: list[timedelta], back: timedelta
) -> None:
    balance = UNSPENT
    for now in times_of(given_gaps):
        stayed, error = attempt(allowance, balance, now)
        went, earlier_error = attempt(allowance, balance, now - back)
        assert error is None or earlier_error is not None
        if error is None and earlier_error is None and now >= balance.refilled_at:
            assert went.level <= stayed.level
        balance = balance if error else stayed


@given(allowances(), allowances(), st.lists(gaps(), max_size=40))
def test_however_the_numbers_change_a_bucket_never_holds_more_than_it_can(
    one: Allowance, other: Allowance, given_gaps: list[timedelta]
) -> None:
    balance = UNSPENT
    for at, now in enumerate(times_of(given_gaps)):
        allowance = (one, other)[at % 2]
        left, error = attempt(allowance, balance, now)
        if error is None:
            balance = left
            assert balance.level >= 0
            assert allowance.bucket is None or balance.level <= (allowance.bucket - 1) * RUN


@pytest.mark.parametrize(
    ("balance", "now", "left"),
    [
        (Balance(), BEGIN, Balance(BEGIN, 4 * RUN, BEGIN.date(), 1)),
        (Balance(BEGIN, 0, BEGIN.date(), 7), BEGIN + MINUTE, Balance(BEGIN + MINUTE, RUN, BEGIN.date(), 8)),
        (Balance(BEGIN, 99 * RUN, BEGIN.date(), 7), BEGIN, Balance(BEGIN, 4 * RUN, BEGIN.date(), 8)),
        (Balance(BEGIN, RUN, BEGIN.date(), 7), BEGIN - DAY, Balance(BEGIN, 0, BEGIN.date(), 8)),
        (Balance(BEGIN, RUN, BEGIN.date(), 99), BEGIN + DAY, Balance(BEGIN + DAY, 4 * RUN, (BEGIN + DAY).date(), 1)),
    ],
    ids=["new", "refilled", "a bucket that became smaller", "the clock went back", "the next day"],
)
def test_what_is_left(balance: Balance, now: datetime, left: Balance) -> None:
    assert spend(Allowance(per_minute=2, burst=5, per_day=100), balance, now) == left


def test_a_day_is_one_of_utc() -> None:
    late = datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    once = Allowance(per_day=1)
    left = spend(once, UNSPENT, late)
    assert left.day.isoformat() == "2026-03-02"
    with pytest.raises(QuotaExceeded) as refused:
        spend(once, left, late)
    assert (refused.value.limit, refused.value.retry_after) == (1, 19.5 * 3600)
    assert spend(once, left, datetime(2026, 3, 3, tzinfo=UTC)).runs == 1


def test_an_error_says_what_is_allowed_and_when() -> None:
    left = spend(Allowance(per_minute=2, burst=1), UNSPENT, BEGIN)
    with pytest.raises(RateLimited, match=r"2 runs a minute .* wait 30\.0 seconds") as refused:
        spend(Allowance(per_minute=2, burst=1), left, BEGIN)
    assert (refused.value.code, refused.value.limit, refused.value.retry_after) == ("rate_limited", 2, 30.0)
    with pytest.raises(QuotaExceeded, match="1 runs a day") as exceeded:
        spend(Allowance(per_day=1), left, BEGIN)
    assert (exceeded.value.code, exceeded.value.limit) == ("quota_exceeded", 1)


@pytest.mark.parametrize(
    ("given_numbers", "field"),
    [
        ({}, "per_minute"),
        ({"burst": 3}, "burst"),
        ({"per_day": 1, "burst": 3}, "burst"),
        *(({"per_minute": 1} | {name: bad}, name) for name in ("per_minute", "burst", "per_day") for bad in (0, -1)),
        *(({"per_minute": 1} | {name: 1.5}, name) for name in ("per_minute", "burst", "per_day")),
        ({"per_minute": True}, "per_minute"),
        ({"per_day": limits.ALLOWANCE_MAX + 1}, "per_day"),
    ],
)
def test_what_is_no_allowance_is_refused(given_numbers: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Allowance(**given_numbers)
    assert refused.value.field == field


def test_the_bucket_holds_a_minutes_runs_unless_told_otherwise() -> None:
    assert Allowance(per_minute=7).bucket == 7
    assert Allowance(per_minute=7, burst=limits.ALLOWANCE_MAX).bucket == limits.ALLOWANCE_MAX
    assert Allowance(per_day=7).bucket is None
