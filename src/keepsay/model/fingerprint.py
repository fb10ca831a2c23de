"""The fingerprint of a keyed write: equal for equal content, whatever process or release made it."""

from __future__ import annotations

import hashlib

_VERSION = b"1"  # a release that fingerprints otherwise takes another: retries across a deploy must not turn into 422s


def fingerprint(operation: str, *parts: str | None) -> int:
    """64 bits, signed as Postgres has them, of the operation and its parts; ``None`` and ``""`` differ."""
    digest = hashlib.sha256(_VERSION)
    for part in (operation, *parts):
        encoded = None if part is None else part.encode("utf-8", "surrogatepass")
        digest.update(b"-" if encoded is None else b"%d:%b" % (len(encoded), encoded))
    return int.from_bytes(digest.digest()[:8], "big", signed=True)
