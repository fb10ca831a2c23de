"""Reads a Postgres URL as people have it: libpq's, SQLAlchemy's, and Neon's as it is printed.

The driver cannot take Neon's URL: it sends ``channel_binding`` to the server as a setting, and its ``sslmode=require``
does not check the certificate. Here a URL that asks for TLS gets a verified connection, host name included.
"""

from __future__ import annotations

import dataclasses
import ssl
from dataclasses import dataclass
from typing import Literal, TypedDict
from urllib.parse import parse_qsl, quote, unquote

from keepsay.errors import ConfigurationError

__all__ = ["ConnectArguments", "Dsn", "parse_dsn"]

Tls = Literal["off", "prefer", "verify"]

SCHEMES = ("postgres", "postgresql", "postgresql+asyncpg")
POOLER_SUFFIX = "-pooler"
NEON_DOMAIN = ".neon.tech"

_TLS_BY_MODE: dict[str, Tls] = {
    "disable": "off",
    "allow": "prefer",
    "prefer": "prefer",
    "require": "verify",
    "verify-ca": "verify",
    "verify-full": "verify",
}
_ALIASES = {"dbname": "database", "ssl": "sslmode"}
_KNOWN = frozenset({"host", "port", "user", "password", "database", "options", "application_name"}) | {
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding"),
}
_IGNORED = frozenset({"connect_timeout", "gssencmode", "keepalives", "keepalives_idle", "keepalives_interval"})
"""Settings of libpq itself; ``connect_timeout`` is an argument of ``open_pool``."""


class ConnectArguments(TypedDict):
    """Keyword arguments of ``asyncpg.connect`` and ``asyncpg.create_pool``. ``None`` leaves it to PG* and ~/.pgpass."""

    host: str | None
    port: int
    user: str | None
    password: str | None
    database: str | None
    ssl: ssl.SSLContext | Literal[False, "prefer"]
    server_settings: dict[str, str]


@dataclass(frozen=True, slots=True, repr=False)
class Dsn:
    """Where the database is and how to log in. Neither ``str`` nor ``repr`` shows the password."""

    host: str | None
    """A host name or address, or the folder of a unix socket; ``None``: the driver looks where libpq looks."""
    port: int = 5432
    user: str | None = None
    password: str | None = None
    database: str | None = None
    tls: Tls = "prefer"
    root_certificate: str | None = None
    """A file of trusted certificates; ``None`` or ``system``: those of the system."""
    client_certificate: tuple[str, str | None] | None = None
    """The files of the certificate and its key."""
    endpoint: str | None = None
    """Neon's endpoint id, when the host name does not name it."""
    application_name: str = "keepsay"

    @property
    def is_pooled(self) -> bool:
        """Whether the host is named as Neon names its pooler; other poolers look like servers, and are used as such."""
        host = self.host or ""
        return not host.startswith("/") and host.partition(".")[0].endswith(POOLER_SUFFIX)

    def direct(self) -> Dsn:
        """The same database without Neon's pooler, for migrations; any other DSN as it is."""
        if self.host is None or not self.is_pooled:
            return self
        name, dot, domain = self.host.partition(".")
        return dataclasses.replace(self, host=name.removesuffix(POOLER_SUFFIX) + dot + domain)

    def connect_arguments(self) -> ConnectArguments:
        """The arguments for the driver. Raises ``ConfigurationError`` when a certificate file cannot be read."""
        settings = {"application_name": self.application_name}
        if self.endpoint is not None:
            settings["options"] = f"endpoint={self.endpoint}"
        return ConnectArguments(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=self.database,
            ssl=self._verified_tls() if self.tls == "verify" else False if self.tls == "off" else "prefer",
            server_settings=settings,
        )

    def _verified_tls(self) -> ssl.SSLContext:
        roots = None if self.root_certificate == "system" else self.root_certificate
        try:
            context = ssl.create_default_context(cafile=roots)
            if self.client_certificate is not None:
                context.load_cert_chain(*self.client_certificate)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"A certificate file of the DSN cannot be used: {error}.") from error
        return context

    def redacted(self) -> str:
        """The DSN for logs: everything but the password."""
        host = self.host or ""
        place = quote(host, safe="") if host.startswith("/") else f"[{host}]" if ":" in host else host
        login = quote(self.user or "", safe="") + (":***" if self.password else "")
        at = "@" if login else ""
        return f"postgresql://{login}{at}{place}:{self.port}/{quote(self.database or '')}?tls={self.tls}"

    def __repr__(self) -> str:
        return f"Dsn({self.redacted()!r})"

    __str__ = redacted


def parse_dsn(text: str) -> Dsn:
    """Read a Postgres URL. Raises ``ConfigurationError``, which never quotes the URL: it holds a password."""
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        raise ConfigurationError("The database URL must begin with postgresql:// or postgres://.")
    if "#" in rest or any(not character.isprintable() for character in rest):
        raise ConfigurationError("The database URL holds a '#' or an unprintable character: write it as %23 (%XX).")
    place, _, query = rest.partition("?")
    authority, _, path = place.partition("/")
    if "@" in path or "/" in path:
        raise ConfigurationError("The database URL has a '/' or '@' too many: write them as %2F and %40 in a password.")
    named, set_after = _from_authority(authority, path), _from_query(query)
    if named.keys() & set_after.keys():
        twice = ", ".join(sorted(named.keys() & set_after.keys()))
        raise ConfigurationError(f"The database URL gives {twice} twice: before and after '?'.")
    return _dsn_from({**named, **set_after})


def _from_authority(authority: str, path: str) -> dict[str, str]:
    login, _, place = authority.rpartition("@")
    user, _, password = login.partition(":")
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = place.partition(":")
    found = {"user": user, "password": password, "host": host, "port": port, "database": path}
    return {name: _decoded(value) for name, value in found.items() if value}


def _from_query(query: str) -> dict[str, str]:
    try:
        # A '+' stands for itself, as libpq reads it.
        pairs = parse_qsl(
            query.replace("+", "%2B"), keep_blank_values=True, strict_parsing=bool(query), errors="strict"
        )
    except ValueError:
        raise ConfigurationError("The database URL does not go on with name=value&name=value after '?'.") from None
    found = {_ALIASES.get(name, name): value for name, value in pairs if name not in _IGNORED}
    unknown = sorted(found.keys() - _KNOWN)
    if unknown:
        raise ConfigurationError(
            f"The database URL has settings that keepsay does not know: {', '.join(unknown)}."
            f" It knows {', '.join(sorted(_KNOWN))}. Give server settings to the role: ALTER ROLE ... SET."
        )
    return found


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ConfigurationError("The database URL holds a %XX that is not UTF-8.") from None


def _dsn_from(given: dict[str, str]) -> Dsn:
    host = given.get("host") or None
    if host is not None and "," in host:
        raise ConfigurationError("The database URL names several hosts; keepsay connects to one.")
    certificate = given.get("sslcert")
    return Dsn(
        host=host,
        port=_port(given.get("port") or "5432"),
        user=given.get("user") or None,
        password=given.get("password") or None,
        database=given.get("database") or None,
        tls=_tls(given, host),
        root_certificate=given.get("sslrootcert") or None,
        client_certificate=(certificate, given.get("sslkey")) if certificate else None,
        endpoint=_endpoint(given.get("options", ""), host),
        application_name=given.get("application_name") or "keepsay",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ConfigurationError("The port of the database URL is not a number from 1 to 65535.")
    return int(text)


def _tls(given: dict[str, str], host: str | None) -> Tls:
    """What ``sslmode`` and ``channel_binding`` ask for; without them Neon gets TLS and a socket does not."""
    must = given.get("channel_binding") == "require" or "sslrootcert" in given or "sslcert" in given
    usual = "verify-full" if must or (host or "").endswith(NEON_DOMAIN) else "prefer"
    mode = given.get("sslmode", usual)
    if mode not in _TLS_BY_MODE:
        raise ConfigurationError(f"sslmode must be one of {', '.join(_TLS_BY_MODE)}.")
    if must and mode == "disable":
        raise ConfigurationError("The database URL says sslmode=disable, but its other settings need TLS.")
    return "off" if host is not None and host.startswith("/") else _TLS_BY_MODE[mode]


def _endpoint(options: str, host: str | None) -> str | None:
    """Neon's ``options=endpoint=<id>``. Left out where the host name says it already: most servers refuse it."""
    if not options:
        return None
    name, equals, endpoint = options.partition("=")
    if name != "endpoint" or not endpoint or not equals:
        raise ConfigurationError("Of options, the database URL may hold only Neon's options=endpoint%3D<id>.")
    in_host = (host or "").partition(".")[0].removesuffix(POOLER_SUFFIX)
    return None if in_host == endpoint else endpoint
