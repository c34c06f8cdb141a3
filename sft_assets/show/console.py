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


def size(number: int) -> str:
    """Bytes for people: 812 bytes, 3.1 kB, 80.2 MB."""
    value, units = float(number), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:,.0f} {units[0]}" if units[0] == "bytes" or value >= 100 else f"{value:,.1f} {units[0]}"


def turns(title: str, messages: Any) -> None:
    if not messages:
        return
    if title:
        out.print(f"  [dim]{plain(title)}[/]")
    for turn in messages:
        calls = f" {turn.tool_calls}" if turn.tool_calls else ""
        out.print(f"    [bold]{turn.role}[/] {plain(short(turn.content + calls, 400))}", soft_wrap=True)
