# ruff: noqa: ASYNC221 - the event loop of these tests has nothing else to do
"""Several programs, one server: the first starts it, the last stops it, whatever becomes of the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from keepsay.embedded import EmbeddedPostgres

from .running import Place, until, value


async def test_two_programs_that_start_at_once_on_a_fresh_folder_share_a_server_and_the_last_stops_it(
    fresh_place: Place,
) -> None:
    first, second = fresh_place.begin(), fresh_place.begin()
    assert first.wait().dsn == second.wait().dsn
    assert await value(first.dsn, "SELECT current_database()") == "keepsay"
    server = fresh_place.postmaster()
    first.leave()
    assert fresh_place.postmaster() == server
    assert await value(second.dsn, "SELECT 1") == 1
    second.leave()
    assert fresh_place.postmaster() is None


async def test_programs_may_come_and_go_in_any_order(place: Place) -> None:
    applications = [place.begin().wait() for _ in range(3)]
    server = place.postmaster()
    applications[0].leave()
    applications.append(place.begin().wait())
    for application in applications[1:3]:
        application.leave()
    assert place.postmaster() == server
    applications[3].leave()
    assert place.postmaster() is None


async def test_the_server_outlives_a_killed_program_and_the_next_one_takes_it_over(any_place: Place) -> None:
    any_place.begin().wait().kill()
    server = any_place.postmaster()
    assert server is not None
    with any_place.application() as successor:
        assert any_place.postmaster() == server
        assert await value(successor.dsn, "SELECT 1") == 1
    assert any_place.postmaster() is None


async def test_the_server_outlives_ctrl_c_in_the_terminal_of_the_program(place: Place) -> None:
    with place.application() as application:
        server = place.postmaster()
        assert server is not None
        assert os.getpgid(server) != os.getpgid(application.program.pid)
        assert os.getsid(server) != os.getsid(application.program.pid)
        os.killpg(application.program.pid, signal.SIGINT)  # as a terminal does; the program itself leaves in order
        until(lambda: application.program.poll() is not None)
    assert place.postmaster() is None
    assert "database system is shut down" in (place.home / "postgres" / "log").read_text()


async def test_one_program_may_use_a_server_twice(place: Place) -> None:
    with EmbeddedPostgres(place.home) as outer:
        server = place.postmaster()
        with EmbeddedPostgres(place.home) as inner:
            assert inner.dsn == outer.dsn
        assert place.postmaster() == server
    assert place.postmaster() is None


async def test_starting_twice_and_stopping_twice_change_nothing(place: Place) -> None:
    server = EmbeddedPostgres(place.home)
    assert server.start() == server.start()
    server.stop()
    server.stop()
    assert place.postmaster() is None


async def test_a_program_that_forgets_to_stop_still_stops_the_server(place: Place) -> None:
    subprocess.run([sys.executable, "-c", FORGETFUL, str(place.home)], check=True)
    assert place.data.exists()
    assert place.postmaster() is None


async def test_a_forked_child_stops_nothing_and_counts_only_when_it_starts(place: Place) -> None:
    subprocess.run([sys.executable, "-c", FORKING, str(place.home)], check=True)
    assert place.postmaster() is None


FORGETFUL = """
import sys
from pathlib import Path
from keepsay.embedded import EmbeddedPostgres

EmbeddedPostgres(Path(sys.argv[1])).start()
"""

FORKING = """
import os, sys, warnings
from pathlib import Path
from keepsay.embedded import EmbeddedPostgres
from keepsay.embedded.postmaster import running_pid

warnings.simplefilter("ignore")
home = Path(sys.argv[1])
server = EmbeddedPostgres(home)
server.start()
pid = running_pid(home / "postgres" / "data")
for twice in (False, True):
    child = os.fork()
    if child == 0:
        if twice:
            server.start()
        server.stop()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert pid == running_pid(home / "postgres" / "data") is not None
server.stop()
"""
