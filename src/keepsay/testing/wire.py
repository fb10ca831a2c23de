"""Counts network round trips between a client and Postgres, on the level of its protocol.

    async with CountingProxy(dsn) as wire:
        pool = await open_pool(wire.dsn)
        ...
        wire.round_trips = 0
        await one_call(pool)
        assert wire.round_trips == 1

A round trip is a flight of messages that ends with a demand for an answer (``Sync``, ``Flush`` or a simple ``Query``)
while no earlier demand is unanswered: a client that waits for an answer before it goes on pays one more. Login is not
counted, but ``connections`` is. TLS would hide the messages: the proxy refuses it, as a server without TLS does.
While ``silent`` is true, answers vanish and connections stay open, as when a network path breaks.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import socket
import struct
from typing import Self

from keepsay.store.postgres.dsn import Dsn

__all__ = ["CountingProxy", "free_port"]

_TLS_REQUESTS = frozenset({80877103, 80877104})
_FLUSHED = b"TnCEsI"
"""What ends the answer to ``Flush``: the last message of a Describe or an Execute, or an error."""
_ANSWERED_BY = {b"S": b"Z", b"Q": b"Z", b"F": b"Z", b"H": _FLUSHED}
_PORTS = range(20000, 32000)
"""Below the ephemeral range: a client that hammers a closed port there may connect to itself and keep it."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, below 32768."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError(f"no free port in {_PORTS}")


class CountingProxy:
    """A Postgres on 127.0.0.1 that passes everything on to ``server``, and counts. Use it with ``async with``."""

    def __init__(self, server: Dsn) -> None:
        self._server = server
        self._port = free_port()
        self._sessions: set[asyncio.Task[None]] = set()
        self.round_trips = 0
        self.connections = 0
        self.silent = False

    @property
    def dsn(self) -> Dsn:
        """Where clients connect, as the same user and to the same database."""
        return dataclasses.replace(self._server, host="127.0.0.1", port=self._port, tls="off")

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._listener.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await self._listener.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.create_task(_Session(self, reader, writer).relay(self._server))
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)


class _Session:
    """One client's connection and the server's, joined."""

    def __init__(self, proxy: CountingProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy, self._reader, self._writer = proxy, reader, writer
        self._awaited = b""

    async def relay(self, server: Dsn) -> None:
        """Pass messages on in both directions until one side closes; then close both."""
        writers = [self._writer]
        try:
            login = await self._login()
            from_server, to_server = await _connect(server)
            writers.append(to_server)
            to_server.write(login)
            await asyncio.gather(self._upward(to_server), self._downward(from_server))
        except (OSError, asyncio.IncompleteReadError):
            pass  # a side has gone, as connections do: closing the other tells it so
        finally:
            for writer in writers:
                writer.transport.abort()

    async def _login(self) -> bytes:
        """The client's first message, which has no type. TLS is refused as a server without it does."""
        while True:
            head = await self._reader.readexactly(8)
            length, code = struct.unpack("!ii", head)
            if code not in _TLS_REQUESTS:
                self._proxy.connections += 1
                return head + await self._reader.readexactly(length - 8)
            self._writer.write(b"N")

    async def _upward(self, to_server: asyncio.StreamWriter) -> None:
        while True:
            kind, message = await _message(self._reader)
            if kind in _ANSWERED_BY:
                self._proxy.round_trips += not self._awaited
                self._awaited = _ANSWERED_BY[kind]
            to_server.write(message)
            await to_server.drain()

    async def _downward(self, from_server: asyncio.StreamReader) -> None:
        while True:
            kind, message = await _message(from_server)
            if kind in self._awaited:
                self._awaited = b""
            if not self._proxy.silent:
                self._writer.write(message)
                await self._writer.drain()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The next message's type, and all of its bytes."""
    head = await reader.readexactly(5)
    (length,) = struct.unpack("!i", head[1:])
    return head[:1], head + await reader.readexactly(length - 4)


async def _connect(server: Dsn) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host = server.host or "localhost"
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{server.port}")
    return await asyncio.open_connection(host, server.port)
