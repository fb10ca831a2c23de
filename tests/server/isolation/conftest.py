"""A world for each way to know users."""

from __future__ import annotations

import pytest

from keepsay import Keepsay
from keepsay.server.settings import AuthName

from .world import AUTHS, World, make_world


@pytest.fixture(scope="session", params=AUTHS)
async def world(request: pytest.FixtureRequest, keepsay: Keepsay) -> World:
    auth: AuthName = request.param
    return await make_world(keepsay, auth)
