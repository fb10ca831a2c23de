"""Your own application, with keepsay's conversations in it: your users, your prefix, your lifespan, your database."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI

from keepsay import Keepsay
from keepsay.server import Identity, JwtSettings, Settings, authenticator, conversation_router

ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8090")

tokens = authenticator(
    Settings(auth="jwt", jwt=JwtSettings(issuer=ISSUER, audience="shop", jwks_url=f"{ISSUER}/.well-known/jwks.json"))
)
conversations = Keepsay()  # DATABASE_URL, or a Postgres of its own; connects when it is first used


async def current_user(identity: Annotated[Identity, Depends(tokens.identify)]) -> str:
    """Any dependency will do that returns the id of the user who asks. With a tenant in it, tenants are apart too."""
    return f"shop:{identity.user_id}"


async def answer(messages: list[dict[str, object]]) -> str:
    """Your agent. It gets the messages of OpenAI Chat Completions."""
    return f"We have tea. (You said: {messages[-1]['content']})"


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await tokens.aclose()
    await conversations.close()


app = FastAPI(title="Shop", lifespan=lifespan)
app.include_router(conversation_router(conversations, current_user, agent=answer), prefix="/assistant")


@app.get("/articles")
def articles() -> list[str]:
    """What the application did before."""
    return ["tea", "kettle"]
