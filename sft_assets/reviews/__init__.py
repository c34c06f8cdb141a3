"""What people decide about rows, and how it comes back: the review loop.

decisions.py   D/reviews.jsonl, one decision a line            counting.py    which of them count, where reviewers differ
applying.py    how a state applies those that it is to apply   selection.py   `sft select`: one decision about many rows
"""

from sft_assets.reviews.applying import KEPT, apply, record
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
    "KEPT",
    "Decision",
    "Reviews",
    "State",
    "Verdict",
    "append",
    "apply",
    "decided",
    "read",
    "record",
    "version",
]
