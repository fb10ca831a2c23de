"""The ways to know users through the whole server: what a client sees, and what it cannot reach."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from keepsay import Keepsay
from keepsay.server import Settings, create_app
from keepsay.server.settings import JwtSettings

from ..client import Answer, Client, new_user
from .attacks import ATTACKS
from .http_issuer import http_issuer, saying
from .tokens import AUDIENCE, ISSUER, Maker, claims, jwk, pem, rsa_key

KEY = "k" * 32
OPERATOR_KEY = "o" * 32
ELSEWHERE = ("203.0.113.9", 4711)
"""These ways ask for proof, so they answer other machines too."""


def by_key(keepsay: Keepsay, **settings: Any) -> Client:
    """An app that verifies with one key; the client sends what it is given."""
    said = JwtSettings(ISSUER, AUDIENCE, key=SecretStr(pem(rsa_key())))
    app = create_app(keepsay, settings=Settings(auth="jwt", jwt=said, **settings))
    return Client(app, None, client=ELSEWHERE)


def token_of(user: str, **more: object) -> dict[str, str]:
    return {"Authorization": f"Bearer {Maker().claiming(sub=user, **more)}"}


async def send(app: FastAPI, headers: list[tuple[bytes, bytes]]) -> Answer:
    """A write with exactly these headers."""
    transport = httpx.ASGITransport(app, client=ELSEWHERE)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as http:
        always = [(b"content-type", b"application/json")]
        answer = await http.post("/api/conversations", content=b"{}", headers=always + headers)
    return Answer(answer.status_code, answer.headers, answer.content)


async def test_every_attack_gets_the_same_401_and_writes_nothing(keepsay: Keepsay) -> None:
    async with http_issuer(saying(json.dumps({"keys": [jwk(rsa_key())]}).encode())) as issuer:
        app = create_app(keepsay, settings=Settings(auth="jwt", jwt=JwtSettings(ISSUER, AUDIENCE, issuer.url)))
        bodies = set()
        for attack, make in ATTACKS.items():
            sent = [(b"authorization", text.encode("latin-1")) for text in make(Maker())]
            answer = await send(app, sent)
            assert (answer.status, answer.code) == (401, "unauthenticated"), attack
            assert answer.headers["www-authenticate"] == "Bearer"
            bodies.add(answer.content)
        assert len(bodies) == 1
        control = await send(app, [(b"authorization", f"Bearer {Maker().token()}".encode())])
        assert control.status == 201
        assert len(issuer.requests) == 1


async def test_the_token_says_who_asks_and_nothing_else_does(keepsay: Keepsay) -> None:
    client, ada, bob = by_key(keepsay), new_user(), new_user()
    spoofed = token_of(ada) | {"X-Keepsay-User": bob}
    made = await client.post("/api/conversations", {}, headers=spoofed)
    assert (made.status, made.json["user_id"]) == (201, ada)
    theirs = await client.get(f"/api/conversations/{made.json['id']}", headers=token_of(bob))
    nobodys = await client.get(f"/api/conversations/{'0198c1f4-7d6e-7a51-9b0e-3f2f6c1d8a44'}", headers=token_of(bob))
    assert (theirs.status, theirs.content) == (404, nobodys.content)
    assert (await client.get("/api/conversations", headers={"X-Keepsay-User": ada})).status == 401


async def test_another_user_in_the_path_or_body_is_a_404(keepsay: Keepsay) -> None:
    client, ada, bob = by_key(keepsay), new_user(), new_user()
    assert (await client.post(f"/api/{ada}/chat", {"message": "Hi"}, headers=token_of(ada))).status == 200
    for path, body in ((f"/api/{bob}/chat", {"message": "Hi"}), ("/api/session", {"user_id": bob, "context": "Hi"})):
        answer = await client.post(path, body, headers=token_of(ada))
        assert (answer.status, answer.code) == (404, "not_found")


async def test_an_issuer_that_is_down_at_the_start_is_a_503(keepsay: Keepsay) -> None:
    async with http_issuer(saying(b"", "500 Oops")) as issuer:
        app = create_app(keepsay, settings=Settings(auth="jwt", jwt=JwtSettings(ISSUER, AUDIENCE, issuer.url)))
        answer = await send(app, [(b"authorization", f"Bearer {Maker().token()}".encode())])
    assert (answer.status, answer.code, answer.json["outcome"]) == (503, "issuer_unavailable", "not_applied")
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_ask_nobody_who_they_are(keepsay: Keepsay, path: str) -> None:
    assert (await by_key(keepsay).get(path)).status == 200


async def test_a_refused_body_is_not_read(keepsay: Keepsay) -> None:
    answer = await by_key(keepsay).post("/api/conversations", raw=b"{", headers={"Content-Type": "text/plain"})
    assert (answer.status, answer.code) in {(401, "unauthenticated"), (415, "not_json")}


async def test_a_token_that_ends_meanwhile_no_longer_counts(keepsay: Keepsay) -> None:
    client = by_key(keepsay)
    now = int(time.time())
    dying = Maker().token(payload=claims(sub=new_user(), iat=now - 100, exp=now - 28))
    headers = {"Authorization": f"Bearer {dying}"}
    assert (await client.get("/api/conversations", headers=headers)).status == 200
    time.sleep(max(0.0, now + 2.1 - time.time()))  # noqa: ASYNC251 - nothing else runs, and httpx has no clock to move
    assert (await client.get("/api/conversations", headers=headers)).status == 401


def service(keepsay: Keepsay) -> Client:
    settings = Settings(
        auth="service",
        service_keys=(SecretStr(KEY),),
        operators=True,
        operator_keys=(SecretStr(OPERATOR_KEY),),
    )
    return Client(create_app(keepsay, settings=settings), None, client=ELSEWHERE)


async def test_a_backend_acts_for_the_user_whom_it_names(keepsay: Keepsay) -> None:
    client, ada = service(keepsay), new_user()
    key = {"Authorization": f"Bearer {KEY}"}
    made = await client.post("/api/conversations", {}, headers=key | {"X-Keepsay-User": ada})
    assert (made.status, made.json["user_id"]) == (201, ada)
    by_path = await client.post(f"/api/{ada}/chat", {"message": "Hi"}, headers=key)
    assert by_path.status == 200
    other = await client.post(f"/api/{new_user()}/chat", {"message": "Hi"}, headers=key | {"X-Keepsay-User": ada})
    assert (other.status, other.code) == (404, "not_found")
    nobody = await client.get("/api/conversations", headers=key)
    assert (nobody.status, nobody.code) == (401, "unauthenticated")


async def test_a_wrong_key_and_none_look_the_same(keepsay: Keepsay) -> None:
    client, ada = service(keepsay), new_user()
    bodies = {
        (await client.post("/api/conversations", {}, headers={"X-Keepsay-User": ada, "Authorization": text})).content
        for text in ("", f"Bearer {KEY}x", f"Basic {KEY}", KEY)
    }
    assert len(bodies) == 1
    assert json.loads(bodies.pop())["status"] == 401


async def test_a_key_in_the_query_is_nobodys(keepsay: Keepsay) -> None:
    """RFC 6750, section 2.3: what stands in a URL stands in logs."""
    answer = await service(keepsay).get(f"/api/conversations?access_token={KEY}", headers={"X-Keepsay-User": "ada"})
    assert answer.status == 401
