"""The HTTP server: ``create_app`` for your own ASGI server, ``serve`` to run it here. Extra ``server``."""

from keepsay.server.agents import Agent, AgentContext, echo
from keepsay.server.app import create_app
from keepsay.server.serving import serve
from keepsay.server.settings import Settings, load_env_file

__all__ = ["Agent", "AgentContext", "Settings", "create_app", "echo", "load_env_file", "serve"]
