"""Bearer credentials: what stands in the ``Authorization`` header (RFC 6750, section 2.1)."""

from __future__ import annotations

import re

from starlette.datastructures import Headers

__all__ = ["CREDENTIAL_BYTES", "NOT_PROVED", "bearer"]

CREDENTIAL_BYTES = 8 * 1024

_CREDENTIAL = re.compile(rf"[!-~]{{1,{CREDENTIAL_BYTES}}}")

NOT_PROVED = "Prove who is asking: send a valid credential, as Authorization: Bearer ..."
"""What every refused caller reads. It is one text, so that it tells nobody how near a forgery came."""


def bearer(headers: Headers) -> str | None:
    """The credential of the one ``Authorization`` header; ``None`` for anything else.

    The scheme is case-insensitive, one space follows, and the credential is 1..8,192 visible ASCII characters.
    """
    values = headers.getlist("authorization")
    scheme, _, credential = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    return credential if scheme.lower() == "bearer" and _CREDENTIAL.fullmatch(credential) else None
