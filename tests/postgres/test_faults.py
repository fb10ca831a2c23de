"""Every driver error has one meaning, and ``not_applied`` is never said of a write that may have been applied."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsay.errors import (
    ConfigurationError,
    ConversationBusy,
    CorruptData,
    InvalidInput,
    KeepsayError,
    KeyReused,
    NotFound,
    QuotaExceeded,
    RateLimited,
    RoleOrderError,
    RunSuperseded,
    SeqMismatch,
    UnansweredCalls,
    Unavailable,
    VersionMismatch,
)
from keepsay.model.ids import run_id_of
from keepsay.store.postgres.connection import open_pool
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.faults import fault_from, poisons_connection
from keepsay.store.postgres.refusals import refusal_from

RUN_7 = str(run_id_of(7))
NOT_REACHED = ["57P03", "53300", "08001", "08004", "28000", "28P01", "3D000"]
SERVER_SAID_NO = ["23503", "25006", "53100", "53200", "40001", "40P01", "55P03", "57014", "42501"]
BAD_DATA = ["23505", "22P05", "22021", "22P02", "22003", "22000", "54000", "54001"]
OF_OTHERS = ["42P06", "42P07", "42710", "42723"]
LOST = ["08000", "08003", "08006", "08P01", "57P01", "57P02", "XX000", "58030", "72000"]


def raised(sqlstate: str, message: str = "as the server says", detail: str | None = None) -> BaseException:
    fields = {"S": "ERROR", "C": sqlstate, "M": message} | ({"D": detail} if detail is not None else {})
    error: BaseException = asyncpg.PostgresError.new(fields)
    return error


def fault(error: BaseException, *, sent: bool = True, write: bool = True) -> KeepsayError:
    ours = fault_from(error, sent=sent, write=write)
    assert ours is not None
    return ours


@pytest.mark.parametrize("sqlstate", NOT_REACHED + SERVER_SAID_NO)
def test_what_the_server_refused_was_not_applied(sqlstate: str) -> None:
    ours = fault(raised(sqlstate))
    assert isinstance(ours, Unavailable)
    assert ours.outcome == "not_applied"
    assert sqlstate in ours.message
    assert poisons_connection(raised(sqlstate)) == (sqlstate in NOT_REACHED)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
def test_a_conflict_of_transactions_may_be_tried_again_soon(sqlstate: str) -> None:
    ours = fault(raised(sqlstate))
    assert isinstance(ours, Unavailable)
    assert ours.retry_after < 0.1


@pytest.mark.parametrize("sqlstate", BAD_DATA)
def test_data_that_postgres_cannot_take_is_invalid_input(sqlstate: str) -> None:
    assert isinstance(fault(raised(sqlstate)), InvalidInput)
    assert not poisons_connection(raised(sqlstate))


@pytest.mark.parametrize("sqlstate", OF_OTHERS)
def test_a_schema_that_others_use_is_a_configuration_error(sqlstate: str) -> None:
    ours = fault(raised(sqlstate))
    assert isinstance(ours, ConfigurationError)
    assert "KEEPSAY_SCHEMA" in ours.message


@pytest.mark.parametrize("sqlstate", ["42883", "42P01", "42703", "3F000"])
def test_a_schema_of_another_release_is_a_configuration_error(sqlstate: str) -> None:
    ours = fault(raised(sqlstate))
    assert isinstance(ours, ConfigurationError)
    assert "keepsay migrate" in ours.message


@pytest.mark.parametrize("sqlstate", ["23514", "XX001", "XX002"])
def test_rows_that_break_an_invariant_are_reported_as_corrupt(sqlstate: str) -> None:
    assert isinstance(fault(raised(sqlstate)), CorruptData)


@pytest.mark.parametrize("sqlstate", LOST)
@pytest.mark.parametrize(
    ("sent", "write", "outcome"),
    [
        (True, True, "unknown"),
        (True, False, "not_applied"),
        (False, True, "not_applied"),
        (False, False, "not_applied"),
    ],
)
def test_a_write_that_was_lost_after_it_was_sent_is_unknown(
    sqlstate: str, sent: bool, write: bool, outcome: str
) -> None:
    ours = fault(raised(sqlstate), sent=sent, write=write)
    assert isinstance(ours, Unavailable)
    assert ours.outcome == outcome
    assert poisons_connection(raised(sqlstate))


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionResetError(),
        OSError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("unexpected"),
        BufferError("unexpected trailing 4 bytes"),
        AssertionError("insufficient data in buffer"),
        KeyError("never seen"),
    ],
)
def test_an_error_that_is_not_in_the_table_is_unknown_and_poisons(error: Exception) -> None:
    assert fault(error).outcome == "unknown"
    assert fault(error, sent=False).outcome == "not_applied"
    assert poisons_connection(error)


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), socket.gaierror(), ssl.SSLCertVerificationError("self-signed")]
)
def test_a_server_that_was_not_reached_applied_nothing(error: OSError) -> None:
    assert fault(error).outcome == "not_applied"


@pytest.mark.parametrize(
    ("text", "patient"),
    [
        ("Couldn't connect to compute node", False),
        ("Control plane request failed", False),
        ("Control plane request failed: endpoint is temporarily unavailable. Check your quotas and/or contact", True),
        ("Control plane request failed: endpoint cannot be found", True),
        ("Control plane request failed: endpoint is disabled", True),
        ("Failed to acquire permit to connect to the database. Too many database connection attempts are", False),
        ("Too many connections attempts", False),
    ],
)
def test_neons_proxy_is_told_by_its_texts(text: str, patient: bool) -> None:
    ours = fault(raised("XX000", text))
    assert isinstance(ours, Unavailable)
    assert ours.outcome == "not_applied"
    assert (ours.retry_after >= 30) == patient


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit()])
def test_cancellation_and_exit_are_no_faults_but_poison(error: BaseException) -> None:
    assert fault_from(error, sent=True, write=True) is None
    assert poisons_connection(error)


def test_an_error_of_ours_passes_through() -> None:
    error = NotFound()
    assert fault_from(error, sent=True, write=True) is error
    assert not poisons_connection(error)


@given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=5, max_size=5))
def test_every_sqlstate_has_a_meaning(sqlstate: str) -> None:
    known = (
        NOT_REACHED
        + SERVER_SAID_NO
        + BAD_DATA
        + OF_OTHERS
        + ["XX001", "XX002", "3F000", "42883", "42P01", "42703", "42704"]
    )
    ours = fault(raised(sqlstate))
    if sqlstate not in known and sqlstate[:2] not in ("22", "23", "28", "KS"):
        assert ours.outcome == "unknown"


REFUSALS: list[tuple[str, dict[str, object], type[KeepsayError], dict[str, object]]] = [
    ("KS001", {"kind": "run"}, NotFound, {"kind": "run"}),
    ("KS002", {}, KeyReused, {}),
    ("KS003", {"run_id": 7, "retry_after": 12.5}, ConversationBusy, {"run_id": RUN_7, "retry_after": 12.5}),
    ("KS003", {"run_id": 7, "retry_after": 3}, ConversationBusy, {"run_id": RUN_7, "retry_after": 3.0}),
    ("KS004", {"run_id": 7}, RunSuperseded, {"run_id": RUN_7}),
    ("KS005", {"head": 5, "expected": 3}, SeqMismatch, {"head": 5, "expected": 3}),
    ("KS006", {"version": 5, "expected": 3}, VersionMismatch, {"version": 5, "expected": 3}),
    (
        "KS007",
        {"last_role": 1, "attempted_role": 1},
        RoleOrderError,
        {
            "last_role": "user",
            "attempted_role": "user",
            "message": "Two user messages may not follow each other; user and assistant alternate.",
        },
    ),
    ("KS007", {"last_role": None, "attempted_role": 3}, RoleOrderError, {"last_role": None}),
    (
        "KS008",
        {"open_calls": ["a", "b"], "unknown": False},
        UnansweredCalls,
        {"open_calls": ("a", "b"), "last_role": None},
    ),
    ("KS009", {"field": "limit", "message": "limit is at most 200"}, InvalidInput, {"field": "limit"}),
    ("KS009", {}, InvalidInput, {"field": None}),
    ("KS011", {"limit": 6, "retry_after": 0.5}, RateLimited, {"limit": 6, "retry_after": 0.5}),
    ("KS012", {"limit": 9, "retry_after": 7200}, QuotaExceeded, {"limit": 9, "retry_after": 7200.0}),
]


@pytest.mark.parametrize(("sqlstate", "detail", "kind", "facts"), REFUSALS)
async def test_a_refusal_of_our_functions_brings_its_facts_through_the_database(
    server: Dsn, sqlstate: str, detail: dict[str, object], kind: type[KeepsayError], facts: dict[str, Any]
) -> None:
    pool = await open_pool(server, max_size=1)
    try:
        async with pool.acquire() as connection:
            with pytest.raises(asyncpg.PostgresError) as caught:
                await connection.call(
                    "SELECT never FROM trial.refuse_v1($1::text, $2::text)", sqlstate, json.dumps(detail), timeout=10
                )
    finally:
        await pool.close()
    ours = fault(caught.value)
    assert type(ours) is kind
    assert {name: getattr(ours, name) for name in facts} == facts
    assert ours.outcome == "not_applied"
    assert not poisons_connection(caught.value)


@pytest.mark.parametrize(
    ("sqlstate", "detail"),
    [
        ("KS999", {}),
        ("KS001", {}),
        ("KS003", {"run_id": "r"}),
        ("KS005", {"head": "5", "expected": 3}),
        ("KS005", {"head": True, "expected": 3}),
        ("KS008", {"open_calls": [1], "unknown": True}),
        ("KS008", {"open_calls": []}),
        ("KS011", {"limit": 6}),
        ("KS012", {"limit": "9", "retry_after": 1}),
    ],
)
def test_a_refusal_without_its_facts_is_loud(sqlstate: str, detail: dict[str, object]) -> None:
    assert isinstance(refusal_from(sqlstate, detail), CorruptData)


@pytest.mark.parametrize("detail", [None, "not json", "[]", '"text"', ""])
def test_a_refusal_whose_detail_is_no_object_is_loud(detail: str | None) -> None:
    assert isinstance(fault(raised("KS001", detail=detail)), CorruptData)
