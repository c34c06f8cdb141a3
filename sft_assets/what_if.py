"""`sft what-if`: a state as it would come out under other settings. Nothing is stored.

sft what-if combined --set sources.questions.weight=0.5 --set repairs='[mojibake]'

kept            436 -> 402
not_sampled       0 ->  34
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import yaml
from pydantic import ValidationError

from sft_assets.asset import Asset, warehouse
from sft_assets.errors import SftError, did_you_mean
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe, model_at
from sft_assets.runs import INPUTS, input_version
from sft_assets.warehouse.build import Build
from sft_assets.warehouse.versions import read_versions

SAMPLE = 10
READS = {"scored": ("rule_hits",), "augmented": ("scored", "deduped")}  # what a state reads of other sections


@dataclass
class WhatIf:
    """Counts by what became of rows: (now, then). `go` and `come`: some of the rows that would leave or enter."""

    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    edits: dict[str, tuple[int, int]] = field(default_factory=dict)
    marks: dict[str, tuple[int, int]] = field(default_factory=dict)  # kept rows that are marked for review, by reason
    gone: int = 0
    came: int = 0
    changed: int = 0
    go: list[tuple[str, str, str]] = field(default_factory=list)  # row, reason, evidence
    come: list[tuple[str, str]] = field(default_factory=list)  # row, what it says
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # what the state has to show of either side of a cut


class _Discard(Exception):
    """Ends a build of which nothing is to stay."""


def changed_recipe(recipe: Recipe, section: str, settings: Sequence[str]) -> Recipe:
    """The recipe with `KEY=VALUE` settings: keys of the section, or full paths such as sources.NAME.weight.

    Raises:
        SftError: a setting names nothing that there is, or its value cannot be.
    """
    data = recipe.model_dump(mode="json", exclude_unset=True)
    data["sources"] = [s.model_dump(mode="json", exclude_unset=True) | {"name": s.name} for s in recipe.sources]
    for setting in settings:
        name, given, text = setting.partition("=")
        if not given:
            raise SftError(f"--set {setting}: say KEY=VALUE, such as --set threshold=0.7")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        steps = name.strip().split(".")
        if steps[0] == "sources":
            _set_source(recipe, data, setting, steps, value)
            continue
        if steps[0] in Recipe.model_fields and steps[0] not in (section, "raw", *READS.get(section, ())):
            raise SftError(f"--set {setting}: {section} does not read {steps[0]}; ask what-if of the state that does")
        if steps[0] not in Recipe.model_fields:
            steps = [section, *steps]
        at = data
        for step in steps[:-1]:
            at = at.setdefault(step, {})
            if not isinstance(at, dict):
                raise SftError(f"--set {setting}: {step} is a value, and has no {steps[-1]}")
        at[steps[-1]] = value
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        if wrong["type"] == "extra_forbidden":
            known = model_at(Recipe, wrong["loc"][:-1]).model_fields
            raise SftError(f"--set: there is no {place}; {did_you_mean(str(wrong['loc'][-1]), known)}") from None
        raise SftError(f"--set: {place}: {wrong['msg'].removeprefix('Value error, ')}") from None


def _set_source(recipe: Recipe, data: dict[str, Any], setting: str, steps: list[str], value: Any) -> None:
    if len(steps) < 3:
        raise SftError(f"--set {setting}: say sources.NAME.FIELD=VALUE")
    name, key = ".".join(steps[1:-1]), steps[-1]
    entry = next((entry for entry in data["sources"] if entry["name"] == name), None)
    if entry is None:
        raise SftError(f"--set {setting}: {did_you_mean(name, [s.name for s in recipe.sources], 'the recipe names')}")
    entry[key] = value


def what_if(asset: Asset, folder: Folder, recipe: Recipe, wait: float | None = None) -> WhatIf:
    """Build the state under `recipe` on what stands in the database, compare with its current version, and forget it.

    Raises:
        SftError: the state or what it is made of was never built, or it writes more than its tables.
    """
    fill = asset.fill
    if asset.name == "exported" or not asset.table.is_state or fill is None:
        raise SftError(f"what-if is for states that only write tables; {asset.name} is none of them")
    # it is a question: however much would be quarantined, the answer is the count
    sources = [s.model_copy(update={"max_quarantined": None}) for s in recipe.sources]
    recipe = recipe.model_copy(update={"raw": recipe.raw.model_copy(update={"max_quarantined": 100.0}), "sources": sources})
    with folder.lock(wait), warehouse(folder, recipe).writing() as con:
        known = {v.asset: v for v in read_versions(con)}
        for name in (asset.name, *asset.deps):
            if name not in known and name not in INPUTS:
                raise SftError(f"what-if compares with what is there, and {name} is not yet; `sft run {asset.name}` builds it")
        inputs = {p: known[p].data_version if p in known else input_version(folder, p) for p in asset.deps}
        now = known[asset.name]
        result = WhatIf()
        try:
            with Build.begin(con, asset.table, "what-if", inputs, recipe.engine.keep_versions) as build:
                fill(build, folder, recipe)
                result = _compared(build, now.table, now.report)
                raise _Discard
        except _Discard:
            return result


def _compared(build: Build, now: str, report: Mapping[str, Any]) -> WhatIf:
    then = build.report()
    result = WhatIf()
    result.counts["kept"] = (report["kept"], then["kept"])
    for kind in ("dropped", "quarantined"):
        for reason in sorted({*report[kind], *then[kind]}, key=lambda r: -max(report[kind].get(r, 0), then[kind].get(r, 0))):
            result.counts[reason] = (report[kind].get(reason, 0), then[kind].get(reason, 0))
    for what in sorted({*report["edited"], *then["edited"]}):
        result.edits[what] = (report["edited"].get(what, 0), then["edited"].get(what, 0))
    before, after = (some.get("review_reasons", {}) for some in (report, then))
    result.marks = {reason: (before.get(reason, 0), after.get(reason, 0)) for reason in sorted({*before, *after})}
    table = build.table
    result.gone = build.value(f"SELECT count(*) FROM {now} ANTI JOIN {table} USING (row_id)")
    result.came = build.value(f"SELECT count(*) FROM {table} ANTI JOIN {now} USING (row_id)")
    texts = "content_hash" in build.spec.columns
    if texts:
        result.changed = build.value(
            f"SELECT count(*) FROM {table} AS t JOIN {now} AS n USING (row_id) WHERE t.content_hash <> n.content_hash"
        )
    result.go = build.con.execute(f"""
        SELECT left(n.row_id::VARCHAR, 8), coalesce(d.reason, ''), coalesce(d.evidence, '')
        FROM (SELECT row_id FROM {now} ANTI JOIN {table} USING (row_id)) AS n
        LEFT JOIN {build.ledger("dropped")} AS d USING (row_id)
        ORDER BY ALL LIMIT {SAMPLE}
    """).fetchall()
    come = f"""
        SELECT left(row_id::VARCHAR, 8), {"left(messages[-1].content, 200)" if texts else "''"}
        FROM {table} {"JOIN store.contents USING (content_hash)" if texts else ""} ANTI JOIN {now} USING (row_id)
        ORDER BY 1 LIMIT {SAMPLE}
    """
    result.come = build.con.execute(come).fetchall()
    result.samples = {name: then[name] for name in then if name.startswith("sample_just_") and then[name]}
    if "review_reasons" in build.spec.columns:
        result.samples |= {f"sample_{side}": some for side in ("marked", "unmarked") if (some := _marks(build, now, side))}
    return result


def _marks(build: Build, now: str, side: str) -> list[dict[str, Any]]:
    """Rows that would be marked for review and are not, or the other way round."""
    more, less = (build.table, now) if side == "marked" else (now, build.table)
    rows = build.con.execute(f"""
        SELECT m.review_reasons[1], left(row_id::VARCHAR, 8), left(messages[-1].content, 200)
        FROM {more} AS m JOIN {less} AS l USING (row_id) JOIN store.contents AS t ON t.content_hash = m.content_hash
        WHERE m.verdict = 'review' AND l.verdict != 'review' ORDER BY row_id LIMIT {SAMPLE}
    """).fetchall()
    return [{"reason": reason, "row": row, "text": text} for reason, row, text in rows]


def is_nothing(result: WhatIf) -> bool:
    """Whether nothing at all would be different."""
    pairs = [*result.counts.values(), *result.edits.values(), *result.marks.values()]
    return all(now == then for now, then in pairs) and not (result.gone or result.came or result.changed)


def evidence_text(evidence: str) -> str:
    """Evidence for people: 'jaccard 0.83, kept 51ab...'."""
    value = orjson.loads(evidence) if evidence else {}
    return ", ".join(f"{k} {v}" for k, v in value.items())
