"""A small issuer of tokens, as your company's login or Auth0, Keycloak and the like are: for trying things out.

Its key is made anew at each start, and its two users' passwords stand below: no example for how to keep either.
"""

from __future__ import annotations

import os
import secrets
import time
from typing import Annotated

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import Body, FastAPI, HTTPException

ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8090")
PASSWORDS = {"ada": "lovelace", "eve": "moneypenny"}
KEY_ID = secrets.token_hex(8)
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)

app = FastAPI(title="Issuer")


@app.get("/.well-known/jwks.json")
def keys() -> dict[str, list[dict[str, str]]]:
    """The public half of the key, for those who check tokens."""
    public = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    return {"keys": [{"kty": "RSA", "n": public["n"], "e": public["e"], "kid": KEY_ID, "use": "sig", "alg": "RS256"}]}


@app.post("/token")
def token(user: Annotated[str, Body()], password: Annotated[str, Body()]) -> dict[str, str]:
    """A token for ten minutes."""
    if not secrets.compare_digest(PASSWORDS.get(user, "").encode(), password.encode()) or user not in PASSWORDS:
        raise HTTPException(401, "Wrong user or password.")
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "shop", "sub": user, "iat": now, "exp": now + 600}
    return {"access_token": jwt.encode(claims, KEY, algorithm="RS256", headers={"kid": KEY_ID}), "token_type": "bearer"}
