"""Every limit in one place (docs/limits.md). Sizes in bytes are of UTF-8 or of the JSON text as stored."""

from __future__ import annotations

from typing import Final

BODY_BYTES: Final = 4 * 1024 * 1024
MESSAGE_BYTES: Final = 1024 * 1024
MESSAGES_PER_CALL: Final = 100
OPEN_CALLS: Final = 128
JSON_DEPTH: Final = 64
JSON_VALUES: Final = 100_000
INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
TITLE_CHARS: Final = 255
METADATA_BYTES: Final = 16 * 1024
METADATA_DEPTH: Final = 4
SYSTEM_PROMPT_CHARS: Final = 100_000
SUMMARY_CHARS: Final = 100_000
USER_ID_BYTES: Final = 255
KEY_CHARS: Final = 255
PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 200
WINDOW_DEFAULT_MESSAGES: Final = 100
WINDOW_MAX_MESSAGES: Final = 1_000
WINDOW_MAX_TOKENS: Final = 10_000_000
LEASE_SECONDS_MIN: Final = 0.05
LEASE_SECONDS_MAX: Final = 3_600.0
SEQ_MAX: Final = 2**31 - 1
SKIP_MAX: Final = 100_000
ALLOWANCE_MAX: Final = 1_000_000
