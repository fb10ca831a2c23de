"""How many runs a user may begin: a token bucket and a quota for each UTC day, and the arithmetic of both.

The same arithmetic stands in SQL, in ``spend`` (store/postgres/sql); a property test holds the two to each other. Laws,
each held by a property test:

- in any span of ``t`` minutes at most ``burst + per_minute * t`` runs begin, and on one UTC day at most ``per_day``;
- whole numbers, to the microsecond: nothing is rounded, so nothing is lost or gained by asking often;
- a refusal changes nothing, and ``retry_after`` is the first moment at which the same is not refused again;
- a clock that goes back mints nothing and gives no day twice. Users then wait until it has caught up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from keepsay.errors import InvalidInput, QuotaExceeded, RateLimited
from keepsay.model import limits

RUN: Final = 60_000_000
"""What a run takes from the bucket. ``per_minute`` such parts come back every microsecond."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = _EPOCH.date()
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many runs a user may begin, over all conversations and processes; see ``UserScope.run``.

    ``per_minute``: so many come back each minute, one by one. ``burst``: so many at most may begin at once after a
    pause (as many as come back in a minute). ``per_day``: so many in a day of UTC. Whole numbers; what is left out is
    not limited. What a user has spent is kept, so the numbers may differ from call to call. Raises ``InvalidInput``.
    """

    per_minute: int | None = None
    burst: int | None = None
    per_day: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("per_minute", self.per_minute), ("burst", self.burst), ("per_day", self.per_day)):
            if value is not None and not (type(value) is int and 1 <= value <= limits.ALLOWANCE_MAX):
                raise InvalidInput(f"{name} is a whole number from 1 to {limits.ALLOWANCE_MAX}.", field=name)
        if self.per_minute is None and self.burst is not None:
            raise InvalidInput("burst goes with per_minute.", field="burst")
        if self.per_minute is None and self.per_day is None:
            raise InvalidInput("An allowance names per_minute, per_day or both.", field="per_minute")

    @property
    def bucket(self) -> int | None:
        """How many runs the bucket holds when it is full."""
        return self.per_minute if self.burst is None else self.burst


@dataclass(frozen=True, slots=True)
class Balance:
    """What a user has left, as stores keep it: what was in the bucket at a moment, and the runs of a UTC day."""

    refilled_at: datetime = _EPOCH
    level: int = 0
    day: date = _EPOCH_DAY
    runs: int = 0


UNSPENT: Final = Balance()
"""Of a user who never began a run within an allowance: refilled last so long ago that any bucket is full."""


def spend(allowance: Allowance, balance: Balance, now: datetime) -> Balance:
    """What is left after one more run begins at ``now``. Raises ``QuotaExceeded``, ``RateLimited``."""
    day = max(balance.day, now.astimezone(UTC).date())
    runs = balance.runs if day == balance.day else 0
    if allowance.per_day is not None and runs >= allowance.per_day:
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        raise QuotaExceeded(limit=allowance.per_day, retry_after=(midnight - now) / timedelta(seconds=1))
    if allowance.per_minute is None or allowance.bucket is None:
        return Balance(balance.refilled_at, balance.level, day, runs + 1)
    refilled_at, level = max(balance.refilled_at, now), _refilled(allowance.per_minute, allowance.bucket, balance, now)
    if level < RUN:
        missing = -((level - RUN) // allowance.per_minute) * _MICROSECOND
        wait = refilled_at - now + missing
        raise RateLimited(limit=allowance.per_minute, retry_after=wait / timedelta(seconds=1))
    return Balance(refilled_at, level - RUN, day, runs + 1)


def _refilled(per_minute: int, bucket: int, balance: Balance, now: datetime) -> int:
    """What is in the bucket now: time counts from the last refill on, forwards only, and a full one takes no more."""
    elapsed = max(0, (now - balance.refilled_at) // _MICROSECOND)
    return min(bucket * RUN, balance.level + elapsed * per_minute)
