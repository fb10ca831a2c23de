"""The ``.env`` file: settings that hold where the environment has none."""

from __future__ import annotations

import os
from pathlib import Path

from keepsay.errors import ConfigurationError

__all__ = ["load_env_file"]


def load_env_file(path: Path = Path(".env")) -> None:
    """Put the variables of a ``.env`` file, if it is there, into the environment; what is set already stays.

    Lines are ``NAME=value``, with ``export`` before and quotes around the value allowed; ``#`` starts a comment line.
    Raises ``ConfigurationError`` for another line and for a file that cannot be read.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from error
    for number, line in enumerate(lines, 1):
        name, found, value = line.strip().removeprefix("export ").partition("=")
        if not name.strip() or name.startswith("#"):
            continue
        if not found:
            raise ConfigurationError(f"{path}, line {number}: expected NAME=value.")
        os.environ.setdefault(name.strip(), _unquoted(value.strip()))


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
