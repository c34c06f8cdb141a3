"""Chat log: what was asked of a chat model's API, and what it replied.

    {"request": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
     "response": {"choices": [{"message": {"role": "assistant", "content": "Hello!"}}]}}

The request may be the record itself ({"messages": [...], "response": {...}}). The reply is the first choice; all else goes to
meta.
"""

from __future__ import annotations

from typing import Any

from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turns import LABELS, conversation, kto_label, read_turns, rest
from sft_assets.record import BadRecord, Conversation

NAME = "chat_log"
COLUMNS = {"prompt": "request"}
REQUESTS = ("request", "body")
REPLIES = ("response", "completion")
TELLING = frozenset((*REQUESTS, "messages", "choices"))  # a reply tells nothing where none of these stands beside it
USED = frozenset((*REQUESTS, *REPLIES, "messages", "choices", "tools", "label", "kto_tag", *LABELS))


def matches(record: dict[str, Any]) -> bool:
    return _reply(record)[1] is not None and _request(record)[1] is not None


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    (asked_in, request), (replied_in, reply) = _request(record), _reply(record)
    if request is None or reply is None:
        raise BadRecord("wrong_type", "it has no request with messages, or no response with a choice")
    meta = rest(record, frozenset({asked_in, replied_in, "messages", "tools", "label", "kto_tag", *LABELS}))
    meta |= {f"request_{k}": v for k, v in request.items() if k not in ("messages", "tools")} if request is not record else {}
    label = kto_label(record, meta)
    turns = read_turns(request["messages"], meta, "messages") + read_turns(reply, meta, "reply")
    return [conversation({**record, "tools": request.get("tools")}, turns, meta, label)]


def _request(record: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """The request with its messages, and the field that it stands in ("" for the record itself)."""
    for name in REQUESTS:
        if isinstance(value := record.get(name), dict) and isinstance(value.get("messages"), list) and value["messages"]:
            return name, value
    return "", record if isinstance(record.get("messages"), list) and record["messages"] else None


def _reply(record: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """The replied turn, and the field that it stands in."""
    for name in REPLIES:
        value = record.get(name)
        value = value.get("body", value) if isinstance(value, dict) else None  # of a batch
        if isinstance(value, dict) and (turn := _choice(value.get("choices"))):
            return name, turn
    return "choices", _choice(record.get("choices"))


def _choice(choices: Any) -> dict[str, Any] | None:
    first = choices[0] if isinstance(choices, list) and choices else None
    turn = first.get("message") if isinstance(first, dict) else None
    return turn if isinstance(turn, dict) and "role" in turn else None
