# ruff: noqa: T201 - standard output is how it talks to the tests
"""A program that uses the embedded Postgres; the tests start several of these, and kill some.

Arguments: an account to become, or "-"; then JSON, the arguments of EmbeddedPostgres. It prints one line of JSON when
the server runs (or could not), and leaves in order when its standard input ends.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from pathlib import Path

from keepsay.embedded import EmbeddedPostgres
from keepsay.errors import KeepsayError


def become(name: str) -> None:
    """In here, after the imports: the interpreter itself may lie where this account cannot read."""
    account = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def main() -> None:
    if sys.argv[1] != "-":
        become(sys.argv[1])
    arguments = json.loads(sys.argv[2])
    home = Path(arguments.pop("home"))
    try:
        with EmbeddedPostgres(home, **arguments) as server:
            print(json.dumps({"dsn": server.dsn}), flush=True)
            sys.stdin.read()
    except KeepsayError as error:
        print(json.dumps({"code": error.code, "message": error.message}), flush=True)


if __name__ == "__main__":
    main()
