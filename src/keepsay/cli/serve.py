"""``keepsay serve``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from keepsay.cli.exits import ending
from keepsay.cli.place import Place, on_database
from keepsay.errors import ConfigurationError

__all__ = ["serve"]

# The defaults and what is allowed are the business of Settings; the defaults here are shown only.
Host = Annotated[
    str | None,
    typer.Option(envvar="KEEPSAY_HOST", metavar="ADDRESS", show_default="127.0.0.1", help="The address to listen on."),
]
Port = Annotated[
    str | None,
    typer.Option(envvar="KEEPSAY_PORT", metavar="N", show_default="8080", help="The port; 0 is any free one."),
]
AgentName = Annotated[
    str | None,
    typer.Option(
        envvar="KEEPSAY_AGENT",
        metavar="NAME",
        show_default="echo",
        help="What answers: echo, openai (KEEPSAY_AGENT_MODEL and others say which), or your own as module:callable.",
    ),
]
Auth = Annotated[
    str | None,
    typer.Option(
        envvar="KEEPSAY_AUTH",
        metavar="NAME",
        show_default="dev",
        help="How users are known. dev believes whoever asks, and so listens on this machine alone.",
    ),
]
LogLevel = Annotated[
    str | None,
    typer.Option(
        envvar="KEEPSAY_LOG_LEVEL",
        metavar="LEVEL",
        show_default="info",
        help="How much to log. debug also logs what errors say, which may be what users said.",
    ),
]
LogFormat = Annotated[
    str | None,
    typer.Option(
        envvar="KEEPSAY_LOG_FORMAT",
        metavar="FORMAT",
        show_default="auto",
        help="json, text, or auto: text on a terminal, JSON lines elsewhere.",
    ),
]
ShutdownSeconds = Annotated[
    str | None,
    typer.Option(
        envvar="KEEPSAY_SHUTDOWN_SECONDS",
        metavar="N",
        show_default="30",
        help="How long answers under way may take when the server is told to stop.",
    ),
]
Workers = Annotated[
    str | None,
    typer.Option(
        envvar="KEEPSAY_WORKERS",
        metavar="N",
        show_default="1",
        help="In how many processes to answer, each with connections of its own.",
    ),
]
RunsPerMinute = Annotated[
    str | None,
    typer.Option(
        envvar="KEEPSAY_RUNS_PER_MINUTE",
        metavar="N",
        show_default="no limit",
        help="How often a user may ask the agent.",
    ),
]
RunsBurst = Annotated[
    str | None,
    typer.Option(
        envvar="KEEPSAY_RUNS_BURST",
        metavar="N",
        show_default="as many as in a minute",
        help="How often at once, after a pause.",
    ),
]
RunsPerDay = Annotated[
    str | None,
    typer.Option(
        envvar="KEEPSAY_RUNS_PER_DAY", metavar="N", show_default="no limit", help="How often on one day of UTC."
    ),
]
_EXTRA = {"fastapi", "opentelemetry", "prometheus_client", "pydantic", "pythonjsonlogger", "starlette", "uvicorn"}

PoolSize = Annotated[
    int, typer.Option(envvar="KEEPSAY_POOL_SIZE", metavar="N", min=1, help="The most database connections.")
]


@on_database()
def serve(
    place: Place,
    *,
    host: Host = None,
    port: Port = None,
    agent: AgentName = None,
    auth: Auth = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    shutdown_seconds: ShutdownSeconds = None,
    workers: Workers = None,
    runs_per_minute: RunsPerMinute = None,
    runs_burst: RunsBurst = None,
    runs_per_day: RunsPerDay = None,
    pool_size: PoolSize = 10,
) -> None:
    """Serve conversations over HTTP.

    Without a DATABASE_URL on a Postgres of its own, which keeps its data. Prints what to try once it listens; stops on
    Ctrl-C or SIGTERM, after the answers that are under way. Nothing is kept in memory: run several, here (--workers) or
    on several machines, for more throughput.
    """
    settings = {
        "KEEPSAY_HOST": host,
        "KEEPSAY_PORT": port,
        "KEEPSAY_AGENT": agent,
        "KEEPSAY_AUTH": auth,
        "KEEPSAY_LOG_LEVEL": log_level,
        "KEEPSAY_LOG_FORMAT": log_format,
        "KEEPSAY_SHUTDOWN_SECONDS": shutdown_seconds,
        "KEEPSAY_WORKERS": workers,
        "KEEPSAY_RUNS_PER_MINUTE": runs_per_minute,
        "KEEPSAY_RUNS_BURST": runs_burst,
        "KEEPSAY_RUNS_PER_DAY": runs_per_day,
    }
    with ending():
        _serve(place, {name: text for name, text in settings.items() if text is not None}, pool_size)


def _serve(place: Place, given: dict[str, str], pool_size: int) -> None:
    try:
        from keepsay import server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise ConfigurationError("The server needs an extra: pip install 'keepsay[server]'") from error
    settings = server.Settings.from_environment(os.environ | given)
    if settings.workers == 1:
        server.serve(settings, keepsay=place.open(pool_size=pool_size))
        return
    os.environ.update(given | place.environment(pool_size=pool_size))  # where the workers find it
    server.serve()
