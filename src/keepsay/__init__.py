"""Durable, user-isolated, resumable conversation state for chatbot and agent servers, on your own Postgres.

from keepsay import Keepsay, assistant

async with Keepsay() as ks:
    user = ks.user("u_42")
    conversation = await user.create(system_prompt="Be brief.")
    async with user.run(conversation.id, "Where is Lisbon?") as run:
        reply = await model(run.window.to_openai_chat())
        await run.finish(assistant(reply))
"""

from keepsay.errors import (
    ConfigurationError,
    Conflict,
    ConversationBusy,
    CorruptData,
    InvalidCursor,
    InvalidInput,
    KeepsayError,
    KeyReused,
    NotFound,
    QuotaExceeded,
    RateLimited,
    RoleOrderError,
    RunSuperseded,
    SchemaMismatch,
    SeqMismatch,
    TooLarge,
    UnansweredCalls,
    Unavailable,
    VersionMismatch,
)
from keepsay.library.client import Admin, Keepsay, UserPage
from keepsay.library.messages import assistant, system, tool, user
from keepsay.library.run import Appending, Run, RunContext
from keepsay.library.scope import ConversationPage, ConversationWindow, MessagePage, UserScope
from keepsay.model.allowance import Allowance
from keepsay.model.conversation import Conversation, ConversationStatus, RolePolicy, RunRecord, RunStatus, Summary
from keepsay.model.messages import Message, MessageStatus, NewMessage, Role
from keepsay.model.standing import Standing
from keepsay.model.window import Explanation, ModelWindow, Window
from keepsay.store.memory import MemoryStore
from keepsay.store.protocol import Created, Erased

__version__ = "0.1.0"

__all__ = [
    "Admin",
    "Allowance",
    "Appending",
    "ConfigurationError",
    "Conflict",
    "Conversation",
    "ConversationBusy",
    "ConversationPage",
    "ConversationStatus",
    "ConversationWindow",
    "CorruptData",
    "Created",
    "Erased",
    "Explanation",
    "InvalidCursor",
    "InvalidInput",
    "Keepsay",
    "KeepsayError",
    "KeyReused",
    "MemoryStore",
    "Message",
    "MessagePage",
    "MessageStatus",
    "ModelWindow",
    "NewMessage",
    "NotFound",
    "QuotaExceeded",
    "RateLimited",
    "Role",
    "RoleOrderError",
    "RolePolicy",
    "Run",
    "RunContext",
    "RunRecord",
    "RunStatus",
    "RunSuperseded",
    "SchemaMismatch",
    "SeqMismatch",
    "Standing",
    "Summary",
    "TooLarge",
    "UnansweredCalls",
    "Unavailable",
    "UserPage",
    "UserScope",
    "VersionMismatch",
    "Window",
    "assistant",
    "system",
    "tool",
    "user",
]
