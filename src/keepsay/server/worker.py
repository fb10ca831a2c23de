"""A worker's program: ``python -m keepsay.server.worker LISTENER LIFELINE``; both are numbers of open sockets."""

from __future__ import annotations

import os
import socket
import sys

from keepsay.server.serving import serve_as_worker

__all__ = ["main"]


def main() -> None:
    """Serve until told to stop."""
    listener, lifeline = (_taken(int(number)) for number in sys.argv[1:3])
    with listener, lifeline:
        serve_as_worker(listener, lifeline)


def _taken(number: int) -> socket.socket:
    os.set_inheritable(number, False)  # the embedded Postgres would keep it open
    return socket.socket(fileno=number)


if __name__ == "__main__":
    main()
