"""What people decide about rows, and how it comes back: the review loop.

decisions.py   D/reviews.jsonl, one decision a line            people.py      who decides, however the name is written
counting.py    which of them count, where reviewers differ     applying.py    how a state applies those that it is to apply
selection.py   `sft select`: one decision about many rows

queue/     what people are asked about           answers/   what they answer becomes decisions
tools/     annotation tools of others            lessons/   what people teach, of the pipeline and of each other
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
