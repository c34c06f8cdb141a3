"""What is meant by a text that is nearly JSON: {'a': None}, {"a": 1,}, {"a": 1} // one."""

from __future__ import annotations

import orjson

REMEDIES = {
    "'": "texts stand in single quotes; JSON has double ones",
    "//": "it has a comment; take it out",
    "/*": "it has a comment; take it out",
    "#": "it has a comment; take it out",
    "None": "None is Python's; JSON has null",
    "True": "True is Python's; JSON has true",
    "False": "False is Python's; JSON has false",
}


def is_json(text: bytes) -> bool:
    """Whether a text is one JSON value."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def remedy(text: str, error: orjson.JSONDecodeError) -> str:
    """What makes the text JSON, as the beginning of a sentence; "" where that is not seen."""
    if "trailing comma" in error.msg:
        found: str | None = "a comma stands after the last item; take it out"
    else:
        rest = text[error.pos : error.pos + 80].lstrip()
        found = next((remedy for start, remedy in REMEDIES.items() if rest.startswith(start)), None)
    return f"not strict JSON: {found}; " if found else ""
