"""Where everything is printed, and how text of the data is made fit to be shown."""

from __future__ import annotations

from typing import Any

from rich.console import Console

out = Console(highlight=False)


def plain(text: str) -> str:
    """Text of the data or of an error, so that rich takes no bracket of it for markup."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text))


def short(value: Any, length: int = 300) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 1] + "…"


def percent(some: int, of: int) -> str:
    return f"{100 * some / of:.1f} %" if of else ""


def known(number: float | None) -> str:
    if number is None:
        return "?"
    return f"{number:,}" if isinstance(number, int) else f"{number:,.4f}".rstrip("0").rstrip(".")


def turns(title: str, messages: Any) -> None:
    if not messages:
        return
    if title:
        out.print(f"  [dim]{plain(title)}[/]")
    for turn in messages:
        calls = f" {turn.tool_calls}" if turn.tool_calls else ""
        out.print(f"    [bold]{turn.role}[/] {plain(short(turn.content + calls, 400))}", soft_wrap=True)
