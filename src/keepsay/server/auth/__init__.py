"""The ways to know users: ``dev`` believes whoever asks here, ``jwt`` a token's issuer, ``service`` a key."""

from keepsay.server.auth.choice import authenticator
from keepsay.server.auth.dev import DevAuth, check_bind
from keepsay.server.auth.identity import USER_HEADER, Authenticator, Identity, header_text
from keepsay.server.auth.jwt import JwtAuth
from keepsay.server.auth.service import ServiceAuth

__all__ = [
    "USER_HEADER",
    "Authenticator",
    "DevAuth",
    "Identity",
    "JwtAuth",
    "ServiceAuth",
    "authenticator",
    "check_bind",
    "header_text",
]
