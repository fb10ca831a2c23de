"""What each payload format means: role, calls opened, call answered. One function per format; unknown ones are opaque.

Sources: OpenAI's API reference for Chat Completions messages and for Responses items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from keepsay.errors import InvalidInput
from keepsay.model.json_text import JsonObject, JsonValue, write_json
from keepsay.model.messages import CHAT, OPENAI_RESPONSES, Facts, OpenCall, OrderState, Role
from keepsay.model.tokens import estimate_tokens

_INTERRUPTED = write_json({"status": "interrupted"})
_IMAGE_TOKENS = 800  # a picture costs by its size in tiles, never by the length of its base64 text
_MESSAGE_TOKENS = 4  # what the chat markup around a message costs
_MEDIA = frozenset({"image_url", "input_image", "input_audio", "input_file", "file", "image", "computer_screenshot"})

_CHAT_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
}
_AFTER = {
    Role.SYSTEM: OrderState.SYSTEM,
    Role.USER: OrderState.USER,
    Role.ASSISTANT: OrderState.ASSISTANT,
    Role.TOOL: OrderState.TOOL,
}
# Calls that the client answers, and the type of their answer. Hosted tools (web search, ...) answer themselves.
_ANSWERED_BY = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "computer_call": "computer_call_output",
    "local_shell_call": "local_shell_call_output",
    "shell_call": "shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
}
_OUTPUTS = frozenset(_ANSWERED_BY.values())
_STEPS = frozenset(
    {
        "reasoning",
        "compaction",
        "file_search_call",
        "web_search_call",
        "image_generation_call",
        "code_interpreter_call",
        "mcp_list_tools",
        "mcp_call",
        "mcp_approval_request",
        "tool_search_call",
    }
)


def call_token(call_id: str) -> str:
    """A call id as the database can hold it: ASCII, whatever the model made of it."""
    return write_json(call_id)[1:-1]


def read_facts(payload: JsonObject, format: str) -> Facts:  # noqa: A002 - the word of the field
    """Derive what the rules need from a payload. Raises ``InvalidInput`` where a known format is malformed."""
    return _FORMATS.get(format, _opaque)(payload)


def _opaque(payload: JsonObject) -> Facts:
    return Facts(Role.OTHER, None, tokens=count_tokens(payload))


def _chat(payload: JsonObject) -> Facts:
    role = _role(payload)
    if role is Role.TOOL:
        answered = _text(payload, "tool_call_id")
        return Facts(role, OrderState.TOOL, answers=(call_token(answered),), tokens=count_tokens(payload))
    calls = tuple(_chat_calls(payload)) if role is Role.ASSISTANT else ()
    _check_content(payload, required=not calls and not payload.get("refusal") and not payload.get("audio"))
    return Facts(role, OrderState.CALLING if calls else _AFTER[role], opens=calls, tokens=count_tokens(payload))


def _role(payload: JsonObject) -> Role:
    name = payload.get("role")
    role = _CHAT_ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise InvalidInput(f"role is one of {', '.join(_CHAT_ROLES)}.", field="role")
    return role


def _check_content(payload: JsonObject, *, required: bool) -> None:
    content = payload.get("content")
    if isinstance(content, str | list) or (content is None and not required):
        return
    raise InvalidInput("content is a text or a list of parts.", field="content")


def _chat_calls(payload: JsonObject) -> Iterator[OpenCall]:
    calls = payload.get("tool_calls") or []
    if not isinstance(calls, list):
        raise InvalidInput("tool_calls is a list.", field="tool_calls")
    for call in calls:
        if not isinstance(call, dict):
            raise InvalidInput("A tool call is an object.", field="tool_calls")
        call_id = _text(call, "id")
        result = write_json({"role": "tool", "tool_call_id": call_id, "content": _INTERRUPTED})
        yield OpenCall(call_token(call_id), result, CHAT)


def _text(payload: JsonObject, name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 255:
        raise InvalidInput(f"{name} is a text of 1 to 255 characters.", field=name)
    return value


def _responses(payload: JsonObject) -> Facts:
    kind = payload.get("type", "message")
    tokens = count_tokens(payload)
    if kind == "message":
        role = _role(payload)
        _check_content(payload, required=True)
        return Facts(role, _AFTER[role], tokens=tokens)
    if isinstance(kind, str) and kind in _ANSWERED_BY:
        call = _responses_call(payload, kind)
        return Facts(Role.ASSISTANT, OrderState.CALLING, opens=(call,), tokens=tokens)
    if isinstance(kind, str) and kind in _OUTPUTS:
        answered = (call_token(_text(payload, "call_id")),)
        return Facts(Role.TOOL, OrderState.TOOL, answers=answered, tokens=tokens)
    if kind in _STEPS:
        return Facts(Role.ASSISTANT, OrderState.STEP, tokens=tokens)
    return Facts(Role.OTHER, None, tokens=tokens)


def _responses_call(payload: JsonObject, kind: str) -> OpenCall:
    call_id = _text(payload, "call_id")
    result = {"type": _ANSWERED_BY[kind], "call_id": call_id, "output": _INTERRUPTED}
    return OpenCall(call_token(call_id), write_json(result), OPENAI_RESPONSES)


_FORMATS: dict[str, Callable[[JsonObject], Facts]] = {CHAT: _chat, OPENAI_RESPONSES: _responses}


def payload_text(value: JsonValue) -> str:
    """The words of a payload that a person would read, and a model is charged for; media and names of fields left out."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(filter(None, map(payload_text, value)))
    if isinstance(value, dict) and value.get("type") not in _MEDIA:
        return "\n".join(filter(None, (payload_text(part) for name, part in value.items() if name not in _SILENT)))
    return ""


_SILENT = frozenset({"role", "type", "id", "status", "call_id", "tool_call_id", "encrypted_content", "detail"})


def count_tokens(payload: JsonObject, counter: Callable[[str], int] = estimate_tokens) -> int:
    """How many tokens a payload costs a model, by ``counter`` over its words, with a flat price for each picture or file."""
    return counter(payload_text(payload)) + _media_tokens(payload) + _MESSAGE_TOKENS


def _media_tokens(payload: JsonObject) -> int:
    content = payload.get("content", payload.get("output"))
    if not isinstance(content, list):
        return 0
    return _IMAGE_TOKENS * sum(isinstance(part, dict) and part.get("type") in _MEDIA for part in content)
