"""What people teach, `sft review results`: how far they agree, how often the pipeline is right, where they draw its lines.

learnt.py      all of it                                     agreement.py    of reviewers with each other
precision.py   of the pipeline, stratum by stratum           thresholds.py   the thresholds that decisions suggest
"""

from sft_assets.reviews.lessons.learnt import Lessons, about_the_row, heard, lessons, results

__all__ = ["Lessons", "about_the_row", "heard", "lessons", "results"]
