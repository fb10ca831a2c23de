"""``keepsay serve``: its settings, and that it stops in order."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"KEEPSAY_PORT": "many"}, "KEEPSAY_PORT"),
        ({"KEEPSAY_AUTH": "none"}, "KEEPSAY_AUTH"),
        ({"KEEPSAY_HOST": "0.0.0.0"}, "127.0.0.1"),
        ({"KEEPSAY_AGENT": "nonsense"}, "module:callable"),
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
