"""``serve``: run the app until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging.config
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from functools import partial

from keepsay.errors import ConfigurationError
from keepsay.library.client import Keepsay
from keepsay.server.agents import Agent
from keepsay.server.app import assemble
from keepsay.server.auth import check_bind
from keepsay.server.http_server import HttpServer
from keepsay.server.observe.logs import logging_config
from keepsay.server.observe.metrics import added_up
from keepsay.server.settings import Settings
from keepsay.server.workers import Workers, say_listening

__all__ = ["serve", "serve_as_worker"]

_HINT = """
keepsay is listening on {url}   agent: {agent}   docs: {url}/docs

Try:
  curl {url}/api/ada/chat -H 'Content-Type: application/json' -d '{{"message": "Hello"}}'
  curl {url}/api/session -H 'Content-Type: application/json' -d '{{"user_id": "ada", "context": "Hello"}}'
  curl {url}/api/conversations -H 'X-Keepsay-User: ada'

"""


def serve(settings: Settings | None = None, *, keepsay: Keepsay | None = None, agent: Agent | None = None) -> None:
    """Run the server until SIGINT or SIGTERM, then let answers under way finish (``settings.shutdown_seconds``).

    Once it listens it prints what to try. ``keepsay`` is closed in the end. With ``KEEPSAY_WORKERS`` over 1 it runs in
    so many processes, which take everything from the environment. Raises ``ConfigurationError`` for settings that
    cannot be, such as auth ``dev`` on an address that others reach, and for a port that is taken.
    """
    has_own = settings is not None or keepsay is not None or agent is not None
    settings = Settings.from_environment() if settings is None else settings
    check_bind(settings.host, settings.auth)
    if settings.workers > 1:
        _serve_in_workers(settings, has_own=has_own)
        return
    app = assemble(Keepsay() if keepsay is None else keepsay, agent, settings, closes_keepsay=True)
    shown = settings.agent if agent is None else getattr(agent, "__name__", "your own")
    with _listening(settings.host, settings.port) as listener, _stops_in_order():
        HttpServer(app, settings, partial(_say_what_to_try, listener, shown)).run([listener])


def _serve_in_workers(settings: Settings, *, has_own: bool) -> None:
    if has_own:
        raise ConfigurationError(
            "Several workers take everything from the environment: call serve() without arguments."
        )
    assemble(Keepsay(), None, settings, closes_keepsay=True)  # it connects to nothing; what is wrong is said here, once
    logging.config.dictConfig(logging_config(settings.log_level, settings.log_format))
    with _listening(settings.host, settings.port) as listener, added_up():
        announce = partial(_say_what_to_try, listener, settings.agent)
        asyncio.run(Workers(listener, settings.workers, announce, patience=settings.shutdown_seconds + 10.0).run())


def serve_as_worker(listener: socket.socket, lifeline: socket.socket) -> None:
    """Be one of several workers: as ``serve``, on a socket that they share; also stops when ``lifeline`` is closed."""
    settings = Settings.from_environment()
    app = assemble(Keepsay(), None, settings, closes_keepsay=True)
    with _stops_in_order():
        HttpServer(app, settings, partial(say_listening, lifeline), lifeline=lifeline).run([listener])


def _say_what_to_try(listener: socket.socket, agent: str) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    sys.stdout.write(_HINT.format(url=url, agent=agent))
    sys.stdout.flush()


def _listening(host: str, port: int) -> socket.socket:
    """Bound here, not by uvicorn, which would end the program with a message of its own."""
    with contextlib.ExitStack() as on_failure:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = on_failure.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError as error:
            raise ConfigurationError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
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
