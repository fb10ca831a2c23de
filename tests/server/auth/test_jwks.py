"""The issuer's keys: how often they are asked for, who waits for them, and what a bad issuer can do."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.utils import to_base64url_uint

from keepsay.errors import ConfigurationError
from keepsay.server.auth import jwks as jwks_module
from keepsay.server.auth.issuer import BODY_BYTES, JwksEndpoint
from keepsay.server.auth.jwks import KEYS_MAX, MARKS_MAX, IssuerFault, Jwks, read_key_set
from keepsay.server.auth.jwt import JwtAuth
from keepsay.server.auth.keys import VerificationKey
from keepsay.server.problems import problem_response
from keepsay.server.refusals import IssuerUnavailable

from .certificates import self_signed
from .http_issuer import Answer, HttpIssuer, http_issuer, raw, saying, silent
from .stalls import LIMIT, Timed, longest_stall
from .test_jwt import rules
from .tokens import KID, Json, Maker, bearing, ec_key, jwk, refusal, rsa_key

RS256 = frozenset({"RS256"})
HOUR = 3600.0

logger = logging.getLogger(__name__)  # shows what was measured: pytest --log-cli-level=INFO


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def document(*keys: Json) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


GOOD = document(jwk(rsa_key()))


class Issuer:
    """Counts loads. It answers ``body``, or raises it; while ``gate`` is closed it takes its time."""

    def __init__(self, body: bytes | Exception = GOOD) -> None:
        self.body = body
        self.loads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> bytes:
        self.loads += 1
        await self.gate.wait()
        if isinstance(self.body, Exception):
            raise self.body
        return self.body


DOWN = IssuerFault("it is down")


def keys_of(issuer: Callable[[], Awaitable[bytes]], clock: Clock) -> Jwks:
    return Jwks(issuer, RS256, monotonic=clock)


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


# How often.


async def test_keys_are_loaded_once_and_kept_for_300_seconds() -> None:
    issuer, clock = Issuer(), Clock()
    keys = keys_of(issuer, clock)
    for second in (0, 100, 299):
        clock.now = 1_000.0 + second
        assert await keys.find(KID) is not None
    await settle()
    assert issuer.loads == 1
    clock.now += 1
    assert await keys.find(KID) is not None
    await settle()
    assert issuer.loads == 2
    await keys.find(KID)
    await settle()
    assert issuer.loads == 2


async def test_a_thousand_first_requests_share_one_load() -> None:
    issuer = Issuer()
    issuer.gate.clear()
    keys = keys_of(issuer, Clock())
    asking = [asyncio.create_task(keys.find(KID)) for _ in range(1_000)]
    await settle()
    issuer.gate.set()
    found = await asyncio.gather(*asking)
    assert issuer.loads == 1
    assert len({id(key) for key in found}) == 1
    assert found[0] is not None


async def test_a_cancelled_caller_leaves_the_load_to_the_others() -> None:
    issuer = Issuer()
    issuer.gate.clear()
    keys = keys_of(issuer, Clock())
    first, second = asyncio.create_task(keys.find(KID)), asyncio.create_task(keys.find(KID))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    issuer.gate.set()
    assert await second is not None
    assert issuer.loads == 1


async def test_no_load_begins_beside_one_that_is_under_way() -> None:
    """However long that takes: the bound on a load is not what keeps them apart."""
    issuer, clock = Issuer(), Clock()
    issuer.gate.clear()
    keys = keys_of(issuer, clock)
    asking = []
    for _ in range(3):
        asking.append(asyncio.create_task(keys.find(KID)))
        await settle()
        clock.now += 31
    issuer.gate.set()
    assert all(await asyncio.gather(*asking))
    assert issuer.loads == 1


@pytest.mark.parametrize("body", [GOOD, DOWN], ids=["up", "down"])
async def test_a_flood_of_unknown_kids_costs_the_issuer_one_load_in_30_seconds(body: bytes | Exception) -> None:
    """5,000 requests in 100 seconds: loads at 0, 30, 60 and 90."""
    issuer, clock = Issuer(body), Clock()
    keys = keys_of(issuer, clock)
    began: list[float] = []
    for number in range(5_000):
        clock.now = 1_000.0 + number / 50
        loads = issuer.loads
        await _answered(keys.find(f"made up {number}"))
        began += [clock.now] * (issuer.loads - loads)
    assert len(began) == issuer.loads == 4
    assert all(later - earlier >= 30 for earlier, later in pairwise(began))


async def test_5000_unknown_kids_at_once_cost_one_load() -> None:
    issuer, clock = Issuer(), Clock()
    keys = keys_of(issuer, clock)
    await keys.find(KID)
    clock.now += 31
    await asyncio.gather(*(_answered(keys.find(f"made up {number}")) for number in range(5_000)))
    assert issuer.loads == 2


async def _answered(finding: Awaitable[VerificationKey | None]) -> str:
    try:
        return "found" if await finding else "refused"
    except IssuerUnavailable:
        return "unavailable"


async def test_a_first_load_that_failed_is_not_tried_again_for_30_seconds() -> None:
    issuer, clock = Issuer(DOWN), Clock()
    keys = keys_of(issuer, clock)
    for second, loads, retry_after in ((0, 1, 30), (1, 1, 29), (29.5, 1, 0.5), (30, 2, 30)):
        clock.now = 1_000.0 + second
        with pytest.raises(IssuerUnavailable) as caught:
            await keys.find(KID)
        assert (issuer.loads, caught.value.retry_after) == (loads, retry_after)
    issuer.body = GOOD
    clock.now += 30
    assert await keys.find(KID) is not None


# What is known.


async def test_an_unknown_kid_is_unknown_as_long_as_the_issuer_answers() -> None:
    issuer, clock = Issuer(), Clock()
    keys = keys_of(issuer, clock)
    assert await keys.find("other") is None
    clock.now += 31
    assert await keys.find("other") is None
    assert issuer.loads == 2


async def test_a_new_key_is_found_by_the_first_token_that_names_it() -> None:
    """Rotation: the next key is published, then signs, then the old one goes."""
    issuer, clock = Issuer(), Clock()
    keys = keys_of(issuer, clock)
    await keys.find(KID)
    issuer.body = document(jwk(rsa_key()), jwk(rsa_key(2048, 1), "next"))
    clock.now += 30
    assert await keys.find("next") is not None
    assert await keys.find(KID) is not None
    issuer.body = document(jwk(rsa_key(2048, 1), "next"))
    clock.now += 300
    assert await keys.find(KID) is not None, "known still; the load begins now"
    await settle()
    assert await keys.find(KID) is None
    assert await keys.find("next") is not None
    assert issuer.loads == 3


async def test_a_load_under_way_holds_nobody_whose_key_is_known() -> None:
    issuer, clock = Issuer(), Clock()
    keys = keys_of(issuer, clock)
    await keys.find(KID)
    clock.now += 301
    issuer.gate.clear()
    async with asyncio.timeout(1):
        for _ in range(100):
            assert await keys.find(KID) is not None
    await settle()
    assert issuer.loads == 2
    held = asyncio.create_task(keys.find("other"))
    await settle()
    assert not held.done(), "this one has to wait"
    issuer.gate.set()
    assert await held is None


async def test_known_keys_serve_for_a_day_while_the_issuer_is_down() -> None:
    issuer, clock = Issuer(), Clock()
    keys = keys_of(issuer, clock)
    await keys.find(KID)
    issuer.body = DOWN
    for second in range(301, int(24 * HOUR), 601):
        clock.now = 1_000.0 + second
        assert await keys.find(KID) is not None
        with pytest.raises(IssuerUnavailable):
            await keys.find("other")
    clock.now = 1_000.0 + 24 * HOUR
    with pytest.raises(IssuerUnavailable):
        await keys.find(KID)
    issuer.body = GOOD
    clock.now += 30
    assert await keys.find(KID) is not None


async def test_a_token_without_kid_takes_the_only_key_and_never_one_of_several() -> None:
    clock = Clock()
    for body, is_found in (
        (GOOD, True),
        (document(jwk(rsa_key(), None)), True),
        (document(jwk(rsa_key(), None), jwk(rsa_key(2048, 1), "next")), True),
        (document(jwk(rsa_key()), jwk(rsa_key(2048, 1), "next")), False),
        (document(), False),
    ):
        assert (await keys_of(Issuer(body), clock).find(None) is not None) is is_found


async def test_of_two_keys_with_one_kid_the_first_usable_counts() -> None:
    body = document(jwk(ec_key()), jwk(rsa_key()), jwk(rsa_key(2048, 1)))
    auth = JwtAuth(rules(), keys_of(Issuer(body), Clock()))
    assert (await auth.identify(bearing(Maker().token()))).user_id == "ada"
    await refusal(auth, bearing(Maker(rsa_key(2048, 1)).token()))


async def test_closing_ends_a_load_and_tells_those_who_wait() -> None:
    issuer = Issuer()
    issuer.gate.clear()
    keys = keys_of(issuer, Clock())
    waiting = asyncio.create_task(keys.find(KID))
    await settle()
    await keys.aclose()
    with pytest.raises(IssuerUnavailable):
        await waiting
    await keys.aclose()


async def test_a_bug_while_loading_is_logged_and_hangs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(IssuerUnavailable):
        await keys_of(Issuer(ZeroDivisionError()), Clock()).find(KID)
    assert "ran into a bug" in caplog.text


async def test_no_keys_is_a_503_that_says_when_to_come_back() -> None:
    auth = JwtAuth(rules(), keys_of(Issuer(DOWN), Clock()))
    with pytest.raises(IssuerUnavailable) as caught:
        await auth.identify(bearing(Maker().token()))
    answer = problem_response(caught.value, "POST")
    told = json.loads(bytes(answer.body))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert (told["code"], told["outcome"], told["retry_after"]) == ("issuer_unavailable", "not_applied", 30)


async def test_what_is_no_token_never_reaches_the_issuer() -> None:
    issuer = Issuer()
    auth = JwtAuth(rules(), keys_of(issuer, Clock()))
    for token in ("", "x", Maker().headed(alg="none"), Maker().headed(kid=1), Maker().headed(typ="dpop+jwt")):
        await refusal(auth, bearing(token))
    assert issuer.loads == 0


# Documents.


BAD_DOCUMENTS: dict[str, bytes] = {
    "empty": b"",
    "blank": b"  ",
    "not JSON": b"<html>Sign in</html>",
    "cut off": GOOD[:-10],
    "two documents": GOOD + GOOD,
    "not UTF-8": b'{"keys": [], "x": "\xff"}',
    "UTF-16": GOOD.decode().encode("utf-16"),
    "null": b"null",
    "a number": b"1",
    "a text": b'"keys"',
    "a list": b"[]",
    "a key instead of a set": json.dumps(jwk(rsa_key())).encode(),
    "no keys": b"{}",
    "keys null": b'{"keys": null}',
    "keys an object": b'{"keys": {}}',
    "keys a text": b'{"keys": "x"}',
    "keys twice": b'{"keys": [], ' + GOOD[1:],
    "kid twice": GOOD.replace(b'"kid"', b'"kid": "x", "kid"'),
    "NaN": b'{"x": NaN, ' + GOOD[1:],
    "a number over 64 bits": b'{"x": 18446744073709551616, ' + GOOD[1:],
    "5,000 digits": b'{"x": ' + b"9" * 5_000 + b", " + GOOD[1:],
    "too many keys": document(*({"kty": "x"} for _ in range(KEYS_MAX + 1))),
    "too many marks": b'{"x": [' + b",".join([b"0"] * MARKS_MAX) + b"], " + GOOD[1:],
    "too deep": b"[" * 1_000 + b"]" * 1_000,
    "a megabyte of brackets": b"[" * 2**20,
}


@pytest.mark.parametrize("name", BAD_DOCUMENTS)
async def test_a_bad_document_is_a_failed_load(name: str) -> None:
    issuer, clock = Issuer(BAD_DOCUMENTS[name]), Clock()
    keys = keys_of(issuer, clock)
    with pytest.raises(IssuerUnavailable):
        await keys.find(KID)
    issuer.body = GOOD
    clock.now += 30
    assert await keys.find(KID) is not None
    issuer.body = BAD_DOCUMENTS[name]
    clock.now += 301
    await keys.find(KID)
    await settle()
    assert issuer.loads == 3
    assert await keys.find(KID) is not None, "what is known stays"


PRIVATE = jwk(rsa_key(), d=to_base64url_uint(rsa_key().private_numbers().d).decode())
BAD_KEYS: dict[str, object] = {
    "null": None,
    "a text": "x",
    "a list": [],
    "empty": {},
    "no kty": {name: value for name, value in jwk(rsa_key()).items() if name != "kty"},
    "kty unknown": jwk(rsa_key(), kty="rsa"),
    "kty a number": jwk(rsa_key(), kty=1),
    "a shared secret": {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": KID},
    "a private key": PRIVATE,
    "a private key of nonsense": jwk(rsa_key(), d="AQAB"),
    "to encrypt": jwk(rsa_key(), use="enc"),
    "use a list": jwk(rsa_key(), use=["sig"]),
    "key_ops without verify": jwk(rsa_key(), key_ops=["sign"]),
    "key_ops a text": jwk(rsa_key(), key_ops="verify"),
    "another alg": jwk(rsa_key(), alg="RS512"),
    "alg none": jwk(rsa_key(), alg="none"),
    "alg HS256": jwk(rsa_key(), alg="HS256"),
    "alg a list": jwk(rsa_key(), alg=["RS256"]),
    "1024 bits": jwk(rsa_key(1024)),
    "another family": jwk(ec_key()),
    "a curve of nobody": jwk(ec_key(), crv="P-999"),
    "a curve in EC's place": jwk(ec_key(ec.SECP256K1)),
    "a point off the curve": jwk(ec_key(), y=jwk(ec_key())["x"]),
    "no n": {name: value for name, value in jwk(rsa_key()).items() if name != "n"},
    "n a number": jwk(rsa_key(), n=1),
    "n empty": jwk(rsa_key(), n=""),
    "n null": jwk(rsa_key(), n=None),
    "n not base64": jwk(rsa_key(), n="\u00e9" * 300),
    "n half a surrogate pair": jwk(rsa_key(), n="\ud800"),
    "n of 16,384 bits": jwk(rsa_key(), n="_" * 2_731),
    "n of a megabit": jwk(rsa_key(), n="_" * 175_000),
    "e empty": jwk(rsa_key(), e=""),
    "e 1": jwk(rsa_key(), e="AQ"),
    "e even": jwk(rsa_key(), e="BA"),
    "e a list": jwk(rsa_key(), e=[]),
    "kid a number": jwk(rsa_key(), kid=1),  # type: ignore[arg-type]
    "kid null": jwk(rsa_key()) | {"kid": None},
    "kid too long": jwk(rsa_key(), "x" * 256),
}


@pytest.mark.parametrize("name", BAD_KEYS)
async def test_a_bad_key_is_skipped_and_the_good_one_beside_it_counts(name: str) -> None:
    beside = jwk(rsa_key(2048, 1), "good")
    body = json.dumps({"keys": [BAD_KEYS[name], beside]}).encode()
    for algorithms in (RS256, frozenset({"ES256"})):
        keys = await read_key_set(body, algorithms)
        bad_curves = name == "another family"
        assert set(keys.keys) == ({"good"} if algorithms == RS256 else {KID} if bad_curves else set())


async def test_a_set_without_a_usable_key_lets_nobody_in_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    auth = JwtAuth(rules(), keys_of(Issuer(document(jwk(ec_key()))), Clock()))
    await refusal(auth, bearing(Maker().token()))
    assert "no key that fits RS256" in caplog.text


# Over HTTP, on a real socket.


@asynccontextmanager
async def loading(answer: Answer) -> AsyncIterator[tuple[HttpIssuer, Jwks]]:
    async with http_issuer(answer) as issuer:
        keys = Jwks(JwksEndpoint(issuer.url), RS256, monotonic=Clock())
        yield issuer, keys
        await keys.aclose()


async def test_keys_come_over_http() -> None:
    async with loading(saying(GOOD)) as (issuer, keys):
        auth = JwtAuth(rules(), keys)
        assert (await auth.identify(bearing(Maker().token()))).user_id == "ada"
        await asyncio.gather(*(auth.identify(bearing(Maker().token())) for _ in range(50)))
        [request] = issuer.requests
        assert request.startswith(b"GET /jwks.json HTTP/1.1\r\n")
        assert b"authorization" not in request.lower()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD_ANSWERS: dict[str, Answer] = {
    "404": saying(GOOD, "404 Not Found"),
    "500": saying(GOOD, "500 Oops"),
    "204": saying(b"", "204 No Content"),
    "304": saying(b"", "304 Not Modified"),
    "206": saying(GOOD, "206 Partial Content"),
    "gzip": saying(GOOD, "200 OK", "Content-Encoding: gzip"),
    "a body over the limit": saying(GOOD + b" " * BODY_BYTES),
    "a body over the limit, in chunks": raw(CHUNKED, *(b"10000\r\n" + b" " * 65536 + b"\r\n" for _ in range(17))),
    "a body cut off": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + GOOD),
    "not HTTP": raw(b"\x15\x03\x01\x00\x02\x02P"),
    "nothing": raw(b""),
    "endless headers": raw(b"HTTP/1.1 200 OK\r\n", *(b"X-Y: " + b"z" * 8000 + b"\r\n" for _ in range(200))),
    "HTML": saying(b"<html>Sign in</html>"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_a_bad_answer_is_a_failed_load(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with loading(BAD_ANSWERS[name]) as (issuer, keys):
        with pytest.raises(IssuerUnavailable):
            await keys.find(KID)
        assert len(issuer.requests) == 1
    [record] = [record for record in caplog.records if record.name == "keepsay.server.auth"]
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)


async def test_a_document_at_the_limit_is_read() -> None:
    body = GOOD + b" " * (BODY_BYTES - len(GOOD))
    async with loading(saying(body)) as (_issuer, keys):
        assert await keys.find(KID) is not None


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
async def test_redirects_are_not_followed(status: str) -> None:
    async with http_issuer(saying(GOOD)) as target:
        async with loading(saying(b"", f"{status} Moved", f"Location: {target.url}")) as (_issuer, keys):
            with pytest.raises(IssuerUnavailable):
                await keys.find(KID)
        assert target.requests == []


@pytest.mark.parametrize(
    "answer",
    [silent, raw(CHUNKED, *[b"1\r\n \r\n"] * 500, pause=0.02), raw(*[b"H"] * 500, pause=0.02)],
    ids=["hangs", "drips", "drips its head"],
)
async def test_a_slow_issuer_is_given_up_on_in_time(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks_module, "LOAD_SECONDS", 0.3)
    loop = asyncio.get_running_loop()
    async with loading(answer) as (_issuer, keys):
        began = loop.time()
        with pytest.raises(IssuerUnavailable):
            await keys.find(KID)
        assert 0.25 < loop.time() - began < 2.0


async def test_an_issuer_that_nobody_runs_is_down() -> None:
    async with http_issuer(saying(GOOD)) as issuer:
        pass
    with pytest.raises(IssuerUnavailable):
        await keys_of(JwksEndpoint(issuer.url), Clock()).find(KID)


async def test_an_issuer_on_this_machine_is_not_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_issuer(saying(document(jwk(rsa_key(2048, 1), "forged")))) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with loading(saying(GOOD)) as (_issuer, keys):
            assert await keys.find("forged") is None
        assert proxy.requests == []


async def test_an_issuer_proves_itself_by_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    async with http_issuer(saying(GOOD), tls) as issuer:
        with pytest.raises(IssuerUnavailable):
            await keys_of(JwksEndpoint(issuer.url), Clock()).find(KID)
        assert issuer.requests == [], "nothing was asked of a stranger"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert await keys_of(JwksEndpoint(issuer.url), Clock()).find(KID) is not None
        named = JwksEndpoint(issuer.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(IssuerUnavailable):
            await keys_of(named, Clock()).find(KID)


@pytest.mark.parametrize(
    "url", ["https://issuer.example/jwks", "http://127.0.0.1:1/x", "http://[::1]/", "http://localhost/x"]
)
def test_urls_that_nobody_can_forge_are_taken(url: str) -> None:
    JwksEndpoint(url)


@pytest.mark.parametrize(
    "url",
    ["http://issuer.example/jwks", "http://10.0.0.1/", "http://127.0.0.1.evil.example/", "http://localhost.evil/",
     "ftp://127.0.0.1/", "file:///etc/passwd", "https://", "https://u:p@issuer.example/", "issuer.example/jwks", "",
     "https://[::1", "https://issuer.example:port/", "//issuer.example/"],
)  # fmt: skip
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="KEEPSAY_JWKS_URL"):
        JwksEndpoint(url)


# The event loop.


FLOOD = 5_000


async def _flood(auth: JwtAuth, tokens: list[str]) -> None:
    """5,000 requests, some in each turn of the loop, as a server gets them."""
    async with asyncio.TaskGroup() as group:
        for number in range(FLOOD):
            group.create_task(_asked(auth, tokens[number % len(tokens)]))
            if number % 4 == 0:
                await asyncio.sleep(0)


async def _asked(auth: JwtAuth, token: str) -> None:
    with_unknown_key = await asyncio.gather(auth.identify(bearing(token)), return_exceptions=True)
    assert isinstance(with_unknown_key[0], Exception)


async def _stall_of_floods(attempts: int) -> float:
    """5,000 unknown kids against an issuer that hangs; each flood comes when a load may begin again."""
    tokens = [Maker().headed(kid=f"made up {number}") for number in range(50)]
    async with http_issuer(silent) as issuer:
        clock = Clock()
        auth = JwtAuth(rules(), Jwks(JwksEndpoint(issuer.url), RS256, monotonic=clock))

        async def flood() -> None:
            clock.now += 30
            await _flood(auth, tokens)

        stall = await longest_stall(flood, attempts)
        assert len(issuer.requests) == attempts, "one load for each flood"
    return stall


async def test_a_flood_against_a_hanging_issuer_does_not_stall_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """All 5,000 wait for one load, which fails; they are told so a few at a time."""
    monkeypatch.setattr(jwks_module, "LOAD_SECONDS", 1.5)
    stall = await _stall_of_floods(attempts=3)
    logger.info("longest stall under the flood: %.2f ms", stall * 1000)
    assert stall < LIMIT


async def test_the_control_does_stall_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measure sees what it is there for: waking all at once takes the loop from everybody else."""
    monkeypatch.setattr(jwks_module, "LOAD_SECONDS", 1.5)
    monkeypatch.setattr(jwks_module, "WOKEN_AT_ONCE", FLOOD)
    assert await _stall_of_floods(attempts=1) > LIMIT


def test_the_first_load_of_a_process_does_not_stall_the_loop() -> None:
    """Nothing is left to be imported by then: that took 20 ms."""
    stall = next((found for _ in range(3) if (found := _first_load()) < LIMIT), None)
    assert stall is not None, "late each time"
    logger.info("longest stall by a first load: %.2f ms", stall * 1000)


def _first_load() -> float:
    tests = Path(__file__).parents[2]
    program = [sys.executable, "-m", "server.auth.first_load"]
    return float(subprocess.run(program, cwd=tests, check=True, capture_output=True, timeout=60).stdout)


WORST_DOCUMENTS = {
    "100 keys": document(*(jwk(rsa_key(4096), f"k{number}", x5c=["A" * 1_300] * 3) for number in range(KEYS_MAX))),
    "100 private keys": document(*(PRIVATE for _ in range(KEYS_MAX))),
    "100 keys of curves": document(*(jwk(ec_key(ec.SECP521R1), f"k{number}") for number in range(KEYS_MAX))),
    "objects": b'{"keys": [], "x": [' + b",".join([b"{}"] * (MARKS_MAX // 2 - 4)) + b"]}",
    "members": b'{"keys": [], "x": {' + b",".join(b'"%d":0' % n for n in range(MARKS_MAX - 5)) + b"}}",
    "a long text": b'{"keys": [], "x": "' + b"x" * (BODY_BYTES - 30) + b'"}',
    "escapes": b'{"keys": [], "x": "' + b"\\u0041" * 85_000 + b'"}',
    "blanks": GOOD + b" " * (BODY_BYTES - len(GOOD)),
}


async def test_the_worst_document_of_keys_is_read_whole() -> None:
    assert len((await read_key_set(WORST_DOCUMENTS["100 keys"], RS256)).keys) == KEYS_MAX


@pytest.mark.parametrize("name", WORST_DOCUMENTS)
async def test_no_step_of_reading_a_document_takes_5_milliseconds(name: str) -> None:
    assert len(WORST_DOCUMENTS[name]) <= BODY_BYTES
    longest = []
    for _ in range(20):
        reading = Timed(read_key_set(WORST_DOCUMENTS[name], RS256 | {"ES512"}))
        await reading
        longest.append(reading.longest)
    logger.info("longest step, %s: %.2f ms", name, min(longest) * 1000)
    assert min(longest) < LIMIT


@pytest.mark.parametrize("name", ["RS256", "PS512 of 4,096 bits", "ES512", "8 KB", "8 KB of header"])
async def test_no_step_of_judging_a_token_takes_5_milliseconds(name: str) -> None:
    maker, token = _costly(name)
    alg = frozenset({maker.alg})

    async def fetch() -> bytes:
        return document(jwk(maker.key))

    auth = JwtAuth(rules(*alg), Jwks(fetch, alg))
    longest = []
    for _ in range(20):
        judging = Timed(auth.identify(bearing(token)))
        assert (await judging).user_id == "ada"
        longest.append(judging.longest)
    logger.info("longest step, %s: %.2f ms", name, min(longest) * 1000)
    assert min(longest) < LIMIT


def _costly(name: str) -> tuple[Maker, str]:
    if name == "ES512":
        maker = Maker(ec_key(ec.SECP521R1), "ES512")
        return maker, maker.token()
    if name.startswith("PS512"):
        maker = Maker(rsa_key(4096), "PS512")
        return maker, maker.token()
    if name == "8 KB":
        return Maker(), Maker().claiming(x=[{}] * 1_300)
    if name == "8 KB of header":
        return Maker(), Maker().headed(x=[{}] * 1_300)
    return Maker(), Maker().token()
