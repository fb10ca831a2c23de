"""The HTTP server: ``serve`` runs it, ``create_app`` is the app, ``conversation_router`` its routes for your own app.

Extra ``server``.
"""

from keepsay.server.agents import Agent, AgentContext, echo
from keepsay.server.app import create_app
from keepsay.server.auth import Identity, authenticator
from keepsay.server.mount import conversation_router
from keepsay.server.serving import serve
from keepsay.server.settings import JwtSettings, Settings, load_env_file

__all__ = [
    "Agent",
    "AgentContext",
    "Identity",
    "JwtSettings",
    "Settings",
    "authenticator",
    "conversation_router",
    "create_app",
    "echo",
    "load_env_file",
    "serve",
]
