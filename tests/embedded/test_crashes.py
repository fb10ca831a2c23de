# ruff: noqa: ASYNC220, ASYNC240 - the event loop of these tests has nothing else to do
"""After every kind of death the next start works, and what was committed is there."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from keepsay.embedded import EmbeddedPostgres
from keepsay.embedded.postmaster import _owner_and_command, _owner_and_command_by_ps
from keepsay.errors import ConfigurationError, Unavailable

from .running import Place, command_line, until, value

WRITE = "CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES (1)"
COUNT = "SELECT count(*) FROM kept"


async def write(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(WRITE)
    await connection.close()


async def test_committed_rows_survive_a_killed_server_and_then_a_killed_program_with_its_server(
    any_place: Place,
) -> None:
    with any_place.application() as application:
        await write(application.dsn)
        any_place.kill_server()
        with any_place.application() as second:
            assert await value(second.dsn, COUNT) == 1
            await write(second.dsn)
            any_place.kill_server()
            second.kill()
    with any_place.application() as third:
        assert await value(third.dsn, COUNT) == 2
    assert any_place.postmaster() is None


async def test_starting_again_mends_a_server_that_was_killed(place: Place) -> None:
    with EmbeddedPostgres(place.home) as server:
        await write(server.dsn)
        place.kill_server()
        assert server.start() == server.dsn
        assert await value(server.dsn, COUNT) == 1
    assert place.postmaster() is None


@contextmanager
def sleeping(account: str | None) -> Iterator[int]:
    """A live program that is none of Postgres' business."""
    program = subprocess.Popen(["sleep", "60"], user=account)
    try:
        yield program.pid
    finally:
        program.kill()
        program.wait()


def put_pid(place: Place, pid: int) -> None:
    for file in (place.data / "postmaster.pid", place.home / "postgres" / "run" / ".s.PGSQL.5432.lock"):
        _, _, rest = file.read_text().partition("\n")
        file.write_text(f"{pid}\n{rest}")


async def test_a_pid_that_now_belongs_to_another_program_keeps_nobody_from_starting(any_place: Place) -> None:
    with any_place.application() as application:
        await write(application.dsn)
        any_place.kill_server()
        application.kill()
    # Of the same account: Postgres itself refuses to start then.
    with sleeping(any_place.data.owner()) as pid:
        put_pid(any_place, pid)
        with any_place.application() as successor:
            assert await value(successor.dsn, COUNT) == 1
        assert command_line(pid)
    assert any_place.postmaster() is None


@pytest.mark.parametrize("content", ["", "rubbish\n"])
async def test_an_unreadable_pid_file_keeps_nobody_from_starting(place: Place, content: str) -> None:
    with place.application():
        pass
    file = place.data / "postmaster.pid"
    file.write_text(content)
    shutil.chown(file, place.data.owner())
    os.utime(file, (time.time() - 60, time.time() - 60))
    with place.application() as application:
        assert await value(application.dsn, "SELECT 1") == 1


async def test_a_zombie_postmaster_keeps_nobody_from_starting(place: Place) -> None:
    parent = place.begin().wait()
    await write(parent.dsn)
    os.kill(parent.program.pid, signal.SIGSTOP)  # so that it cannot reap its child
    try:
        zombie = place.kill_server()
        assert f"{zombie} (postgres) Z" in Path(f"/proc/{zombie}/stat").read_text()
        with place.application() as application:
            assert await value(application.dsn, COUNT) == 1
            assert Path(f"/proc/{zombie}").exists()
    finally:
        os.kill(parent.program.pid, signal.SIGCONT)
    until(lambda: not Path(f"/proc/{zombie}").exists())  # the parent reaps
    parent.leave()
    assert place.postmaster() is None


async def test_a_start_waits_for_the_orphans_of_a_killed_server(place: Place) -> None:
    with EmbeddedPostgres(place.home) as server:
        connection = await asyncpg.connect(server.dsn)
        busy = """DO $$ DECLARE until timestamptz := clock_timestamp() + interval '1.5 s';
                  BEGIN WHILE clock_timestamp() < until LOOP END LOOP; END $$"""
        statement = asyncio.ensure_future(connection.execute(busy))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        place.kill_server()
        await asyncio.to_thread(server.start)
        assert time.monotonic() - began > 0.8
        await asyncio.gather(statement, return_exceptions=True)  # the orphan may still have told how it went
        connection.terminate()
        assert await value(server.dsn, "SELECT 1") == 1


async def test_a_long_recovery_is_waited_for_and_told(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedPostgres(place.home):
        pass
    # A standby that takes no queries answers like a server in recovery, until it is promoted.
    signalled = place.data / "standby.signal"
    signalled.touch()
    shutil.chown(signalled, place.data.owner())
    server = EmbeddedPostgres(place.home, settings={"hot_standby": "off"})
    start = asyncio.create_task(asyncio.to_thread(server.start))
    try:
        await asyncio.sleep(2.5)
        assert not start.done()
        (place.data / "promote").touch()
        os.kill(place.postmaster() or 0, signal.SIGUSR1)
        assert await value(await start, "SELECT 1") == 1
    finally:
        await start
        server.stop()
    assert "waiting for the server to take queries" in caplog.text


async def test_a_start_that_takes_too_long_raises_unavailable_and_leaves_no_server(place: Place) -> None:
    with EmbeddedPostgres(place.home):
        pass
    signalled = place.data / "standby.signal"
    signalled.touch()
    shutil.chown(signalled, place.data.owner())
    with pytest.raises(Unavailable) as raised:
        EmbeddedPostgres(place.home, settings={"hot_standby": "off"}, timeout=0.5).start()
    assert raised.value.outcome == "not_applied"
    assert place.postmaster() is None


async def test_an_interrupted_first_start_leaves_nothing_that_the_next_one_trips_over(place: Place) -> None:
    shutil.rmtree(place.home / "postgres")
    interrupted = place.begin()
    root = place.home / "postgres"
    until(lambda: any(root.glob("data.unfinished-*")))
    interrupted.kill()
    assert not place.data.exists()
    with place.application() as application:
        assert await value(application.dsn, "SELECT 1") == 1
    # Killed with SIGKILL, the program could not take its initdb along; what that wrote goes when it has ended.
    until(lambda: not any("data.unfinished-" in command_line(int(p.name)) for p in Path("/proc").glob("[0-9]*")))
    with place.application():
        assert not list(root.glob("data.unfinished-*"))


async def test_a_deleted_socket_does_not_last(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keepsay.embedded.launch._LISTENS_WITHIN", 0.2)
    with EmbeddedPostgres(place.home) as server:
        (place.home / "postgres" / "run" / ".s.PGSQL.5432").unlink()
        server.start()
        assert await value(server.dsn, "SELECT 1") == 1


async def test_a_server_that_a_person_runs_on_the_data_is_left_alone(place: Place) -> None:
    with EmbeddedPostgres(place.home):
        pass
    command = [
        str(place.binaries / "postgres"),
        "-D",
        ".",
        "-c",
        f"unix_socket_directories={place.data}",
        "-c",
        "listen_addresses=",
    ]
    account = place.data.owner() if os.geteuid() == 0 else None
    foreign = subprocess.Popen(command, cwd=place.data, user=account, extra_groups=[] if account else None)
    try:
        until(lambda: (place.data / ".s.PGSQL.5432").exists())
        with pytest.raises(ConfigurationError, match="not started by keepsay"):
            EmbeddedPostgres(place.home).start()
        assert foreign.poll() is None
        assert (place.data / "postmaster.pid").exists()
    finally:
        foreign.send_signal(signal.SIGINT)
        foreign.wait()


async def test_macos_and_linux_look_at_a_process_and_see_the_same(place: Place) -> None:
    with EmbeddedPostgres(place.home):
        server = place.postmaster() or 0
        assert _owner_and_command_by_ps(server) == _owner_and_command(server)
    with sleeping(None) as pid:
        os.kill(pid, signal.SIGKILL)
        until(lambda: ") Z" in Path(f"/proc/{pid}/stat").read_text())
        assert _owner_and_command_by_ps(pid) is None is _owner_and_command(pid)
    assert _owner_and_command_by_ps(pid) is None is _owner_and_command(pid)


async def test_a_postgres_that_cannot_start_says_why_at_once(place: Place) -> None:
    with pytest.raises(Unavailable, match="no_such_setting"):
        EmbeddedPostgres(place.home, settings={"no_such_setting": "1"}).start()
    assert place.postmaster() is None
