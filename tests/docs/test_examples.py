"""The examples work as their pages say."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from pytest_postgresql.executors import NoopExecutor
from tests.cli.program import environment, url_of

from keepsay.testing.postgres import new_database
from keepsay.testing.wire import free_port

FOLDER = Path(__file__).parent.parent.parent / "examples" / "own_app"


@contextmanager
def _uvicorn(app: str, port: int, **settings: str) -> Iterator[str]:
    """``uvicorn APP``, as the example's page starts it."""
    program = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", app, "--port", str(port)],
        cwd=FOLDER,
        env=environment(PYTHONDONTWRITEBYTECODE="1", **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert program.stdout is not None
        said = ""
        while "Uvicorn running" not in said:
            line = program.stdout.readline()
            assert line, f"{app} ended: {said}"
            said += line
        yield f"127.0.0.1:{port}"
    finally:
        program.terminate()
        program.communicate(timeout=60)


@pytest.fixture(scope="module")
def places(newest_postgres: NoopExecutor) -> Iterator[dict[str, str]]:
    """Where the issuer and the application listen, by where the page says that they do."""
    with ExitStack() as running:
        database = running.enter_context(new_database(newest_postgres))
        port = free_port()
        issuer = running.enter_context(_uvicorn("issuer:app", port, ISSUER=f"http://127.0.0.1:{port}"))
        shop = running.enter_context(
            _uvicorn("app:app", free_port(), ISSUER=f"http://{issuer}", DATABASE_URL=url_of(database.dsn))
        )
        yield {"localhost:8090": issuer, "localhost:8000": shop}


def test_the_page_of_the_own_app_is_true(places: dict[str, str]) -> None:
    [*_, commands] = re.findall(r"```sh\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    for place, real in places.items():
        commands = commands.replace(place, real)
    done = subprocess.run(["bash", "-euc", commands], capture_output=True, text=True, timeout=60, check=True)
    assert "We have tea. (You said: What do you sell?)" in done.stdout
    assert '"user_id":"shop:ada"' in done.stdout


def test_who_has_no_token_or_another_ones_is_not_let_in(places: dict[str, str]) -> None:
    shop, issuer = places["localhost:8000"], places["localhost:8090"]
    url = f"http://{shop}/assistant/conversations"
    assert httpx.get(url).status_code == 401
    tokens = {
        user: httpx.post(f"http://{issuer}/token", json={"user": user, "password": password}).json()["access_token"]
        for user, password in {"ada": "lovelace", "eve": "moneypenny"}.items()
    }
    ada, eve = ({"Authorization": f"Bearer {token}"} for token in tokens.values())
    made = httpx.post(url, headers=ada, json={"title": "mine"}).json()["id"]
    assert httpx.get(f"{url}/{made}", headers=ada).status_code == 200
    assert httpx.get(f"{url}/{made}", headers=eve).status_code == 404
    assert httpx.get(f"http://{shop}/articles").json() == ["tea", "kettle"]
    assert httpx.post(f"http://{issuer}/token", json={"user": "ada", "password": "x"}).status_code == 401
