"""``keepsay serve``."""

from __future__ import annotations

from keepsay.cli.place import Place, on_database

__all__ = ["serve"]


@on_database()
def serve(place: Place) -> None:
    """Serve conversations over HTTP."""
