"""Short names of topics, by a language model.

    seven texts nearest to a topic's centre   ->   "Fractions and percentages"

The request is made of a topic's own members and nothing else, so a topic whose members are the same has its name from the
cache, whatever became of the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sft_assets.models.door import Call
from sft_assets.models.prompt import Prompt, load

if TYPE_CHECKING:
    from sft_assets.models.door import Door

CENTRAL = 7  # texts that a name is made from
SHOWN = 400  # characters of each
LONGEST = 60  # characters of a name


def prompt_of(own: Path) -> Prompt:
    """The prompt file: topic_name.md of D/prompts, else the package's."""
    return load("topic_name", own, frozenset({"texts"}))


def call(prompt: Prompt, texts: Sequence[str], model: str) -> Call:
    """The request for the name of what has these texts."""
    shown = "\n\n".join(f"{number}. {' '.join(text[: 4 * SHOWN].split())[:SHOWN]}" for number, text in enumerate(texts, 1))
    return prompt.call(hashlib.blake2b(shown.encode(), digest_size=16).digest(), {"texts": shown}, model)


def ask_names(door: Door, prompt: Prompt, texts: Mapping[int, Sequence[str]], model: str) -> dict[int, str]:
    """The name of each of the keys of `texts` that has got one. Two of the same texts are asked about once."""
    asked: dict[bytes, list[int]] = {}
    calls = []
    for key, some in texts.items():
        request = call(prompt, some, model)
        if request.subject not in asked:
            calls.append(request)
        asked.setdefault(request.subject, []).append(key)
    names: dict[int, str] = {}
    for request, reply in door.ask(calls):
        name = tidy(reply.value["name"]) if reply.status == "ok" and isinstance(reply.value, dict) else ""
        names |= dict.fromkeys(asked[request.subject], name) if name else {}
    return names


def tidy(name: str) -> str:
    """A name in one line, without quotes around it and a stop behind it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split()).strip("\"'“”«»*#.: ")
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"


def distinct(names: Mapping[int, str], keywords: Mapping[int, Sequence[str]]) -> dict[int, str]:
    """The names, those that several have with the keyword that tells them apart, or a number."""
    result: dict[int, str] = {}
    taken: set[str] = set()
    for key in sorted(names):
        own = (f"{names[key]} ({word})" for word in keywords.get(key, ()))
        numbered = (f"{names[key]} ({number})" for number in range(2, len(names) + 2))
        result[key] = next(name for name in (names[key], *own, *numbered) if name not in taken)
        taken.add(result[key])
    return result
