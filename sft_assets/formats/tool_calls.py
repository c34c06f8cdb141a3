"""Tools and tool calls as other formats need them: parsed, the broken ones told apart, and results matched to calls.

tools    '[{"type": "function", "function": {"name": "clock"}}]'                        [{"name": "clock"}]
calls    '[{"id": "c1", "type": "function", "function": {"name": "clock", ...}}]'       [Call("clock", {...}, "c1")]
results  {"role": "tool", "tool_call_id": "c1", ...}                                    answers the call c1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from sft_assets.formats.writing import CannotHold, too_deep
from sft_assets.record import Message

CALL = frozenset(("id", "type", "function"))
FUNCTION = frozenset(("name", "arguments"))


class Call(NamedTuple):
    """One call. `arguments` is an object, or its JSON text."""

    name: str
    arguments: dict[str, Any] | str
    id: str | None = None

    @property
    def object(self) -> dict[str, Any]:
        """The arguments as an object."""
        value: dict[str, Any] = orjson.loads(self.arguments) if isinstance(self.arguments, str) else self.arguments
        return value

    @property
    def text(self) -> str:
        """The arguments as JSON text."""
        return self.arguments if isinstance(self.arguments, str) else orjson.dumps(self.arguments).decode()


def functions(tools: str | None) -> list[dict[str, Any]]:
    """The functions of the column `tools`; none where it is empty.

    Raises:
        CannotHold: broken_tools, where it is no JSON list of functions with names.
    """
    found = [] if tools is None else _parsed(tools)
    if not isinstance(found, list):
        raise CannotHold("broken_tools")
    inner = [_function(tool) for tool in found]
    if not all(isinstance(function.get("name"), str) and function["name"] for function in inner):
        raise CannotHold("broken_tools")
    return inner


def tool_objects(tools: str | None) -> list[dict[str, Any]]:
    """The tools as OpenAI has them, {"type": "function", "function": {...}}, whether or not they stood in such objects.

    Raises:
        CannotHold: broken_tools, also where such an object says something else.
    """
    inner = functions(tools)
    for tool in _parsed(tools) if tools else ():
        if "function" in tool and {k for k, v in tool.items() if v is not None} - {"type", "function"}:
            raise CannotHold("broken_tools")
    return [{"type": "function", "function": {k: v for k, v in f.items() if (k, v) != ("type", "function")}} for f in inner]


def calls(turn: Message) -> list[Call]:
    """The calls of a turn; none where it has none.

    Raises:
        CannotHold: broken_tool_call, where one has no name or no object of arguments, or has fields beside those of a Call.
    """
    if turn.tool_calls is None:
        return []
    found = _parsed(turn.tool_calls)
    if not isinstance(found, list) or not found or turn.role != "assistant":
        raise CannotHold("broken_tool_call")
    made = [_call(value) for value in found]
    ids = [call.id for call in made if call.id]
    if len(set(ids)) < len(ids):
        raise CannotHold("broken_tool_call")
    return made


def _call(value: Any) -> Call:
    function = _function(value)
    name, arguments = function.get("name"), function.get("arguments", {})
    ident = value.get("id") if function else None
    known = (CALL, FUNCTION) if function is not value else (CALL | FUNCTION, CALL | FUNCTION)
    told = ({k for k, v in part.items() if v is not None} for part in (value if function else {}, function))
    is_object = isinstance(arguments, dict) or (isinstance(arguments, str) and isinstance(_parsed(arguments), dict))
    if (
        name
        and isinstance(name, str)
        and is_object
        and isinstance(ident, (str, type(None)))
        and all(map(set.issubset, told, known))
    ):
        return Call(name, arguments, ident or None)
    raise CannotHold("broken_tool_call")


def _function(value: Any) -> dict[str, Any]:
    """What a tool or a call says of its function; it may stand without the object around it."""
    if not isinstance(value, dict) or value.get("type") not in (None, "function"):
        return {}
    inner = value.get("function", value)
    return inner if isinstance(inner, dict) else {}


def _parsed(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except ValueError:
        return None
    return None if too_deep(value) else value


class Turn(NamedTuple):
    """A turn with its calls, all of which have an id; or a result with the id of the call that it answers."""

    message: Message
    calls: list[Call]
    answers: str | None = None


def matched(turns: Sequence[Message]) -> list[Turn]:
    """The turns, their calls matched to results: by id or, where one of the two has none, in order.

    Raises:
        CannotHold: broken_tool_call; tool_results_do_not_match, where a result answers no call or is of another function, or
            where calls have no result before the next turn (those of the last turn need none).
    """
    made = [calls(turn) for turn in turns]
    places: dict[int, tuple[int, int]] = {}  # turn of a result -> turn of its call, and which one
    waiting: list[tuple[int, int]] = []
    for number, turn in enumerate(turns):
        if turn.role != "tool":
            if waiting:
                raise CannotHold("tool_results_do_not_match")
            waiting = [(number, i) for i in range(len(made[number]))]
            continue
        place = next((p for p in waiting if answers(turn, made[p[0]][p[1]])), None)
        if place is None:
            raise CannotHold("tool_results_do_not_match")
        waiting.remove(place)
        places[number] = place
        at, i = place
        made[at][i] = made[at][i]._replace(id=made[at][i].id or turn.tool_call_id)
    made = [
        [call._replace(id=call.id or f"call_{number}_{i}") for i, call in enumerate(of_turn, 1)]
        for number, of_turn in enumerate(made, 1)
    ]
    return [Turn(turn, made[n], made[places[n][0]][places[n][1]].id if n in places else None) for n, turn in enumerate(turns)]


def answers(result: Message, call: Call) -> bool:
    """Whether a result may be that of a call: neither its id nor its name says otherwise."""
    same_id = call.id is None or result.tool_call_id is None or call.id == result.tool_call_id
    return same_id and result.name in (None, call.name)
