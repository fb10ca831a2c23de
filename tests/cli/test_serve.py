"""``keepsay serve``: its settings, and that it stops in order."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keepsay.testing.wire import free_port

from .program import environment, keepsay


def test_it_serves_on_a_postgres_of_its_own_until_it_is_told_to_stop(open_folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "keepsay.cli", "serve", "--port", "0"],
        env=environment(KEEPSAY_HOME=str(open_folder / "home"), KEEPSAY_LOG_LEVEL="warning"),
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        line = next(line for line in running.stdout if "listening" in line)
        url = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert url is not None
        request = urllib.request.Request(
            f"{url[0]}/api/session",
            b'{"user_id": "ann", "context": "hello"}',
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) in (0, -signal.SIGTERM)
    assert keepsay("ls", KEEPSAY_HOME=str(open_folder / "home")).out == "ann\n"


def test_several_workers_share_a_postgres_of_their_own(open_folder: Path) -> None:
    """What the command line says reaches the workers."""
    (open_folder / "who.py").write_text("import os\ndef who(messages): return str(os.getpid())\n")
    home, options = str(open_folder / "home"), ("--port", str(free_port()), "--workers", "2", "--agent", "who:who")
    with subprocess.Popen(
        [sys.executable, "-m", "keepsay.cli", "serve", "--home", home, *options, "--pool-size", "1"],
        env=environment(KEEPSAY_LOG_LEVEL="warning"),
        cwd=open_folder,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        url = re.search(r"http://127\.0\.0\.1:\d+", next(line for line in running.stdout if "listening" in line))
        assert url is not None
        with ThreadPoolExecutor(8) as clients:
            workers: set[str] = set()
            while len(workers) < 2:
                workers |= set(clients.map(_ask, [f"{url[0]}/api/ann/chat"] * 8))
        assert str(running.pid) not in workers
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
        assert "listening" not in running.stdout.read(), "said once"
    assert keepsay("ls", KEEPSAY_HOME=home).out == "ann\n"


def _ask(url: str) -> str:
    request = urllib.request.Request(url, b'{"message": "who?"}', {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        response = json.load(answer)["response"]
    assert isinstance(response, str)
    return response


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"KEEPSAY_PORT": "many"}, "KEEPSAY_PORT"),
        ({"KEEPSAY_AUTH": "none"}, "KEEPSAY_AUTH"),
        ({"KEEPSAY_HOST": "0.0.0.0"}, "127.0.0.1"),
        ({"KEEPSAY_AGENT": "nonsense"}, "module:callable"),
        ({"KEEPSAY_WORKERS": "many"}, "KEEPSAY_WORKERS"),
        ({"KEEPSAY_WORKERS": "2", "KEEPSAY_AGENT": "nonsense"}, "module:callable"),
        ({"KEEPSAY_RUNS_BURST": "2"}, "KEEPSAY_RUNS_PER_MINUTE"),
        ({"KEEPSAY_AUTO_MIGRATE": "sometimes"}, "--auto-migrate"),
        ({"DATABASE_URL": "mysql://x"}, "postgresql://"),
    ],
)
def test_a_wrong_setting_is_said_before_anything_starts(env: dict[str, str], says: str) -> None:
    ran = keepsay("serve", **{"DATABASE_URL": "postgresql://127.0.0.1:1/x"} | env)
    assert ran.code == 2
    assert says in ran.err


def test_without_its_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['fastapi'] = None; from keepsay.cli.app import app; app(['serve'])"
    ran = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, env=environment(), check=False)
    assert (ran.returncode, ran.stderr) == (2, "error: The server needs an extra: pip install 'keepsay[server]'\n")
