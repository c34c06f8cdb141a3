"""report: the page that tells where the rows came from and where they went: D/report.html.

    section  item      part       figure  value
    funnel   deduped   questions  kept    96
    funnel   deduped   questions  gone    7
    reasons  deduped   near_duplicate  rows  7

The table holds the numbers of the page, the page what they mean, with examples (`report.examples`), charts, the recipe and
every version. It is one file that asks nobody for anything, to be sent to whoever wants to know.
"""

from __future__ import annotations

import hashlib
import os

import orjson
import pyarrow as pa

from sft_assets.asset import model_evidence
from sft_assets.evidence import Evidence
from sft_assets.exported.folder import LATEST
from sft_assets.folder import Folder, write_whole
from sft_assets.recipe import Recipe
from sft_assets.report.page import page
from sft_assets.report.scope import scope_of
from sft_assets.report.section import Section
from sft_assets.report.sections import SECTIONS
from sft_assets.report.sections.summary import summary
from sft_assets.warehouse.build import Law, Table
from sft_assets.warehouse.opening import STATES

EVIDENCE = (
    "benchmarks",
    "contamination_candidates",
    "rule_hits",
    "likelihoods",
    "judgements",
    "contamination_judgements",
    "rewards",
    "topics",
    "map",
    "gaps",
    "generations",
    "generation_scores",
)
NO_RESULTS = frozenset({"sources", "models", "engine"})  # of the recipe: sources are in the parts of raw and combined
TABLE = Table(
    "report",
    columns={"section": "VARCHAR", "item": "VARCHAR", "part": "VARCHAR", "figure": "VARCHAR", "value": "DOUBLE"},
    is_state=False,
    laws=(
        Law(
            "sources_add_up",
            "of every state and source, what came in or was created was kept or is gone",
            """
            SELECT count(*) FROM (
                SELECT item, part FROM {table}
                WHERE section = 'funnel' AND figure IN ('in', 'created', 'kept', 'gone')
                GROUP BY ALL HAVING sum(if(figure IN ('in', 'created'), value, -value)) <> 0
            )
            """,
        ),
        Law(
            "states_agree",
            "what came in, was created, was kept and is gone of all sources is what each state has counted itself",
            """
            SELECT count(*) FROM (
                SELECT item, replace(figure, ' by its report', '') AS counted
                FROM {table} WHERE section = 'funnel'
                GROUP BY ALL HAVING sum(if(figure LIKE '% by its report', -value, value)) <> 0
            )
            """,
        ),
        Law(
            "reasons_add_up",
            "the reasons of a state account for what is gone there",
            """
            SELECT count(*)
            FROM (SELECT item, sum(value) AS gone FROM {table} WHERE section = 'funnel' AND figure = 'gone' GROUP BY item) AS f
            FULL JOIN (SELECT item, sum(value) AS gone FROM {table} WHERE section = 'reasons' GROUP BY item) AS r USING (item)
            WHERE f.gone IS DISTINCT FROM r.gone
            """,
        ),
    ),
)


def _shown(recipe: Recipe) -> str:
    """Ten hex digits over what of the recipe the page shows: all that any result depends on."""
    parts = {name: recipe.part(name) for name in Recipe.model_fields if name not in NO_RESULTS}
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:10]


@model_evidence(TABLE, deps=("source_files", "reviews", *STATES, *EVIDENCE), code=3, digest=_shown)
def report(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
    """Where the rows came from and where they went, by state, source and reason, with examples: a page that can be sent."""
    with evidence.reading() as con:
        scope = scope_of(con, folder, recipe)
        lead = summary(scope)
        sections = [lead]
        for number, section in enumerate(SECTIONS, 1):
            sections.append(section(scope))
            evidence.progress(number, len(SECTIONS))
    title = recipe.report.title or recipe.exported.name
    html = page(title, lead, sections[1:])
    write_whole(folder.report, html)
    evidence.insert(_table(sections))
    export, latest = lead.values["folder"], folder.exports / LATEST
    evidence.notes |= {
        "files": [folder.report.name, *([export] if export else [])],  # it tells of this export: another one, another report
        "export": export,
        "links": {latest.relative_to(folder.root).as_posix(): os.readlink(latest)} if latest.is_symlink() else {},
        "bytes": len(html),
        "examples": recipe.report.examples,
    }


def _table(sections: list[Section]) -> pa.Table:
    figures = [(section.name, *figure) for section in sections for figure in section.figures]
    columns = zip(*figures, strict=True) if figures else [()] * len(TABLE.columns)
    arrays = [pa.array(c, pa.float64() if n == "value" else pa.string()) for n, c in zip(TABLE.columns, columns, strict=True)]
    return pa.table(arrays, names=list(TABLE.columns))
