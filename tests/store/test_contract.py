"""Every store passes the same suite."""

from __future__ import annotations

import pytest

from keepsay.model.ids import ConversationId
from keepsay.store.memory import MemoryStore
from keepsay.store.postgres.store import PostgresStore
from keepsay.store.protocol import Owner
from keepsay.testing.contract import ExpireLease, StoreContract
from keepsay.testing.postgres import Database


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    @pytest.fixture
    def expire_lease(self, store: MemoryStore) -> ExpireLease:
        async def expire(owner: Owner, conversation_id: ConversationId) -> None:
            store.expire_lease(owner, conversation_id)

        return expire


class TestPostgresStoreOnTheNewestPostgres(StoreContract):
    @pytest.fixture
    def store(self, newest_store: PostgresStore) -> PostgresStore:
        return newest_store

    @pytest.fixture
    def expire_lease(self, newest_database: Database) -> ExpireLease:
        return newest_database.expire_lease


class TestPostgresStoreOnTheSystemsPostgres(StoreContract):
    @pytest.fixture
    def store(self, system_store: PostgresStore) -> PostgresStore:
        return system_store

    @pytest.fixture
    def expire_lease(self, system_database: Database) -> ExpireLease:
        return system_database.expire_lease
