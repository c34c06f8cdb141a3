"""descriptors: how each row is put.

    content_hash  turns  prompt_words  answer_words  length  question  code  math   system  tools  language  difficulty
    6f1c...       2      7             6             short   code      true  false  false   false  en        medium
    a27e...       4      61            148           medium  why       false false  true    false  de        easy

They are of the content: what the mixture of a dataset is described, balanced and coloured by.
"""

from __future__ import annotations

from sft_assets.asset import evidence
from sft_assets.clustered.descriptors.questions import questions_version
from sft_assets.clustered.descriptors.style import describe
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.warehouse.build import Build, Law, Table

BATCH = 4096  # contents

TABLE = Table(
    "descriptors",
    columns={
        "content_hash": "UUID",
        "turns": "INTEGER",
        "prompt_words": "INTEGER",
        "answer_words": "INTEGER",
        "length": "VARCHAR",
        "question": "VARCHAR",
        "code": "BOOLEAN",
        "math": "BOOLEAN",
        "system": "BOOLEAN",
        "tools": "BOOLEAN",
        "language": "VARCHAR",
        "difficulty": "VARCHAR",
    },
    is_state=False,
    laws=(
        Law(
            "one_row_a_content",
            "a content is described once",
            "SELECT count(*) - count(DISTINCT content_hash) FROM {table}",
        ),
        Law(
            "every_content_described",
            "every content of the decontaminated rows is described, and no other",
            """
            SELECT count(*)
            FROM (SELECT DISTINCT content_hash FROM decontaminated) AS d FULL JOIN {table} AS s USING (content_hash)
            WHERE d.content_hash IS NULL OR s.content_hash IS NULL
            """,
        ),
    ),
)


@evidence(TABLE, deps=("decontaminated",), code=1, data_of_code=questions_version)
def descriptors(build: Build, folder: Folder, recipe: Recipe) -> None:
    """Length, turns, question type, code, maths, language and difficulty of each content."""
    current = f"store.contents SEMI JOIN {build.of('decontaminated')} USING (content_hash)"
    total = build.value(f"SELECT count(*) FROM {current}")
    done = 0
    for batch in build.stream(f"SELECT content_hash, messages, tools FROM {current}", rows=BATCH):
        build.insert(describe(batch))
        done += len(batch)
        build.progress(done, total)
    build.notes |= {"contents": done, **summary(build)}


def summary(build: Build) -> dict[str, dict[str, int]]:
    """How many contents have each value."""
    counts = {}
    for name in ("length", "question", "language", "difficulty", "code", "math", "tools", "system", "turns"):
        value = "least(turns, 10)" if name == "turns" else name
        counts[f"by_{name}"] = dict(
            build.con.execute(f"""
                SELECT coalesce({value}::VARCHAR, 'none') AS value, count(*) AS contents
                FROM {build.table} GROUP BY ALL ORDER BY contents DESC, value
            """).fetchall()
        )
    return counts
