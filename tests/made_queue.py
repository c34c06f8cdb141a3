"""A queue with an item of every shape that a tool has to show, for the tests of the annotation tools.

made_queue()  ->  Queue of ten items: a duplicate with marks, a test item, a pair, two rows to compare, hostile text, ...
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sft_assets.reviews.queue import Item, Mark, Other, Queue
from tests.served import HOSTILE

NAME = "20260102T030405Z-1f0c22ab"
SAY = ["keep", "drop", "edit", "review", "skip"]
TURNED = "pay \u202e0001\u202c euros\x00 \u200fnow"  # marks of direction and a NUL: nothing of it would be seen


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def item(number: int, **more: Any) -> Item:
    """An item; what matters is given."""
    values: dict[str, Any] = {
        "queue": NAME, "number": number, "row_id": UUID(int=number), "content_hash": UUID(int=1000 + number), "asked": "marked",
        "about": "review mojibake", "state": "scored", "verdict": "review", "source": "chats",
        "question": "Should this row stay?", "choices": SAY,
        "messages": [user("What is the capital of France?"), assistant("Paris.")],
    }  # fmt: skip
    return Item.model_validate({**values, **more})


def made_queue() -> Queue:
    """The queue."""
    other = {"row_id": UUID(int=99), "content_hash": UUID(int=1099)}
    both = [user("What is the capital city of France?"), assistant("Lyon.")]
    items = [
        item(1, asked="audit", about="deduped near_duplicate", audit=True, state="deduped", verdict="dropped",
             question="Is this row a duplicate of the other one?", signals={"jaccard": 0.91},
             marks=[Mark(turn=1, start=12, stop=19, why="differs")],
             other=Other(what="row", messages=both, marks=[Mark(turn=1, start=12, stop=24)], **other)),
        item(2, asked="paraphrase", about="decontaminated paraphrase", state="decontaminated",
             question="Is this row a test item in other words?",
             other=Other(what="test item", name="geography 17", text="Name the capital of France.",
                         marks=[Mark(turn=0, start=9, stop=16)])),
        item(3, kind="preference", question="Is A the better answer?", choices=["keep", "prefer_b", "drop", "skip"],
             rejected=[assistant("London.")], marks=[Mark(turn=1, start=0, stop=6, why="wrong", rejected=True)]),
        item(4, asked="conflict", about="conflict", state="augmented", choices=["prefer_a", "prefer_b", "tie", "skip"],
             question="Which of the two answers is better?", other=Other(what="row", messages=both, **other)),
        item(5, question=f"Is this right? {HOSTILE}", about=f"scored {HOSTILE}", source=HOSTILE, signals={HOSTILE: HOSTILE},
             messages=[user(f"{HOSTILE} $sft_row_id {{{{ row_id }}}}"), assistant(f"It is markup: {HOSTILE}")]),
        item(6, messages=[user(TURNED), assistant("Grüße 👩‍👩‍👧 ⟦no mark⟧\n\n  two spaces\tand a tab")]),
        item(7, kind="prompt", messages=[user("Only a question.")], choices=["keep", "drop", "skip"]),
        item(8, tools='[{"name": "add"}]', messages=[
            user("What is 2 + 3?"), assistant("", tool_calls='[{"name": "add", "arguments": "{}"}]'),
            {"role": "tool", "content": "5"}, assistant("5", reasoning="Easy."),
        ]),
        item(9, messages=[user("Say a & b, often."), assistant("a & b " * 20)]),
        item(10, asked="generated", about="generated", generated=True, state="augmented", verdict="kept",
             reviewers=["ann", "bob"]),
    ]  # fmt: skip
    return Queue(name=NAME, time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), budget=200, seed=0, items=tuple(items))
