"""Queues: the rows that are worth a person's minute, as they were when they were asked about.

    D/queues/20260102T030405Z-1f0c22ab/queue.json    when it was made, of which versions, with which budget and seed
                                       queue.jsonl   an item a line, as any tool can read it

    {"queue": "20260102T030405Z-1f0c22ab", "number": 17, "row_id": "9f3c...", "content_hash": "51ab...", "asked": "audit",
     "about": "deduped near_duplicate", "audit": true, "state": "deduped", "verdict": "dropped",
     "question": "Is this row a duplicate of the other one?", "choices": ["keep", "drop", "edit", "skip"],
     "messages": [{"role": "user", "content": "What is the capital of France?"}, ...], "marks": [],
     "other": {"what": "row", "row_id": "41d0...", "content_hash": "c2b7...", "messages": [...], "marks": []},
     "signals": {"jaccard": 0.91}, "reviewers": []}

An item is asked about one verdict of the pipeline; where an answer to it is applied is in `Item.place`.

item.py     what an item is, and a queue in its folder        making.py      items of what was picked: texts, marks, signals
standing.py how the rows stand, as tables to read             questions.py   what is asked of a row, and what may be answered
kinds.py    what is worth asking about, kind by kind          tables.py      the queue as CSV
picking.py  which of it, within a budget                      exporting.py   `sft review export`: all of that
"""

from sft_assets.reviews.queue.item import ASKED, Item, Mark, Other, Queue, load, names, save

__all__ = ["ASKED", "Item", "Mark", "Other", "Queue", "load", "names", "save"]
