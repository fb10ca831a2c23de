"""Row C4: Schemathesis over the OpenAPI document of a running server: every check, every phase, links followed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from keepsay.testing.postgres import Database

from .client import new_user
from .program import Server

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
SEED = 20_260_105
EXAMPLES = 50
HEURISTIC = {"missing_test_data", "validation_mismatch"}
"""Warnings that many answers were 4xx: the test asks it exactly."""
PHASES = {"examples", "coverage", "fuzzing", "stateful"}
KEY = "of-an-operator-" * 3
SETTINGS: dict[str, dict[str, str]] = {
    "dev": {},
    "service": {"KEEPSAY_AUTH": "service", "KEEPSAY_SERVICE_KEYS": KEY[::-1], "KEEPSAY_OPERATOR_KEYS": KEY},
}


def _run(server: Server, config: Path, folder: Path) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Run Schemathesis; its process and its report."""
    report = folder / "report.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{server.url}/openapi.json"),
        *("--phases", ",".join(sorted(PHASES)), "--max-examples", str(EXAMPLES)),
        *("--seed", str(SEED), "--no-color", "--report-json-path", str(report)),
    ]
    own = {"KEEPSAY_TEST_USER": new_user(), "KEEPSAY_TEST_SEEN": str(folder / "seen")}
    environment = os.environ | own | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert report.exists(), done.stdout + done.stderr
    return done, json.loads(report.read_text())


def _config(folder: Path, auth: str) -> Path:
    """The configuration, with the key if one is wanted."""
    written = folder / "schemathesis.toml"
    proof = f'\n[auth.openapi.service]\nbearer = "{KEY}"\n' if auth == "service" else ""
    written.write_text(CONFIG.read_text() + proof)
    return written


@pytest.mark.slow
@pytest.mark.timeout(1_800)  # some 10,000 requests
@pytest.mark.parametrize("auth", SETTINGS)
def test_the_server_is_as_its_document_says(server_database: Database, tmp_path: Path, auth: str) -> None:
    server = Server(
        tmp_path, server_database.dsn, KEEPSAY_LOG_LEVEL="warning", KEEPSAY_OPERATORS="on", **SETTINGS[auth]
    )
    try:
        done, report = _run(server, _config(tmp_path, auth), tmp_path)
    finally:
        server.kill()
    told = f"{done.stdout}\n{server.said}\nReproduce: pytest {Path(__file__).name} -k {auth}  # seed {SEED}"
    assert done.returncode == 0, told
    assert report["complete"], told
    assert report["operations"]["tested"] == report["operations"]["total"], told
    assert {phase: found["status"] for phase, found in report["phases"].items()} == dict.fromkeys(PHASES, "success")
    assert not {kind for kind, found in report["warnings"].items() if found} - HEURISTIC, told
    seen = _seen(tmp_path)
    assert {operation for _, operation, _ in seen} - _accepted(seen) == set(), told
    assert len(_accepted(found for found in seen if found[0] == "stateful")) >= 8, told
    assert _links_followed(done.stdout) >= 15, told
    assert "Traceback" not in server.said


def _seen(folder: Path) -> list[tuple[str, str, int]]:
    """Every answer: its phase, operation and status."""
    lines = (line.split("\t") for line in (folder / "seen").read_text().splitlines())
    return [(phase, operation, int(status)) for phase, operation, status in lines]


def _accepted(seen: Iterable[tuple[str, str, int]]) -> set[str]:
    """The operations that did what they are for at least once."""
    return {operation for _, operation, status in seen if status < 300}


def _links_followed(said: str) -> int:
    """How many links from one operation to the next the stateful phase has followed."""
    found = re.search(r"API Links:\s+(\d+) covered", said)
    assert found is not None, said
    return int(found[1])
