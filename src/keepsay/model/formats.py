"""What each payload format means: role, calls opened, call answered. One function per format; unknown ones are opaque.

Sources: OpenAI's API reference for Chat Completions messages and for Responses items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from keepsay.errors import InvalidInput
from keepsay.model.json_text import JsonObject, JsonValue, write_json
from keepsay.model.messages import CHAT, OPENAI_RESPONSES, Facts, OpenCall, OrderState, Role
from keepsay.model.tokens import estimate_tokens

_INTERRUPTED = write_json({"status": "interrupted"})
_BLANK_PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAQAAAAA3bvkkAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5ErkJggg=="
)
_MEDIA_TOKENS = 800  # a picture costs by its size in tiles, never by the length of its base64 text
_MESSAGE_TOKENS = 4  # what the chat markup around a message costs
_MEDIA = frozenset(
    {
        "base64",
        "computer_screenshot",
        "file",
        "image",
        "image_generation_call",
        "image_url",
        "input_audio",
        "input_file",
        "input_image",
    }
)

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
}
# Calls that the client answers, and the answer to one that was interrupted, in the shape that the API takes for it.
# Hosted tools (web search, ...) answer themselves.
_STAND_INS: dict[str, JsonObject] = {
    "function_call": {"type": "function_call_output", "output": _INTERRUPTED},
    "custom_tool_call": {"type": "custom_tool_call_output", "output": _INTERRUPTED},
    "local_shell_call": {"type": "local_shell_call_output", "output": _INTERRUPTED},
    "shell_call": {
        "type": "shell_call_output",
        "output": [{"stdout": "", "stderr": "interrupted", "outcome": {"type": "timeout"}}],
    },
    "apply_patch_call": {"type": "apply_patch_call_output", "status": "failed", "output": "interrupted"},
    "computer_call": {
        "type": "computer_call_output",
        "output": {"type": "computer_screenshot", "image_url": _BLANK_PNG},
    },
}
CALL_ITEMS = frozenset(_STAND_INS)
OUTPUT_ITEMS = frozenset(str(stand_in["type"]) for stand_in in _STAND_INS.values())
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
ROLES_WITHOUT_ORDER = frozenset({"critic", "discriminator", "tool", "unknown"})  # Responses messages may have these


def call_token(call_id: str) -> str:
    """A call id as the database can hold it: ASCII, whatever the model made of it."""
    return write_json(call_id)[1:-1]


def read_facts(payload: JsonObject, format: str) -> Facts:  # noqa: A002 - the word of the field
    """Derive what the rules need from a payload. Raises ``InvalidInput`` where a known format is malformed."""
    return replace(read_order_facts(payload, format), tokens=count_tokens(payload))


def read_order_facts(payload: JsonObject, format: str) -> Facts:  # noqa: A002
    """The facts without the tokens, which are what takes time."""
    return _FORMATS.get(format, _opaque)(payload)


def _opaque(_payload: JsonObject) -> Facts:
    return Facts(Role.OTHER, None)


def _chat(payload: JsonObject) -> Facts:
    role = _role(payload)
    calls = tuple(_chat_calls(payload)) if role is Role.ASSISTANT else ()
    may_lack_content = bool(calls or (role is Role.ASSISTANT and (payload.get("refusal") or payload.get("audio"))))
    _check_content(payload, required=not may_lack_content)
    if role is Role.TOOL:
        return Facts(role, OrderState.TOOL, answers=(call_token(_text(payload, "tool_call_id")),))
    return Facts(role, OrderState.CALLING if calls else _AFTER[role], opens=calls)


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
    calls = payload.get("tool_calls")
    if not isinstance(calls, list | None):
        raise InvalidInput("tool_calls is a list.", field="tool_calls")
    seen: set[str] = set()
    for call in calls or ():
        if not isinstance(call, dict):
            raise InvalidInput("A tool call is an object.", field="tool_calls")
        call_id = _text(call, "id")
        if call_id in seen:
            raise InvalidInput("Two tool calls of one message have the same id.", field="tool_calls")
        seen.add(call_id)
        result = write_json({"role": "tool", "tool_call_id": call_id, "content": _INTERRUPTED})
        yield OpenCall(call_token(call_id), result, CHAT)


def _text(payload: JsonObject, name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 255:
        raise InvalidInput(f"{name} is a text of 1 to 255 characters.", field=name)
    return value


def _responses(payload: JsonObject) -> Facts:
    kind = payload.get("type")
    if kind is None or kind == "message":
        return _responses_message(payload)
    if not isinstance(kind, str):
        raise InvalidInput("type is a text.", field="type")
    if kind in CALL_ITEMS:
        return Facts(Role.ASSISTANT, OrderState.CALLING, opens=(_responses_call(payload, kind),))
    if kind in OUTPUT_ITEMS:
        # OpenAI's schema names the call of a local shell by ``id``, its guide by ``call_id``.
        name = "id" if kind == "local_shell_call_output" and "call_id" not in payload else "call_id"
        return Facts(Role.TOOL, OrderState.TOOL, answers=(call_token(_text(payload, name)),))
    return Facts(Role.ASSISTANT, OrderState.STEP) if kind in _STEPS else _opaque(payload)


def _responses_message(payload: JsonObject) -> Facts:
    name = payload.get("role")
    if isinstance(name, str) and name in ROLES_WITHOUT_ORDER:
        return _opaque(payload)
    role = _role(payload)
    _check_content(payload, required=True)
    return Facts(role, _AFTER[role])


def _responses_call(payload: JsonObject, kind: str) -> OpenCall:
    call_id = _text(payload, "call_id")
    result = {"call_id": call_id, **_STAND_INS[kind]}
    return OpenCall(call_token(call_id), write_json(result), OPENAI_RESPONSES)


_FORMATS: dict[str, Callable[[JsonObject], Facts]] = {CHAT: _chat, OPENAI_RESPONSES: _responses}


def payload_text(value: JsonValue) -> str:
    """The words of a payload that a person would read, and a model is charged for; without media and field names."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(filter(None, map(payload_text, value)))
    if isinstance(value, dict) and not _is_media(value):
        return "\n".join(filter(None, (payload_text(part) for name, part in value.items() if name not in _SILENT)))
    return ""


_SILENT = frozenset({"role", "type", "id", "status", "call_id", "tool_call_id", "encrypted_content", "detail"})


def _is_media(value: JsonObject) -> bool:
    kind = value.get("type")
    return isinstance(kind, str) and kind in _MEDIA


def count_tokens(payload: JsonObject, counter: Callable[[str], int] = estimate_tokens) -> int:
    """How many tokens a payload costs a model: its words by ``counter``, and a flat price for each picture or file."""
    return counter(payload_text(payload)) + _MEDIA_TOKENS * _media_count(payload) + _MESSAGE_TOKENS


def _media_count(value: JsonValue) -> int:
    if isinstance(value, list):
        return sum(map(_media_count, value))
    if isinstance(value, dict):
        return 1 if _is_media(value) else sum(map(_media_count, value.values()))
    return 0
