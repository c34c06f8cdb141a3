"""Answers of people to the items of queues, and how they become decisions.

answer.py      the shape of an answer in a file              readers.py    JSON lines, CSV and other tools' exports
checking.py    what an answer has to be                      current.py    whether its row still has the text
importing.py   `sft review import`, and answers of the page
"""

from sft_assets.reviews.answers.answer import Answer

__all__ = ["Answer"]
