"""What Schemathesis is told of keepsay: one check more, and one user; see schemathesis.toml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import schemathesis

REFUSALS = {
    "conversation_busy": "a run holds the conversation",
    "expected_seq_mismatch": "somebody appended first",
    "idempotency_key_reused": "the key was used before",
    "invalid_cursor": "cursors are given out, not made up",
    "not_found": "ids are given out, not made up",
    "role_ordering_violation": "the roles and the tool calls before decide",
    "unauthenticated": "some credentials are made up; ignored_auth is the check for these",
    "version_mismatch": "another version",
}
"""Why a request that fits the document may be refused: by what was there before."""

BEYOND_SCHEMAS = {
    ("invalid_input", "cursor"): "a cursor takes the place of after or before, of another parameter",
    ("invalid_input", "messages"): "message or messages, not both",
    ("invalid_input", "request_id"): "request_id and Idempotency-Key say the same, in the body and in a header",
    ("invalid_input", "status"): "incomplete goes with the role of an assistant",
    ("invalid_input", "tool_calls"): "the calls of one message have different ids",
    ("invalid_input", "An integer lies outside 64 bits."): "wherever it stands",
    ("invalid_input", "If-Match"): "the coverage phase sends 0 where it finds no value for the pattern",
    ("invalid_input", "metadata"): "no NUL and no half of a surrogate pair, however deep",
    ("too_large", "metadata"): "at most so many bytes, and levels",
    ("too_large", "usage"): "at most so many bytes, and levels",
}
"""What JSON Schema cannot say, or not in a way that anybody would read."""


@schemathesis.check
def refusals_of_what_fits_the_document(_ctx: Any, response: Any, case: Any) -> None:
    """Stricter than ``positive_data_acceptance``: by the problem's code, not by its status. Writes down what it saw."""
    _note(response, case)
    if response.status_code < 400 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if any(not part.mode.is_positive for part in case.meta.components.values()):
        return  # coverage fills in what it can where it finds no value that fits
    problem = response.json()
    code, about = problem["code"], problem.get("field", problem["detail"])
    assert code in REFUSALS or (code, about) in BEYOND_SCHEMAS, f"{code} of {about}: {problem['detail']}"


def _note(response: Any, case: Any) -> None:
    phase = "" if case.meta is None else case.meta.phase.name.value
    with Path(os.environ["KEEPSAY_TEST_SEEN"]).open("a") as seen:
        seen.write(f"{phase}\t{case.operation.label}\t{response.status_code}\n")


@schemathesis.hook
def map_body(_ctx: Any, body: Any) -> Any:
    """Sessions of the one user, whom the body names here; a body that is broken otherwise stays so."""
    if isinstance(body, dict) and _is_user_id(body.get("user_id")):
        body["user_id"] = os.environ["KEEPSAY_TEST_USER"]
    return body


def _is_user_id(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 255 and value.isprintable() and "/" not in value
