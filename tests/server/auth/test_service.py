"""Auth ``service``: a backend's keys."""

from __future__ import annotations

import hmac
from unittest.mock import Mock

import pytest

from keepsay.errors import ConfigurationError, InvalidInput, NotFound
from keepsay.server.auth import ServiceAuth
from keepsay.server.refusals import Unauthenticated

from .tokens import asking, refusal

KEY, NEXT_KEY, OPERATOR_KEY = "k" * 32, "n" * 40, "!o~" * 11


def auth() -> ServiceAuth:
    return ServiceAuth([KEY, NEXT_KEY], [OPERATOR_KEY])


@pytest.mark.parametrize(("key", "is_operator"), [(KEY, False), (NEXT_KEY, False), (OPERATOR_KEY, True)])
async def test_a_key_lets_in_the_user_whom_the_backend_names(key: str, is_operator: bool) -> None:
    named = await auth().identify(asking(("Authorization", f"bearer {key}"), ("X-Keepsay-User", "zo\u00eb".encode())))
    assert (named.user_id, named.is_operator) == ("zo\u00eb", is_operator)
    with pytest.raises(NotFound):
        named.acting("somebody else")
    unnamed = await auth().identify(asking(("Authorization", f"Bearer {key}")))
    assert (unnamed.user_id, unnamed.otherwise, unnamed.is_operator) == (None, None, is_operator)
    assert unnamed.acting("ada") == "ada"
    with pytest.raises(Unauthenticated, match="X-Keepsay-User"):
        unnamed.acting()


ATTACKS = {
    "no header": [],
    "empty": [""],
    "the scheme alone": ["Bearer "],
    "another scheme": [f"Basic {KEY}"],
    "no scheme": [KEY],
    "another key": [f"Bearer {'x' * 32}"],
    "in another case": [f"Bearer {KEY.upper()}"],
    "the beginning of a key": [f"Bearer {KEY[:-1]}"],
    "a key and more": [f"Bearer {KEY}k"],
    "a key with a blank": [f"Bearer {KEY} "],
    "two blanks": [f"Bearer  {KEY}"],
    "two headers": [f"Bearer {KEY}", f"Bearer {KEY}"],
    "both keys": [f"Bearer {KEY},{NEXT_KEY}"],
    "other bytes": ["Bearer \u00e9" + KEY],
    "a NUL": [f"Bearer {KEY}\0"],
    "over 8 KB": ["Bearer " + "k" * 8193],
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_whoever_has_no_key_is_refused_and_learns_nothing(attack: str) -> None:
    headers = [("Authorization", text) for text in ATTACKS[attack]]
    spoofed = [("X-Keepsay-User", "ada"), ("X-Keepsay-Operator", "true")]
    assert await refusal(auth(), asking(*headers, *spoofed)) == await refusal(auth(), asking())


async def test_a_user_that_stands_twice_or_is_no_text_is_refused() -> None:
    key = ("Authorization", f"Bearer {KEY}")
    for headers in ([("X-Keepsay-User", "a"), ("X-Keepsay-User", "b")], [("X-Keepsay-User", b"\xff")]):
        with pytest.raises(InvalidInput, match="X-Keepsay-User"):
            await auth().identify(asking(key, *headers))


async def test_every_key_is_compared_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """No early exit: the number of comparisons does not tell which key it was, or that it was none."""
    compare = Mock(side_effect=hmac.compare_digest)
    monkeypatch.setattr("keepsay.server.auth.service.hmac.compare_digest", compare)
    for key in (KEY, NEXT_KEY, OPERATOR_KEY):
        compare.reset_mock()
        await auth().identify(asking(("Authorization", f"Bearer {key}")))
        assert compare.call_count == 3
    compare.reset_mock()
    await refusal(auth(), asking(("Authorization", "Bearer wrong")))
    assert compare.call_count == 3
    assert all(len(side) == 32 for call in compare.call_args_list for side in call.args), "hashes, of one length"


@pytest.mark.parametrize("key", ["", "k" * 31, "k" * 31 + " ", "k" * 31 + "\u00e9", "k" * 8193, "k" * 31 + "\n"])
def test_a_weak_or_unusable_key_is_refused_at_configuration(key: str) -> None:
    for keys, operator_keys, name in (([KEY, key], [], "SERVICE"), ([KEY], [key], "OPERATOR")):
        with pytest.raises(ConfigurationError, match=f"KEEPSAY_{name}_KEYS") as caught:
            ServiceAuth(keys, operator_keys)
        assert not key or key not in str(caught.value)


def test_a_key_is_for_backends_or_for_operators() -> None:
    with pytest.raises(ConfigurationError, match="not in both"):
        ServiceAuth([KEY], [KEY])


def test_keys_are_not_kept() -> None:
    kept = repr(vars(auth()))
    assert KEY not in kept
    assert OPERATOR_KEY not in kept
