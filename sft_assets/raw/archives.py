"""What zip and tar archives share: members as streams of bytes, by names that are safe to show. Nothing is written to disk.

    data.zip   chats/a.jsonl        ->   data.zip/chats/a.jsonl
               __MACOSX/._a.jsonl        (passed over)
               ../../etc/passwd     ->   data.zip/\\x2e\\x2e/\\x2e\\x2e/etc/passwd

A member's name is only ever shown, never used as a path. Dots that climb, a leading slash, backslashes and what cannot be seen
are written as \\x.. , so that two names are never shown alike and none can be taken for a place on this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sft_assets.raw.containers import Refused

MOST_MEMBERS = 100_000
NOT_A_FILE = "is a link or device, which is not followed; put the file itself into the archive"


@dataclass
class Member:
    """A file of an archive: its name as it is shown, and its unpacked bytes, to be read before the next member is asked for."""

    name: str
    stream: Iterator[bytes]


def shown_name(name: str) -> str:
    """A member's name, written so that it cannot be misread (see above)."""
    steps = name.replace("\\", "\\x5c").split("/")
    steps = [r"\x2e" * len(step) if step in (".", "..") else step for step in steps]
    path = "/".join(steps)
    path = r"\x2f" + path[1:] if path.startswith("/") else path
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in path)


class Names:
    """Names by which members are known: an archive may hold two of one name."""

    def __init__(self) -> None:
        self.given: set[str] = set()

    def unique(self, name: str) -> str:
        """
        Raises:
            Refused: the archive has too many members.
        """
        if len(self.given) == MOST_MEMBERS:
            raise too_many()
        name, number = shown_name(name), 1
        result = name
        while result in self.given:
            number += 1
            result = f"{name}#{number}"
        self.given.add(result)
        return result


def too_many() -> Refused:
    return Refused("container", f"has more than {MOST_MEMBERS:,} members; put the records into fewer files")


def is_passed_over(name: str) -> bool:
    """What no person put there: hidden files, and what macOS adds."""
    return any(step == "__MACOSX" or (step.startswith(".") and step.strip(".")) for step in name.split("/"))
