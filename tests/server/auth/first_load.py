"""A program: the first load of keys in a new process. It says by how many seconds that kept the event loop."""

from __future__ import annotations

import asyncio
import sys

from keepsay.server.auth.issuer import JwksEndpoint

from .http_issuer import http_issuer, saying
from .stalls import longest_stall


async def first_load() -> float:
    async with http_issuer(saying(b"{}")) as issuer:
        return await longest_stall(JwksEndpoint(issuer.url), attempts=1)


if __name__ == "__main__":
    sys.stdout.write(str(asyncio.run(first_load())))
