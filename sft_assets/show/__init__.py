"""What the command line shows: tables, progress bars, the life of a row. Text of the data is never taken for markup.

show.funnel(space)          states.py    how the dataset stands
show.life(life)             rows.py      rows
show.plan(stale, ...)       plans.py     what would happen
"""

from sft_assets.show.addresses import addresses
from sft_assets.show.checks import canaries, judge
from sft_assets.show.console import plain
from sft_assets.show.diff import as_json, diff
from sft_assets.show.export import finished, previews, upload, uploaded
from sft_assets.show.gc import collected, garbage
from sft_assets.show.lessons import lessons
from sft_assets.show.plans import disk, glimpses, plan, what_if
from sft_assets.show.progress import Bars
from sft_assets.show.reviews import imported, queue
from sft_assets.show.rows import found, life, marked, selected
from sft_assets.show.states import evidence, files, funnel, gaps, ledger, topics

__all__ = [
    "Bars", "addresses", "as_json", "canaries", "collected", "diff", "disk", "evidence", "files", "finished", "found", "funnel",
    "gaps", "garbage", "glimpses", "imported", "judge", "ledger", "lessons", "life", "marked", "plain", "plan", "previews",
    "queue", "selected", "topics", "upload", "uploaded", "what_if",
]  # fmt: skip
