"""What the HTTP server itself refuses, in keepsay's tree of errors: ``problems`` is the one table that maps them.

KeepsayError
├── Unauthenticated             nobody has said, or proved, who is asking
├── IssuerUnavailable           the issuer of tokens gave no keys, so nobody can be known    .retry_after
├── Forbidden                   not from this host, or not from this page
├── NoSuchPage                  no route has this path
├── MethodNotAllowed            the path has other methods                               .allowed
├── BodyTooLarge                the body is over its limit                               .limit
├── BodyTooSlow                 the body did not arrive in time
├── NotJson                     the body is not said to be JSON
├── ServerStopping              the server was told to stop before this was done            .retry_after
└── AgentFailed                 the agent raised, or gave no usable answer   .run_id, .conversation_id, .request_id
"""

from __future__ import annotations

from keepsay.errors import KeepsayError, Outcome

__all__ = [
    "AgentFailed",
    "BodyTooLarge",
    "BodyTooSlow",
    "Forbidden",
    "IssuerUnavailable",
    "MethodNotAllowed",
    "NoSuchPage",
    "NotJson",
    "ServerStopping",
    "Unauthenticated",
]


class Unauthenticated(KeepsayError):
    """Nobody has said, or proved, who is asking."""

    code = "unauthenticated"


class IssuerUnavailable(KeepsayError):
    """The issuer of tokens gave no keys, so that no token can be judged. ``retry_after``: when it is asked again."""

    code = "issuer_unavailable"

    def __init__(self, *, retry_after: float) -> None:
        super().__init__("The issuer of tokens does not answer, so nobody can prove who they are; try again.")
        self.retry_after = retry_after


class Forbidden(KeepsayError):
    """The request does not come from where this server may be asked."""

    code = "forbidden"


class NoSuchPage(KeepsayError):
    """No route has this path."""

    code = "no_such_page"

    def __init__(self) -> None:
        super().__init__("There is nothing at this path; /docs lists what there is.")


class MethodNotAllowed(KeepsayError):
    """The path is known, with other methods."""

    code = "method_not_allowed"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"This path takes {', '.join(allowed)}.")
        self.allowed = allowed


class BodyTooLarge(KeepsayError):
    """The body is over its limit, by its Content-Length or by count."""

    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is over the limit of {limit} bytes.")
        self.limit = limit


class BodyTooSlow(KeepsayError):
    """The body did not arrive in time."""

    code = "body_too_slow"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The body did not arrive within {seconds:g} seconds.")


class NotJson(KeepsayError):
    """The body is not said to be JSON, so it is not read. This is what keeps other web pages from writing."""

    code = "not_json"

    def __init__(self) -> None:
        super().__init__("Send the body with Content-Type: application/json and without Content-Encoding.")


class ServerStopping(KeepsayError):
    """The server was told to stop before this was done; another one, or the next, takes the retry."""

    code = "server_stopping"

    def __init__(self, *, outcome: Outcome = "unknown", retry_after: float = 1.0) -> None:
        super().__init__("The server is stopping; send the request again, with the same key or request_id.")
        self.outcome = outcome
        self.retry_after = retry_after


class AgentFailed(KeepsayError):
    """The agent raised, or gave no usable answer. Retry with the ``request_id``, or go on in the conversation.

    The outcome is not ``not_applied``, for the user's message was stored.
    """

    code = "agent_failed"
    outcome = "unknown"

    def __init__(self, *, run_id: str, conversation_id: str, request_id: str | None) -> None:
        advice = "Go on in the conversation" if request_id is None else "Retry with this request_id"
        super().__init__(f"The agent failed to answer; your message is kept. {advice}.")
        self.run_id = run_id
        self.conversation_id = conversation_id
        self.request_id = request_id
