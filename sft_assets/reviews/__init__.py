"""What people decide about rows, and how it comes back: the review loop.

decisions.py   D/reviews.jsonl, one decision a line            counting.py    which of them count, where reviewers differ
applying.py    how a state applies those that it is to apply   selection.py   `sft select`: one decision about many rows
importing.py   answers to a queue become decisions             checking.py    what an answer has to be, current.py: its row
answers.py     the shape of an answer in a file                readers.py     JSON lines, CSV and other tools' exports
lessons.py     what people teach: agreement.py, of reviewers, precision.py, of the pipeline, and thresholds.py
"""

from sft_assets.reviews.decisions import (
    APPLYING,
    Decision,
    Reviews,
    State,
    Verdict,
    append,
    decided,
    read,
    version,
)

__all__ = [
    "APPLYING",
    "Decision",
    "Reviews",
    "State",
    "Verdict",
    "append",
    "decided",
    "read",
    "version",
]
