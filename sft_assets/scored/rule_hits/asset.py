"""rule_hits: what the rules found in the rows that came through decontamination, and what that is to do.

    content_hash  rule      class        action  about_answers  turn  start  stop  matched
    6f1c...       mojibake  text_faults  review  false             1     30    33  â€™
    a27e...       refusal   refusals     drop    true              2      0    28  I'm sorry, but I cannot help

A hit is in the text, not in the row: rows of equal content share it. `about_answers`: an answer labelled bad is not held to
the rule. Rules, and classes of rules, are switched off (`skip`) and told what to do (`actions`) in the recipe's section.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import pyarrow as pa

from sft_assets.asset import evidence
from sft_assets.engine import Engine, Job, engine_of
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.scored.rule_hits.rules import Action, Rule, actions, check_names, chosen, hits_version
from sft_assets.scored.rule_hits.search import Matcher, search_batch
from sft_assets.warehouse.build import Build, Law, Table

BATCH = 2048  # contents

TABLE = Table(
    "rule_hits",
    columns={
        "content_hash": "UUID",
        "rule": "VARCHAR",
        "class": "VARCHAR",
        "action": "VARCHAR",
        "about_answers": "BOOLEAN",
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


@evidence(TABLE, deps=("decontaminated",), code=3, data_of_code=hits_version)
def rule_hits(build: Build, folder: Folder, recipe: Recipe) -> None:
    """Where the rules of scored/rule_hits/rules hit, and what that is to do: of each rule the first hit in each turn of each
    content."""
    check_names(recipe.rule_hits.skip, f"{folder.recipe}: rule_hits.skip")
    check_names(recipe.rule_hits.actions, f"{folder.recipe}: rule_hits.actions")
    rules, what_to_do = chosen(recipe.rule_hits.skip), actions(recipe.rule_hits.actions)
    current = f"store.contents SEMI JOIN {build.of('decontaminated')} USING (content_hash)"
    total = build.value(f"SELECT count(*) FROM {current}")
    counts: Counter[str] = Counter()
    done = 0
    batches = build.stream(f"SELECT content_hash, messages, tools FROM {current}", rows=BATCH)
    for rows, found in search_all(rules, batches, total, engine_of(recipe.engine, build.say)):
        counts.update(found["rule"].to_pylist())
        build.insert(with_actions(found, rules, what_to_do))
        done += rows
        build.progress(done, total)
    build.notes |= {"contents": done, "rules": len(rules), "hits": dict(sorted(counts.items()))}


def search_all(
    rules: Sequence[Rule], batches: Iterable[pa.RecordBatch], total: int, engine: Engine
) -> Iterator[tuple[int, pa.Table]]:
    """How many rows each batch of content_hash, messages and tools has, and the hits in it. total: rows of all batches."""
    job = Job("rules", partial(searching, rules), local="processes", rows=total)  # checks hold the GIL
    with engine.workers(job) as workers:
        yield from workers.map_of((len(batch), batch) for batch in batches)


def searching(rules: Sequence[Rule]) -> Callable[[pa.RecordBatch], pa.Table]:
    """The search for hits of the rules in a batch."""
    return partial(search_batch, [Matcher(rule) for rule in rules])


def with_actions(found: pa.Table, rules: Sequence[Rule], what_to_do: Mapping[str, Action]) -> pa.Table:
    """Hits as rows of the table: with the class of each rule, what it does, and whether it is about answers."""
    about = {rule.name: (rule.class_name, what_to_do[rule.name], rule.about_answers) for rule in rules}
    more = [about[name] for name in found["rule"].to_pylist()]
    columns = zip(*more, strict=True) if more else ([], [], [])
    types = {"class": pa.string(), "action": pa.string(), "about_answers": pa.bool_()}
    for (name, kind), values in zip(types.items(), columns, strict=True):
        found = found.append_column(name, pa.array(values, kind))
    return found.select(list(TABLE.columns))
