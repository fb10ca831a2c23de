"""The way to an issuer's keys: one bounded GET."""

from __future__ import annotations

import contextlib
import importlib
import ipaddress
from urllib.parse import urlsplit

import httpx2

from keepsay.errors import ConfigurationError
from keepsay.server.auth.jwks import IssuerFault

__all__ = ["JwksEndpoint"]

BODY_BYTES = 512 * 1024
READ_SECONDS = 5.0

_HEADERS = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
_LOADED_WITH_FIRST_USE = ("anyio._backends._asyncio", "anyio._core._sockets", "anyio._core._streams")


class JwksEndpoint:
    """Gets the document of a JWKS URL: over HTTPS, or HTTP from this machine; no redirects, at most 512 KiB.

    Raises ``ConfigurationError`` for another URL. ``HTTPS_PROXY`` and ``SSL_CERT_FILE`` are heeded.
    """

    def __init__(self, url: str) -> None:
        self._url = _checked(url)
        self._is_secure = url.startswith("https:")
        # Reading the machine's authorities takes 35 ms, and loading what the first connection needs 20 ms: done now,
        # for in a request it would keep everybody's.
        self._tls = httpx2.create_ssl_context()
        for module in _LOADED_WITH_FIRST_USE:
            with contextlib.suppress(ImportError):  # they are anyio's own, and may move
                importlib.import_module(module)

    async def __call__(self) -> bytes:
        """The document. Raises ``IssuerFault``. The caller bounds the whole time; each read is bounded here."""
        # A connection of its own: a load is rare, and one kept for minutes would be dead. A proxy is for HTTPS alone:
        # with HTTP it could make keys up.
        client = httpx2.AsyncClient(verify=self._tls, trust_env=self._is_secure, timeout=READ_SECONDS)
        try:
            async with client, client.stream("GET", self._url, headers=_HEADERS) as response:
                return await _body(response)
        except httpx2.HTTPError as error:
            raise IssuerFault(type(error).__name__) from error


async def _body(response: httpx2.Response) -> bytes:
    if response.status_code != 200:
        raise IssuerFault(f"it answered with status {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise IssuerFault("it answered with an encoding that was not asked for")
    found = bytearray()
    async for chunk in response.aiter_raw():
        found += chunk
        if len(found) > BODY_BYTES:
            raise IssuerFault(f"its document has over {BODY_BYTES} bytes")
    return bytes(found)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        httpx2.URL(url)
    except (ValueError, httpx2.InvalidURL):
        host = None
    if host is None or parts.username is not None:
        raise ConfigurationError("KEEPSAY_JWKS_URL is a URL with a host and without a password.")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(host)):
        raise ConfigurationError("KEEPSAY_JWKS_URL begins with https://, for who can forge keys can be anybody.")
    return url


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
