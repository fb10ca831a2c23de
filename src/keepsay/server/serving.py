"""``serve``: run the app until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Iterator

import uvicorn

from keepsay.errors import ConfigurationError
from keepsay.library.client import Keepsay
from keepsay.server.agents import Agent
from keepsay.server.app import assemble
from keepsay.server.auth import check_bind
from keepsay.server.settings import Settings

__all__ = ["serve"]

_HINT = """
keepsay is listening on {url}   agent: {agent}   docs: {url}/docs

Try:
  curl {url}/api/ada/chat -H 'Content-Type: application/json' -d '{{"message": "Hello"}}'
  curl {url}/api/session -H 'Content-Type: application/json' -d '{{"user_id": "ada", "context": "Hello"}}'
  curl {url}/api/conversations -H 'X-Keepsay-User: ada'

"""


def serve(settings: Settings | None = None, *, keepsay: Keepsay | None = None, agent: Agent | None = None) -> None:
    """Run the server until SIGINT or SIGTERM, then let answers under way finish (``settings.shutdown_seconds``).

    Once it listens it prints what to try. ``keepsay`` is closed in the end. Raises ``ConfigurationError`` for settings
    that cannot be, such as auth ``dev`` on an address that others reach, and for a port that is taken.
    """
    settings = Settings.from_environment() if settings is None else settings
    check_bind(settings.host, settings.auth)
    app = assemble(Keepsay() if keepsay is None else keepsay, agent, settings, closes_keepsay=True)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    with _listening(config) as listener, _stops_in_order():
        _Server(config, settings.agent if agent is None else getattr(agent, "__name__", "your own")).run([listener])


class _Server(uvicorn.Server):
    """uvicorn's, which says what to try once it listens."""

    def __init__(self, config: uvicorn.Config, agent: str) -> None:
        super().__init__(config)
        self._agent = agent

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        host, port = sockets[0].getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        sys.stdout.write(_HINT.format(url=url, agent=self._agent))
        sys.stdout.flush()


def _listening(config: uvicorn.Config) -> socket.socket:
    """Bound here, not by uvicorn, which would end the program with a message of its own."""
    with contextlib.ExitStack() as on_failure:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[
                0
            ]
            listener = on_failure.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError as error:
            raise ConfigurationError(f"Cannot listen on {config.host}:{config.port}: {error.strerror}.") from error
        on_failure.pop_all()
        return listener


@contextlib.contextmanager
def _stops_in_order() -> Iterator[None]:
    """uvicorn sends itself the signal again once it has stopped; told to stop and stopped is no failure."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
