"""generation_scores: what the dear gates say of generated rows, and where these belong.

    row_id   likelihood_status  likelihood_ifd  judge_scores      topic_name           map_x  style_length  style_difficulty
    7c20...  scored             0.41            {helpfulness: 4}  fractions, percent   3.11   short         medium
    b1d4...  too_long           NULL            {}                tides, water, moon   0.20   long          easy

Only rows that passed the cheap gates (`generation_checks`) are asked about. Scores are of the content, as those of source rows
are: the same models, the same caches. What an enabled gate left without a score is not accepted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.asset import model_evidence
from sft_assets.augmented.gates.placing import Placed, place
from sft_assets.clustered.descriptors.asset import TABLE as DESCRIPTORS
from sft_assets.clustered.descriptors.questions import questions_version
from sft_assets.clustered.descriptors.style import describe
from sft_assets.clustered.embeddings import cached_vectors, embed_contents, hashes_of, places_of, read_vectors
from sft_assets.engine import engine_of
from sft_assets.evidence import Estimate, Evidence
from sft_assets.folder import Folder
from sft_assets.models.asking import label, open_door
from sft_assets.models.causal import Losses
from sft_assets.models.embedder import Embedder
from sft_assets.models.reward import Reward
from sft_assets.models.vectors import Vectors
from sft_assets.recipe import Recipe
from sft_assets.scored.judgements.asset import judge
from sft_assets.scored.judgements.rubrics import rubrics, version
from sft_assets.scored.likelihoods import NUMBERS, CausalScorer
from sft_assets.scored.likelihoods import table_of as likelihood_table
from sft_assets.scored.local_scores import gather_chosen
from sft_assets.scored.rewards import RewardScorer
from sft_assets.scored.rewards import table_of as reward_table
from sft_assets.scored.wanted import Selection
from sft_assets.warehouse.build import Law, Table

STYLES = [name for name in DESCRIPTORS.columns if name != "content_hash"]
TABLE = Table(
    "generation_scores",
    columns={
        "row_id": "UUID",
        "content_hash": "UUID",
        "likelihood_status": "VARCHAR",
        **{f"likelihood_{name}": "DOUBLE" for name in NUMBERS},
        "judge_status": "VARCHAR",
        "judge_scores": "MAP(VARCHAR, DOUBLE)",
        "judge_model": "VARCHAR",
        "reward_status": "VARCHAR",
        "reward": "DOUBLE",
        "topic_id": "INTEGER",
        "topic_name": "VARCHAR",
        "topic_group": "INTEGER",
        "topic_group_name": "VARCHAR",
        "topic_similarity": "FLOAT",
        "map_x": "FLOAT",
        "map_y": "FLOAT",
        **{f"style_{name}": DESCRIPTORS.columns[name] for name in STYLES},
    },
    is_state=False,
    laws=(
        Law(
            "scored_where_passed",
            "every generated row that passed the cheap gates is here, once, and no other",
            """
            SELECT (SELECT count(*) FROM (FROM generation_checks WHERE gate IS NULL) AS c FULL JOIN {table} AS s USING (row_id)
                    WHERE c.row_id IS NULL OR s.row_id IS NULL)
                 + (SELECT count(*) - count(DISTINCT row_id) FROM {table})
            """,
        ),
    ),
)
OFF = "off"  # the status of a gate that the recipe does not ask for
UNSCORED = "unscored"  # of one that a cap kept from asking


def _version(folder: Folder, recipe: Recipe) -> str:
    asked = version(rubrics(recipe.judgements.rubrics, folder.prompts)) if recipe.generation_scores.judge else ""
    return f"{questions_version()}{asked}"


def _estimate(evidence: Evidence, folder: Folder, recipe: Recipe, bound: bool, most: int | None) -> Estimate:
    """What scoring would take."""
    section = recipe.generation_scores
    models = [
        *([recipe.likelihoods.model] if section.likelihood else []),
        *([label(recipe.judgements.model)] if section.judge else []),
        *([recipe.rewards.model] if recipe.rewards.model and section.reward else []),
    ]
    name = ", ".join(dict.fromkeys(models)) or "none"
    if not recipe.generations.methods.chosen or not models:
        return Estimate(name, 0, 0, local=True)
    if bound:
        return Estimate(name, None, None, calls=section.calls, bound=True, local=not section.judge)
    with evidence.reading() as con:
        ((rows,),) = con.execute(f"SELECT count(*) FROM {evidence.of('generation_checks')} WHERE gate IS NULL").fetchall()
    return Estimate(
        name, rows, rows, calls=rows * len(recipe.judgements.rubrics) if section.judge else None, local=not section.judge
    )


@model_evidence(
    TABLE,
    deps=("generations", "generation_checks", "embeddings", "projection", "topics"),
    code=1,
    estimate=_estimate,
    data_of_code=_version,
    kinds=["openai", "pytorch"],
)
def generation_scores(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
    """Likelihood, judgement and reward of each generated row that passed the cheap gates; its topic, place and style."""
    with evidence.reading() as con:
        rows = con.sql(f"""
            SELECT row_id, g.content_hash
            FROM {evidence.of("generations")} AS g
            SEMI JOIN (FROM {evidence.of("generation_checks")} WHERE gate IS NULL) USING (row_id)
            ORDER BY row_id
        """).to_arrow_table()
        contents = con.from_arrow(rows).select("content_hash").distinct().order("content_hash").to_arrow_table()
    if not len(rows):
        evidence.notes |= {"rows": 0}
        return
    columns: dict[str, dict[bytes, Any]] = defaultdict(dict)
    _likelihoods(evidence, folder, recipe, contents, columns)
    _judgements(evidence, folder, recipe, contents, columns)
    _rewards(evidence, folder, recipe, contents, columns)
    _places(evidence, folder, recipe, contents, columns)
    _styles(evidence, contents, columns)
    hashes = hashes_of(rows)
    made = {
        name: [columns[name].get(content) for content in hashes]
        for name in TABLE.columns
        if name not in ("row_id", "content_hash")
    }
    judged = [list((scores or {}).items()) for scores in made.pop("judge_scores")]
    types = {
        "VARCHAR": pa.string(),
        "DOUBLE": pa.float64(),
        "FLOAT": pa.float32(),
        "INTEGER": pa.int32(),
        "BOOLEAN": pa.bool_(),
    }
    table = {"row_id": rows["row_id"], "content_hash": rows["content_hash"]}
    table |= {name: pa.array(values, types[TABLE.columns[name]]) for name, values in made.items()}
    table["judge_scores"] = pa.array(judged, pa.map_(pa.string(), pa.float64()))
    evidence.insert(pa.table(table))
    evidence.notes |= {
        "rows": len(rows),
        **{f"{gate}_statuses": dict(Counter(made[f"{gate}_status"])) for gate in ("likelihood", "judge", "reward")},
    }


def _chosen(contents: pa.Table, known: Collection[bytes]) -> Selection:
    """All contents, those that were scored before first."""
    hashes = hashes_of(contents)
    before = sorted(content for content in hashes if content in known)
    after = [content for content in hashes if content not in known]
    return Selection(pa.table({"content_hash": uuids([*before, *after])}), len(hashes), len(before))


def _likelihoods(evidence: Evidence, folder: Folder, recipe: Recipe, contents: pa.Table, columns: dict[str, Any]) -> None:
    hashes = hashes_of(contents)
    if not recipe.generation_scores.likelihood:
        columns["likelihood_status"] |= dict.fromkeys(hashes, OFF)
        return
    columns["likelihood_status"] |= dict.fromkeys(hashes, UNSCORED)
    found = gather_chosen(
        evidence, folder, TABLE.name, lambda known: _chosen(contents, known), recipe.generation_scores.minutes,
        len(Losses._fields), lambda: CausalScorer(recipe.likelihoods.model),
        engine_of(recipe.engine, evidence.say),
    )  # fmt: skip
    for row in likelihood_table(found).to_pylist():
        content = row["content_hash"].bytes
        columns["likelihood_status"][content] = row["status"]
        for name in NUMBERS:
            columns[f"likelihood_{name}"][content] = row[name]
    evidence.notes["likelihood"] = {"model": recipe.likelihoods.model, **found.notes}


def _judgements(evidence: Evidence, folder: Folder, recipe: Recipe, contents: pa.Table, columns: dict[str, Any]) -> None:
    section, hashes = recipe.judgements, hashes_of(contents)
    if not recipe.generation_scores.judge:
        columns["judge_status"] |= dict.fromkeys(hashes, OFF)
        return
    prompts = {prompt.sha256: prompt for prompt in rubrics(section.rubrics, folder.prompts)}
    statuses: dict[bytes, list[str]] = defaultdict(list)
    columns["judge_model"] |= dict.fromkeys(hashes, label(section.model))
    with open_door(evidence, folder, recipe, TABLE.name, section.model, recipe.generation_scores) as door:
        for one in judge(evidence, door, prompts, contents):
            statuses[one.content].append(one.score.status)
            if one.score.score is not None:
                columns["judge_scores"].setdefault(one.content, {})[one.rubric] = one.score.score
            evidence.progress(sum(map(len, statuses.values())), len(hashes) * len(prompts))
        evidence.notes["judge"] = {
            "model": label(section.model), "calls": door.spent.calls, "replies_from_cache": door.spent.cached,
            "tokens": door.spent.tokens, "cost": round(door.spent.cost, 6),
            **({"stopped": door.stopped} if door.stopped else {}),
        }  # fmt: skip
        if door.stopped:
            evidence.say(door.stopped)
    for content in hashes:
        said = statuses[content]
        whole = len(said) == len(prompts) and set(said) == {"scored"}
        columns["judge_status"][content] = "scored" if whole else next((s for s in said if s != "scored"), UNSCORED)


def _rewards(evidence: Evidence, folder: Folder, recipe: Recipe, contents: pa.Table, columns: dict[str, Any]) -> None:
    hashes, model = hashes_of(contents), recipe.rewards.model
    if not recipe.generation_scores.reward:
        columns["reward_status"] |= dict.fromkeys(hashes, OFF)
        return
    assert model is not None  # the recipe sees to it
    columns["reward_status"] |= dict.fromkeys(hashes, UNSCORED)
    found = gather_chosen(
        evidence, folder, TABLE.name, lambda known: _chosen(contents, known), recipe.generation_scores.minutes,
        len(Reward._fields), lambda: RewardScorer(model), engine_of(recipe.engine, evidence.say),
    )  # fmt: skip
    for row in reward_table(found, model).to_pylist():
        columns["reward_status"][row["content_hash"].bytes] = row["status"]
        columns["reward"][row["content_hash"].bytes] = row["reward"]


def _places(evidence: Evidence, folder: Folder, recipe: Recipe, contents: pa.Table, columns: dict[str, Any]) -> None:
    """The nearest topic of each content, and a place on the map."""
    if (name := recipe.embeddings.model) is None:
        return
    with evidence.reading() as con:
        known, others = read_vectors(con, evidence.of("embeddings"))
        topics = con.sql(f"""
            SELECT t.content_hash, t.topic, t.topic_name, t.topic_group, t.group_name, x, y
            FROM {evidence.of("topics")} AS t LEFT JOIN {evidence.of("projection")} USING (content_hash)
        """).to_arrow_table()
    if not len(known) or not len(topics):
        return
    embedder, cache, hashes = Embedder(name, windows=recipe.embeddings.windows), Vectors(folder.embeddings), hashes_of(contents)
    embed_contents(evidence, cache, embedder, hashes, engine_of(recipe.engine, evidence.say))
    vectors, _ = cached_vectors(cache, embedder, hashes)
    at = places_of(known, topics["content_hash"].combine_chunks())
    of = np.where(at >= 0, topics["topic"].to_numpy()[at], -1).astype(np.int64)
    placed = place(np.ascontiguousarray(vectors, np.float32), others, of)
    by_topic = {row["topic"]: row for row in topics.select(["topic", "topic_name", "topic_group", "group_name"]).to_pylist()}
    x, y = topics["x"].to_numpy(), topics["y"].to_numpy()
    for content, topic, similarity, nearest in zip(hashes, *_lists(placed), strict=True):
        if topic < 0:
            continue
        row = by_topic[topic]
        columns["topic_id"][content], columns["topic_name"][content] = topic, row["topic_name"]
        columns["topic_group"][content], columns["topic_group_name"][content] = row["topic_group"], row["group_name"]
        columns["topic_similarity"][content] = similarity
        if nearest >= 0 and at[nearest] >= 0:
            columns["map_x"][content], columns["map_y"][content] = float(x[at[nearest]]), float(y[at[nearest]])


def _lists(placed: Placed) -> tuple[list[Any], ...]:
    return placed.topic.tolist(), placed.similarity.round(4).tolist(), placed.nearest.tolist()


def _styles(evidence: Evidence, contents: pa.Table, columns: dict[str, Any]) -> None:
    for batch in evidence.contents(contents):
        for row in describe(batch).to_pylist():
            for name in STYLES:
                columns[f"style_{name}"][row["content_hash"].bytes] = row[name]
