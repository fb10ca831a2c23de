"""``/metrics``: for whom it is, and that several processes behind one port are added up."""

from __future__ import annotations

import os
import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from keepsay import Keepsay
from keepsay.server.observe.metrics import added_up
from keepsay.testing.postgres import Database

from ..client import Client, connect
from ..program import Server

TOKEN = "metrics-token-of-32-characters-x"
NAMES = {
    "keepsay_http_requests", "keepsay_http_request_seconds", "keepsay_operations", "keepsay_operation_seconds",
    "keepsay_pool_wait_seconds", "keepsay_conflicts", "keepsay_replays", "keepsay_takeovers", "keepsay_runs",
    "keepsay_window_messages", "keepsay_window_tokens", "keepsay_turns_under_way", "keepsay_build_info",
}  # fmt: skip


async def test_the_page_is_prometheuss_and_has_every_metric(ada: Client) -> None:
    await ada.create()
    answer = await ada.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(answer.content.decode())}
    assert families.keys() >= NAMES
    assert all(family.documentation for family in families.values())


async def test_each_app_counts_its_own(keepsay: Keepsay) -> None:
    first, second = connect(keepsay), connect(keepsay)
    await first.create()
    assert b'keepsay_operations_total{operation="create"' in (await first.get("/metrics")).content
    assert b'keepsay_operations_total{operation="create"' not in (await second.get("/metrics")).content


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (None, 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Bearer {TOKEN}x", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer \xff", 401),
    ],
)
async def test_with_a_token_it_is_for_whoever_has_it(keepsay: Keepsay, said: str | None, status: int) -> None:
    client = connect(keepsay, metrics_token=SecretStr(TOKEN))
    answer = await client.get("/metrics", headers={"Authorization": said or ""})
    assert answer.status == status
    if status == 401:
        assert answer.code == "unauthenticated"
        assert TOKEN.encode() not in answer.content


async def test_it_can_be_switched_off(keepsay: Keepsay) -> None:
    assert (await connect(keepsay, metrics=False).get("/metrics")).status == 404


@pytest.mark.slow
def test_workers_behind_one_port_are_added_up(tmp_path: Path, server_database: Database) -> None:
    server = Server(tmp_path, server_database.dsn, KEEPSAY_WORKERS="2", TMPDIR=str(tmp_path))
    try:
        asked = 0
        while len(_who_answered(tmp_path)) < 2 and asked < 1_000:  # a connection each, so that both get some
            asked += httpx.get(f"{server.url}/nope").status_code == 404
        page = httpx.get(f"{server.url}/metrics").text
        assert len(_who_answered(tmp_path)) == 2
        [count] = re.findall(r'keepsay_http_requests_total\{.*"\(none\)".*\} (.+)', page)
        assert float(count) == asked
        assert "keepsay_build_info{" in page
    finally:
        server.program.terminate()
        server.program.wait(30)
    assert not list(tmp_path.glob("keepsay-metrics-*")), "the folder goes with the server"


def _who_answered(folder: Path) -> list[Path]:
    """The files of processes that have counted a request."""
    files = folder.glob("keepsay-metrics-*/counter_*.db")
    return [path for path in files if b"(none)" in path.read_bytes()]


def test_a_folder_that_was_named_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with added_up():
        folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        assert folder.is_dir()
    assert not folder.exists()
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with added_up():
        assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(tmp_path)
    assert tmp_path.is_dir()
