"""rule_hits: what the rules found in the rows that came through decontamination, as evidence for `scored`.

    content_hash  rule            turn  start  stop  matched
    6f1c...       mojibake           1     30    33  â€™
    a27e...       refusal            2      0    28  I'm sorry, but I cannot help

A hit is in the text, not in the row: rows of equal content share it. What is to be done about it stands in the recipe's section
`scored`, so that a changed action searches nothing anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from sft_assets.asset import evidence
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.scored.rules import check_names, rules, search_version
from sft_assets.scored.search import Batch, Matcher, RuleHit, search
from sft_assets.warehouse import Build, Law, Table

TABLE = Table(
    "rule_hits",
    columns={
        "content_hash": "UUID",
        "rule": "VARCHAR",
        "turn": "INTEGER",
        "start": "INTEGER",
        "stop": "INTEGER",
        "matched": "VARCHAR",
    },
    is_state=False,
    laws=(
        Law(
            "one_hit_a_turn",
            "a rule hits a turn of a content once",
            "SELECT count(*) - count(DISTINCT (content_hash, rule, turn)) FROM {table}",
        ),
        Law(
            "hits_found_again",
            "what was matched stands in the stored text, at its turn and span",
            """
            SELECT count(*)
            FROM {table} LEFT JOIN store.contents AS t USING (content_hash)
            WHERE t.messages IS NULL
               OR matched NOT IN (
                    substring(t.messages[turn].content, start + 1, stop - start)[:200],
                    coalesce(substring(t.messages[turn].tool_calls, start + 1, stop - start)[:200], '')
               )
            """,
        ),
    ),
)


@evidence(TABLE, deps=("decontaminated",), code=2, data_of_code=search_version)
def rule_hits(build: Build, folder: Folder, recipe: Recipe) -> None:
    """Where the rules of scored/rules hit: of each rule the first hit in each turn of each content."""
    check_names(recipe.rule_hits.skip, f"{folder.recipe}: rule_hits.skip")
    matchers = [Matcher(rule) for rule in rules().values() if rule.name not in recipe.rule_hits.skip]
    current = f"store.contents SEMI JOIN {build.of('decontaminated')} USING (content_hash)"
    ((total,),) = build.con.execute(f"SELECT count(*) FROM {current}").fetchall()
    counts: Counter[str] = Counter()
    done = 0
    for batch in build.stream(f"SELECT content_hash, messages, tools FROM {current}", rows=4096):
        found = search_batch(matchers, batch)
        counts.update(found["rule"].to_pylist())
        build.insert(found)
        done += len(batch)
        build.progress(done, total)
    build.notes |= {"contents": done, "rules": len(matchers), "hits": dict(sorted(counts.items()))}


def search_batch(matchers: Sequence[Matcher], batch: pa.RecordBatch) -> pa.Table:
    """The hits in a batch of content_hash, messages and tools, as rows of the table."""
    found = list(search(matchers, Batch(batch["messages"], batch["tools"])))
    rows = pa.array((row for row, _ in found), pa.int64())
    columns = zip(*(hit for _, hit in found), strict=True) if found else [()] * len(RuleHit._fields)
    types = (pa.string(), pa.int32(), pa.int32(), pa.int32(), pa.string())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return pa.table([batch["content_hash"].take(rows), *arrays], names=list(TABLE.columns))
