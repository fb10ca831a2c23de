"""What the doctor makes of servers that cannot be started here."""

from __future__ import annotations

import dataclasses

import pytest

from keepsay.store.postgres.server_findings import (
    Server,
    judge_clock,
    judge_connections,
    judge_durability,
    judge_pooler,
    judge_speed,
    judge_version,
    judge_writable,
)

SOUND = Server(
    version="17.2",
    version_number=170002,
    is_neon=False,
    role="app",
    database="talk",
    backend=7,
    announced=7,
    in_recovery=False,
    read_only=False,
    synchronous_commit="on",
    fsync=True,
    full_page_writes=True,
    max_connections=100,
    reserved_connections=3,
    used_connections=5,
)


@pytest.mark.parametrize(("number", "level"), [(149999, "problem"), (150000, "ok"), (180001, "ok")])
def test_postgres_15_is_the_oldest(number: int, level: str) -> None:
    assert judge_version(dataclasses.replace(SOUND, version_number=number)).level == level


def test_neon_is_durable_without_fsync_and_others_are_not() -> None:
    without = dataclasses.replace(SOUND, fsync=False, full_page_writes=False)
    assert judge_durability(without).level == "problem"
    assert judge_durability(dataclasses.replace(without, is_neon=True)).level == "ok"
    assert judge_durability(dataclasses.replace(SOUND, is_neon=True, synchronous_commit="off")).level == "problem"


def test_synchronous_commit_is_all_that_is_to_be_mended_when_it_is() -> None:
    finding = judge_durability(dataclasses.replace(SOUND, synchronous_commit="off"))
    assert finding.mend == "ALTER ROLE app SET synchronous_commit = on;"


def test_a_replica_takes_no_writes() -> None:
    finding = judge_writable(dataclasses.replace(SOUND, in_recovery=True, read_only=True))
    assert (finding.level, finding.found) == ("problem", "this is a replica in recovery")


def test_a_pooler_is_told_by_its_name_or_by_its_own_logins() -> None:
    between = dataclasses.replace(SOUND, announced=8)
    assert "server's own" in judge_pooler(SOUND, named_pooler=False).found
    assert "looks like" in judge_pooler(between, named_pooler=False).found
    assert "Neon's pooler" in judge_pooler(between, named_pooler=True).found
    assert "Neon's proxy" in judge_pooler(dataclasses.replace(between, is_neon=True), named_pooler=False).found


@pytest.mark.parametrize(("used", "level"), [(77, "ok"), (78, "warning"), (97, "warning")])
def test_connections_get_scarce_at_four_fifths(used: int, level: str) -> None:
    assert judge_connections(dataclasses.replace(SOUND, used_connections=used)).level == level


def test_a_far_server_and_a_slow_start_are_warnings() -> None:
    assert judge_speed(100, 10).level == "ok"
    assert judge_speed(100, 60).level == "warning"
    assert judge_speed(6_000, 10).level == "warning"


@pytest.mark.parametrize(
    ("skew", "uncertainty", "level"),
    [(0.0, 0.001, "ok"), (-3.0, 0.1, "warning"), (3.0, 1.5, "ok"), (9.0, 1.5, "warning")],
)
def test_clocks_may_differ_by_two_seconds_and_what_is_not_known(skew: float, uncertainty: float, level: str) -> None:
    assert judge_clock(skew, uncertainty).level == level


def test_it_says_which_clock_is_behind() -> None:
    assert "this machine is 9.0 s behind the server" in judge_clock(9.0, 0.1).found
    assert "this machine is 9.0 s ahead of the server" in judge_clock(-9.0, 0.1).found
