"""Scopes over a store in memory: what is tested here is the library above the port."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from keepsay import Keepsay, MemoryStore, UserScope


@pytest.fixture
def keepsay() -> Keepsay:
    return Keepsay(store=MemoryStore(clock=lambda: datetime.now(UTC)))


@pytest.fixture
def user(keepsay: Keepsay) -> UserScope:
    return keepsay.user("ada")


@pytest.fixture
async def conversation(user: UserScope) -> UUID:
    return (await user.create()).id
