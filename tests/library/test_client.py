"""``Keepsay`` itself: cheap to make, lazy, at home on any loop, and the same without ``await``."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay import ConfigurationError, Keepsay, NotFound, Unavailable, assistant
from keepsay.blocking import Keepsay as BlockingKeepsay
from keepsay.store.postgres.dsn import Dsn
from keepsay.testing.postgres import new_database

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


def test_making_one_connects_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    Keepsay().user("ada")


async def test_an_unreachable_database_is_unavailable_and_nothing_was_applied() -> None:
    async with Keepsay(NOWHERE) as ks:
        with pytest.raises(Unavailable) as unavailable:
            await ks.user("ada").create()
    assert unavailable.value.outcome == "not_applied"


@pytest.mark.parametrize("name", ["KEEPSAY_AUTO_MIGRATE", "KEEPSAY_SCHEMA", "DATABASE_URL"])
def test_a_bad_setting_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    monkeypatch.setenv(name, "; drop table")
    with pytest.raises(ConfigurationError):
        Keepsay()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a loop that ended takes its sockets along unclosed
def test_one_object_serves_one_event_loop_after_the_other(newest_postgres: NoopExecutor) -> None:
    with new_database(newest_postgres) as database:
        ks = Keepsay(_url(database.dsn))

        async def talk() -> int:
            user = ks.user("ada")
            conversation = await user.create(external_key="one", role_policy="lenient")
            return (await user.append(conversation.id, "hi")).head

        with ThreadPoolExecutor(1) as pool:  # this thread has a loop of pytest's
            assert [pool.submit(asyncio.run, talk()).result() for _ in range(3)] == [1, 2, 3]
            pool.submit(asyncio.run, ks.close()).result()
    gc.collect()  # here, where their warning is expected


async def test_concurrent_first_calls_open_one_pool(newest_postgres: NoopExecutor) -> None:
    with new_database(newest_postgres) as database:
        async with Keepsay(_url(database.dsn), pool_size=3) as ks:
            await asyncio.gather(*(ks.user("ada").create() for _ in range(30)))
            assert len((await ks.user("ada").list()).items) == 30


def test_the_facade_does_all_without_await(newest_postgres: NoopExecutor) -> None:
    with new_database(newest_postgres) as database, BlockingKeepsay(_url(database.dsn)) as ks:
        user = ks.user("ada")
        conversation = user.create(title="Trip", system_prompt="Be brief.")
        with user.run(conversation.id, "hi", key="k") as run:
            assert [m["role"] for m in run.window.to_openai_chat()] == ["system", "user"]
            run.finish(assistant("hello"))
        with pytest.raises(ZeroDivisionError), user.run(conversation.id, "again"):
            raise ZeroDivisionError
        with user.run(conversation.id, "hi", key="k") as again:
            assert again.replayed
            assert again.answer is not None
        assert [m.content for m in user.messages(conversation.id).items] == ["Be brief.", "hi", "hello", "again"]
        assert [line["type"] for line in user.export()] == ["conversation", *["message"] * 4, "end"]
        assert list(ks.admin().users()) == ["ada"]
        with pytest.raises(NotFound):
            ks.user("eve").get(conversation.id)


def test_the_facade_serves_several_threads(newest_postgres: NoopExecutor) -> None:
    with new_database(newest_postgres) as database, BlockingKeepsay(_url(database.dsn)) as ks:
        user = ks.user("ada")
        conversation = user.create(role_policy="lenient")
        threads = [threading.Thread(target=user.append, args=(conversation.id, f"{n}")) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert user.get(conversation.id).head == 8


def _url(dsn: Dsn) -> str:
    return f"postgresql://{dsn.user}@/{dsn.database}?host={quote(dsn.host or '', safe='')}&port={dsn.port}"
