"""Who is asking: what every way to know users finds out, and what routes make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from keepsay.errors import InvalidInput, NotFound
from keepsay.server.refusals import Unauthenticated

__all__ = ["USER_HEADER", "Authenticator", "Identity", "header_text"]

USER_HEADER = "X-Keepsay-User"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking. ``user_id`` is ``None`` for a caller that may be any user and has not said which.

    ``otherwise`` is whom such a caller is when the request names nobody either. ``is_operator``: may use the routes for
    operators, which see who there is, export and erase.
    """

    user_id: str | None
    otherwise: str | None = None
    is_operator: bool = False

    def acting(self, named: str | None = None) -> str:
        """The user to act for. ``named`` is the one whom the request itself names.

        Raises ``NotFound`` if that is somebody else, ``Unauthenticated`` if nobody is named.
        """
        if self.user_id is not None and named is not None and self.user_id != named:
            raise NotFound("user")
        found = next((name for name in (self.user_id, named, self.otherwise) if name is not None), None)
        if found is None:
            raise Unauthenticated(f"Say for which user you ask, in {USER_HEADER}.")
        return found


class Authenticator(Protocol):
    """One way to know users."""

    def admit(self, connection: HTTPConnection) -> None:
        """Let the request in, whatever it asks for, or raise ``Forbidden``. Called before anything is read."""

    async def identify(self, connection: HTTPConnection) -> Identity:
        """Who is asking. Raises ``Unauthenticated``, ``InvalidInput``."""

    async def aclose(self) -> None:
        """Give back what it holds."""


def header_text(headers: Headers, name: str) -> str | None:
    """A header's value as UTF-8. Raises ``InvalidInput`` for other bytes, and for a header that stands twice."""
    values = headers.getlist(name)
    if not values:
        return None
    try:
        [value] = values
        return value.encode("latin-1").decode()
    except ValueError:
        raise InvalidInput(f"{name} is given once, in UTF-8.", field=name) from None
