"""An issuer's keys, kept: whom they belong to is asked seldom, and nobody waits who need not.

age of the keys  known kid                          unknown kid, or no keys yet
under 300 s      verified at once                   waits for a load, if one may begin
under 24 h       verified at once; a load begins    the same
over 24 h        as if no keys were known           the same

Whatever the reason and whoever asks, at most one load begins in 30 seconds: that is what an issuer suffers from a flood
of made-up kids, and what it is asked while it is down. Meanwhile an unknown kid is refused if the last load succeeded,
and answered with ``IssuerUnavailable`` if it failed, for then nobody knows. No step of it keeps the event loop for
5 ms: bodies are bounded before they are parsed (a thread would not help, the parser holds the interpreter's lock),
keys are built one at a time, and waiters are woken in small groups.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from keepsay.errors import InvalidInput
from keepsay.model.json_text import JsonObject, parse_json
from keepsay.server.auth.keys import KeySet, VerificationKey, from_jwk
from keepsay.server.observe.logs import careful_logger
from keepsay.server.refusals import IssuerUnavailable

__all__ = ["Fetch", "IssuerFault", "Jwks", "read_key_set"]

FRESH_SECONDS = 300.0
STALE_SECONDS = 24 * 3600.0
APART_SECONDS = 30.0
LOAD_SECONDS = 5.0
KEYS_MAX = 100
MARKS_MAX = 2_000
"""How many braces, brackets and commas a document may have. Parsing so many takes 1.5 ms; 100 keys have 1,500."""

WOKEN_AT_ONCE = 4
"""Each then verifies a token, in 0.07 ms (RS256) to 0.7 ms (ES512)."""

Fetch: TypeAlias = Callable[[], Awaitable[bytes]]
"""Gets the document. Raises ``IssuerFault``."""

logger = careful_logger("keepsay.server.auth")


class IssuerFault(Exception):
    """The issuer did not answer, or not with its keys."""


class Jwks:
    """The keys of one issuer. ``monotonic`` is a clock in seconds."""

    def __init__(
        self, fetch: Fetch, algorithms: frozenset[str], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._algorithms = algorithms
        self._monotonic = monotonic
        self._keys = KeySet({})
        self._loaded_at = self._tried_at = -math.inf
        self._is_in_doubt = True  # what the issuer says now is not known
        self._loading: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []

    async def find(self, key_id: str | None) -> VerificationKey | None:
        """The key of this id, or ``None`` if the issuer has none. Raises ``IssuerUnavailable`` if nobody can say.

        A caller that is cancelled leaves the load to the others.
        """
        found = self._known(key_id)
        if found is None or self._age() >= FRESH_SECONDS:
            self._begin_load_if_due()
        if found is None and self._loading is not None:
            await self._loaded()
            found = self._known(key_id)
        if found is None and self._is_in_doubt:
            raise IssuerUnavailable(retry_after=self._seconds_to_next_try())
        return found

    async def aclose(self) -> None:
        """End a load that is under way; who waits for it is told that the issuer is unavailable."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])

    def _known(self, key_id: str | None) -> VerificationKey | None:
        return self._keys.find(key_id) if self._age() < STALE_SECONDS else None

    def _age(self) -> float:
        return self._monotonic() - self._loaded_at

    def _seconds_to_next_try(self) -> float:
        return max(0.0, self._tried_at + APART_SECONDS - self._monotonic())

    def _begin_load_if_due(self) -> None:
        if self._loading is None and self._seconds_to_next_try() == 0:
            self._tried_at = self._monotonic()
            self._loading = asyncio.create_task(self._load(), name="keepsay-jwks")

    async def _loaded(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    async def _load(self) -> None:
        self._is_in_doubt = True
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                self._keys = await read_key_set(await self._fetch(), self._algorithms)
            self._loaded_at = self._tried_at
            self._is_in_doubt = False
        except (IssuerFault, TimeoutError) as fault:
            logger.warning("the issuer's keys could not be loaded: %s", str(fault) or "it took too long")
        except Exception:
            logger.exception("loading the issuer's keys ran into a bug")
        finally:
            self._loading = None
            await self._wake()

    async def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), WOKEN_AT_ONCE):
            for turn in waiting[start : start + WOKEN_AT_ONCE]:
                if not turn.done():  # it is, when its waiter was cancelled
                    turn.set_result(None)
            await asyncio.sleep(0)


async def read_key_set(document: bytes, algorithms: frozenset[str]) -> KeySet:
    """The usable keys of a JWK Set; the others are skipped (RFC 7517, section 5). Raises ``IssuerFault``.

    Of two keys with one ``kid`` the first counts. A set without usable keys is one: nobody is let in by it.
    """
    keys: dict[str | None, VerificationKey] = {}
    for jwk in _entries(document):
        key = from_jwk(jwk, algorithms) if isinstance(jwk, dict) else None
        if key is not None and isinstance(jwk, dict):
            keys.setdefault(_key_id(jwk), key)
        await asyncio.sleep(0)
    if not keys:
        logger.warning("the issuer has no key that fits %s", " ".join(sorted(algorithms)))
    return KeySet(keys)


def _entries(document: bytes) -> list[object]:
    if sum(map(document.count, (b"{", b"[", b","))) > MARKS_MAX:
        raise IssuerFault("the document holds too much")
    try:
        found = parse_json(document, unique_keys=True)
    except InvalidInput:
        raise IssuerFault("the document is not JSON") from None
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list) or len(entries) > KEYS_MAX:
        raise IssuerFault(f"the document has no list of at most {KEYS_MAX} keys")
    return list(entries)


def _key_id(jwk: JsonObject) -> str | None:
    key_id = jwk.get("kid")
    return key_id if isinstance(key_id, str) else None
