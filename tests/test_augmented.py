"""Generation from end to end against a scripted model: each reply ends where it should, and nothing is asked or lost twice."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import yaml

from sft_assets import verbs
from sft_assets.definitions import ASSETS, asset_named
from sft_assets.folder import Folder
from sft_assets.verbs import Workspace
from sft_assets.warehouse import Version, Warehouse
from sft_assets.warehouse.versions import read_versions
from tests import scripted_generation as scripted
from tests.conftest import build, rows, say
from tests.made_rows import REFUSAL
from tests.model_server import Answer, ModelServer, Request, Script, chat
from tests.scripted_generation import ACCEPTED, EITHER, ENDS, MODEL, End, prose, question, recipe, source

pytestmark = pytest.mark.xdist_group("augmented")  # one run is what most of them look at
UP_TO_AUGMENTED = [asset.name for asset in ASSETS if asset.name not in ("map", "exported", "report")]
GENERATED = UP_TO_AUGMENTED[UP_TO_AUGMENTED.index("generations") :]
Sft = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(scripted.script) as served, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", served.url)
        patch.setenv("OPENAI_API_KEY", "sk-canary-of-the-tests")
        yield served


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, server: ModelServer) -> Folder:
    """All methods over all cases, with a topic; not to be changed."""
    folder = verbs.init(tmp_path_factory.mktemp("augmented") / "data")
    scripted.fill(folder)
    say(folder, **recipe())
    Workspace.open(folder.root).run(say=lambda _: None)
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, server: ModelServer) -> Folder:
    """Fewer rows, no topics, and no method; not to be changed."""
    folder = verbs.init(tmp_path_factory.mktemp("bare") / "data")
    scripted.fill(folder, FEW)
    say(folder, **small())
    run(folder)
    return folder


FEW = scripted.TOWNS[13:21]  # for which no reply is broken


def small(**generations: Any) -> dict[str, Any]:
    """The recipe of `bare`, with methods."""
    return recipe(embeddings={"model": None}, generations={"model": MODEL, **generations})


def run(folder: Folder, *names: str, again: bool = False) -> set[str]:
    """Bring the assets up to augmented up to date, or these; the names of those that were made anew. (Without Dagster, whose
    event log takes most of the time of a run this small.)"""
    before = {name: version.number for name, version in reports(folder).items()}
    build(folder, *map(asset_named, names or UP_TO_AUGMENTED), again=again)
    return {name for name, version in reports(folder).items() if version.number != before.get(name)}


def copy(folder: Folder, path: Path) -> Folder:
    shutil.copytree(folder.root, path / "data", symlinks=True)
    return Folder.at(path / "data")


def reports(folder: Folder) -> dict[str, Version]:
    """The current version of each asset."""
    if not folder.database.exists():
        return {}
    with Warehouse(folder.database).reading() as con:
        return {version.asset: version for version in read_versions(con)}


def report(folder: Folder, asset: str) -> Any:
    return reports(folder)[asset].report


def asked_during(server: ModelServer, work: Callable[[], Any]) -> list[Request]:
    """The requests that came while something was done."""
    before = len(server.seen)
    work()
    return server.seen[before:]


@pytest.fixture(name="sft")
def said(sft: Callable[..., tuple[int, str, str]]) -> Sft:
    """Run `sft ARGS`: (exit code, what it printed)."""

    def call(*args: str) -> tuple[int, str]:
        code, out, err = sft(*args)
        return code, out + err

    return call


# ----------------------------------------------------------------------------------------------- where every reply ends

MADE = """
    SELECT g.method, p.messages[1].content, coalesce(t.messages[1].content, g.draft ->> '$[0][1]'), g.row_id::VARCHAR,
        a.row_id IS NOT NULL, d.reason, d.evidence ->> 'gate'
    FROM generations AS g
    LEFT JOIN store.contents AS t ON t.content_hash = g.content_hash
    LEFT JOIN combined AS p ON p.row_id = g.parents[1]
    LEFT JOIN augmented AS a ON a.row_id = g.row_id
    LEFT JOIN dropped AS d ON d.row_id = g.row_id AND d.state = 'augmented'
"""


def ended(folder: Folder) -> dict[str, dict[str, list[End]]]:
    """By method and what it was made of (of documents: the question) where each row ended."""
    found: dict[str, dict[str, list[End]]] = defaultdict(lambda: defaultdict(list))
    for method, parent, own, _, there, reason, gate in rows(folder, MADE):
        assert there == (reason is None), "a row is there or was dropped, never both or neither"
        found[method][own if method == "documents" else parent].append(ACCEPTED if there else (gate, reason))
    return found


def row_of(folder: Folder, method: str, what: str) -> str:
    """The id of what a method made of a row."""
    (found,) = [row[3] for row in rows(folder, MADE) if row[0] == method and what in (row[1], row[2])]
    return str(found)


@pytest.mark.parametrize("method", sorted(ENDS))
def test_each_reply_ends_exactly_where_it_should(whole: Folder, method: str) -> None:
    found = ended(whole)[method]
    expected = {key: [end] for key, end in ENDS[method].items() if end != EITHER}
    assert {key: found[key] for key in expected} == expected
    others = {key: ends for key, ends in found.items() if key not in ENDS[method] and key is not None}
    assert all(set(ends) == {ACCEPTED} for ends in others.values()), "what no case is made of has good replies"
    assert others or method in ("answers", "documents")


def test_of_equal_rows_of_two_methods_one_stays(whole: Folder) -> None:
    found = ended(whole)
    both = [*found["evol_instruct"][source("Ostend")], *found["personas"][source("Ostend")]]
    assert sorted(both) == [ACCEPTED, ("one_another", "exact_duplicate")]


def test_of_two_seeds_with_the_same_instruction_the_first_has_it(whole: Folder) -> None:
    found = ended(whole)["self_instruct"]
    assert sorted([*found[source("Kiel")], *found[source("Lisbon")]]) == [ACCEPTED, ("method", "rouge")]


def test_a_chunk_for_which_there_are_no_questions_is_told_of_as_well(whole: Folder) -> None:
    assert ended(whole)["documents"][None] == [("method", "unparsed")]  # type: ignore[index]
    sql = "SELECT document, reason FROM generations WHERE method = 'documents' AND content_hash IS NULL AND draft IS NULL"
    assert rows(whole, sql) == [("broken.txt", "unparsed")]


def test_a_document_whose_licence_is_not_allowed_is_asked_nothing_about(whole: Folder, server: ModelServer) -> None:
    assert rows(whole, "SELECT license FROM chunks WHERE text LIKE '%slipways%'") == [("cc-by-nc-4.0",)]
    assert not any("slipways" in orjson.dumps(request.body).decode() for request in server.seen)


def test_a_duplicate_names_the_row_that_it_repeats_a_dropped_one_too(whole: Folder) -> None:
    sql = """
        SELECT c.messages[1].content FROM dropped AS d JOIN combined AS c ON c.row_id = (d.evidence ->> 'of')::UUID
        WHERE d.row_id = ?::UUID AND d.state = 'augmented'
    """
    of = {
        ("evol_instruct", "Jaffa"): source("Kiel"),
        ("evol_instruct", "Lisbon"): source("Malaga"),
        ("personas", "Hull"): source("Trieste"),
        ("self_instruct", "Jaffa"): scripted.LEAKED,
    }
    for (method, town), prompt in of.items():
        assert rows(whole, sql, [row_of(whole, method, source(town))]) == [(prompt,)]
    leaked = rows(
        whole, "SELECT state FROM dropped JOIN combined USING (row_id) WHERE messages[1].content = ?", [scripted.LEAKED]
    )
    assert leaked == [("decontaminated",)]


# ------------------------------------------------------------------------------------------------------------- the ledger


def test_nothing_is_lost_between_the_model_and_the_dataset(whole: Folder) -> None:
    said = report(whole, "augmented")
    candidates = report(whole, "generations")["kept"]
    assert said["created"] == candidates > 100
    assert said["in"] + said["created"] == said["kept"] + sum(said["dropped"].values())
    ((there, twice),) = rows(whole, """
        SELECT count(*), count(*) - count(DISTINCT row_id) FROM (
            SELECT row_id FROM augmented WHERE origin = 'generated'
            UNION ALL SELECT row_id FROM dropped WHERE state = 'augmented'
        ) SEMI JOIN generations USING (row_id)
    """)  # fmt: skip
    assert (there, twice) == (candidates, 0)


def test_funnel_adds_up_and_every_accepted_row_has_its_cost(whole: Folder) -> None:
    said, made = report(whole, "augmented"), report(whole, "generations")
    for method, counts in said["funnel"].items():
        gates = sum(n for name, n in counts.items() if name != "candidates")
        assert counts["candidates"] == gates == made["methods"][method]["candidates"], method
    accepted = {method: counts["accepted"] for method, counts in said["funnel"].items()}
    assert sum(accepted.values()) == said["accepted"] == said["kept"] - said["in"]
    spent = dict(rows(whole, "SELECT method, sum(cost) FROM generations GROUP BY 1"))
    assert set(accepted) == set(ENDS)
    for method, cost in said["cost_per_accepted_row_by_method"].items():
        assert cost == pytest.approx(spent[method] / accepted[method], abs=1e-6) and cost > 0
    topics = said["cost_per_accepted_row_by_topic"]
    assert topics and all(cost is None or cost > 0 for cost in topics.values())


def test_what_a_run_took_is_shared_out_among_its_rows(whole: Folder) -> None:
    made = report(whole, "generations")
    ((tokens, cost),) = rows(whole, "SELECT sum(tokens), sum(cost) FROM generations")
    again = made["replies_from_cache"]  # each counts for its row too, as if it had been asked by itself
    each = 100 + 20, (100 * 1000 + 20 * 2000) / 1e6  # tokens of a request, and what they cost
    assert tokens == pytest.approx(made["prompt_tokens"] + made["completion_tokens"] + again * each[0])
    assert cost == pytest.approx(made["cost"] + again * each[1]) and cost == pytest.approx(tokens / each[0] * each[1])
    assert made["calls"] * each[0] == made["prompt_tokens"] + made["completion_tokens"]


# ------------------------------------------------------------------------------------------------- what a row tells of itself


def test_masks_hold_for_chunks_and_for_what_the_model_writes(whole: Folder, server: ModelServer) -> None:
    assert not any(scripted.EMAIL in orjson.dumps(request.body).decode() for request in server.seen)
    row = row_of(whole, "answers", question("prompt email"))
    ((text,),) = rows(whole, "SELECT messages[-1].content FROM augmented WHERE row_id = ?::UUID", [row])
    assert scripted.EMAIL not in text and "before you come" in text
    assert rows(whole, "SELECT what FROM edits WHERE state = 'augmented' AND row_id = ?::UUID", [row]) == [("masked_email",)]
    for table in ("store.contents", "generations", "generation_checks", "dropped"):
        sql = f"SELECT count(*) FROM {table} AS t WHERE to_json(t)::VARCHAR LIKE ?"
        assert rows(whole, sql, [f"%{scripted.EMAIL}%"]) == [(0,)], table
    cut = rows(whole, "SELECT messages[-1].content FROM generations WHERE method = 'answers' AND reason = 'truncated'")
    assert len(cut) == 1 and cut[0][0].startswith("It was cut off at "), "what fell is masked as well"


def test_a_mended_answer_says_so_and_spans_point_at_the_document(whole: Folder) -> None:
    found = rows(whole, """
        SELECT document, generated_by -> 'spans', (generated_by -> 'choices' ->> 'repairs')::INTEGER
        FROM (SELECT *, generated_by ->> 'document' AS document FROM augmented) WHERE generated_method = 'documents'
    """)  # fmt: skip
    assert sorted(repairs for *_, repairs in found) == [0, 0, 1]
    for document, spans, _ in found:
        text = (whole.documents / document).read_text()
        for span in json.loads(spans):
            assert text[span["start"] : span["stop"]] == span["quote"] and span["quote"]


def test_a_row_carries_the_licences_of_all_that_it_is_made_of(whole: Folder) -> None:
    found = rows(whole, "SELECT messages[1].content, license, len(generated_parents) FROM augmented WHERE origin = 'generated'")
    by_prompt = {prompt: (license, parents) for prompt, license, parents in found}
    assert by_prompt[scripted.RIGA[0]] == ("apache-2.0 AND mit", 2)  # a pair of the answers of two sources
    assert by_prompt["What happens to the harbour of Parrsboro?"] == ("CC-BY-4.0", 0)
    assert by_prompt["In what does the office of Ostend keep letters?"] == ("mit", 0)
    assert {license for _, license, _ in found} == {"apache-2.0 AND mit", "CC-BY-4.0", "mit", "apache-2.0"}
    assert rows(whole, "SELECT count(*) FROM augmented WHERE license LIKE '%nc%' OR license LIKE '%unknown%'") == [(0,)]


def test_explain_tells_how_a_row_was_made_and_the_life_of_what_it_was_made_from(whole: Folder, sft: Sft) -> None:
    row = row_of(whole, "evol_instruct", source("Trieste"))
    ((prompts, parent, place),) = rows(whole, """
        SELECT g.prompts, c.row_id::VARCHAR, c.source_row FROM generations AS g JOIN combined AS c ON c.row_id = g.parents[1]
        WHERE g.row_id = ?::UUID
    """, [row])  # fmt: skip
    code, out = sft("explain", row, "--data", str(whole.root))
    assert code == 0
    hashes = json.loads(prompts)
    assert "answer" in hashes and len(hashes) == 3
    for told in ("evol_instruct", MODEL, *hashes, *(sha[:12] for sha in hashes.values()), parent[:8], "passed every gate"):
        assert told in out
    assert f"b.jsonl:{place}" in out and "deduped" in out, "the parent's own story"


def test_explain_of_a_fallen_row_names_the_gate(whole: Folder, sft: Sft) -> None:
    for method, town, told in (
        ("personas", "Genoa", ("changed_facts", "method", "1841")),
        ("evol_instruct", "Lisbon", ("near_duplicate", "near_duplicates", source("Malaga")[:30])),
        ("evol_instruct", "Naples", ("benchmark_item", "exam")),
    ):
        code, out = sft("explain", row_of(whole, method, source(town)), "--data", str(whole.root))
        assert code == 0 and "dropped" in out
        assert all(word in out for word in told), out


def test_rows_have_a_topic_and_the_gaps_are_told_before_and_after(whole: Folder) -> None:
    ((untold,),) = rows(whole, "SELECT count(*) FROM augmented WHERE origin = 'generated' AND topic_name IS NULL")
    assert untold == 0
    said = report(whole, "augmented")
    (topic,) = said["gaps_by_topic"]
    ((hard, made),) = rows(whole, """
        SELECT count(*) FILTER (style_difficulty = 'hard' AND style_length = 'short'), count(*)
        FROM augmented WHERE origin = 'generated' AND kind = 'sft'
    """)  # fmt: skip
    assert topic["made"] == made and hard > 0
    assert said["missing_before"] == report(whole, "gaps")["missing"] == topic["missing_before"]
    assert said["missing_after"] == topic["missing_after"] == max(said["missing_before"] - hard, 0)


# ------------------------------------------------------------------------------------------------------------- the export


def test_exported_are_generated_rows_and_pairs_each_beside_its_parents(whole: Folder) -> None:
    sides = dict(rows(whole, "SELECT row_id, split FROM exported"))
    made = rows(whole, "SELECT row_id, kind, generated_parents FROM augmented WHERE origin = 'generated'")
    assert all(row in sides for row, *_ in made)
    tied = [(sides[row], sides[parent]) for row, _, parents in made for parent in parents if parent in sides]
    assert len(tied) > 40 and set(tied) == {(side, side) for side in ("train", "validation", "test")}


def test_files_hold_generated_rows_of_both_kinds_and_the_card_all_licences(whole: Folder) -> None:
    (path,) = [whole.root / file for file in report(whole, "exported")["files"]]
    tables = [pq.read_table(file) for file in sorted(path.rglob("*.parquet"))]
    pairs = [row for table in tables if "rejected" in table.column_names for row in table.to_pylist()]
    chats = [row for table in tables if "messages" in table.column_names for row in table.to_pylist()]
    texts = {turn["content"] for row in chats for turn in row["messages"]}
    written = rows(whole, "SELECT kind, messages[1].content, messages[-1].content FROM augmented WHERE origin = 'generated'")
    assert {answer for kind, _, answer in written if kind == "sft"} <= texts
    chosen = {row["chosen"][-1]["content"] for row in pairs}
    assert {answer for kind, _, answer in written if kind == "preference"} <= chosen
    assert all(row["chosen"] != row["rejected"] and row["chosen"][-1]["role"] == "assistant" for row in pairs)
    card = (path / "README.md").read_text()
    front = yaml.safe_load(card[: card.index("---", 4)])
    assert front["license"] == ["apache-2.0", "cc-by-4.0", "mit"]


def test_changed_nothing_is_stale(whole: Folder, server: ModelServer) -> None:
    assert Workspace.open(whole.root).plan() == {}
    assert asked_during(server, lambda: Workspace.open(whole.root).run(say=lambda _: None)) == []


# ---------------------------------------------------------------------------------- what a changed recipe, or people, change


def test_a_changed_threshold_moves_rows_and_asks_nobody(whole: Folder, server: ModelServer, tmp_path: Path) -> None:
    folder = copy(whole, tmp_path)
    near = row_of(folder, "evol_instruct", source("Lisbon")), row_of(folder, "personas", source("Izmir"))
    say(folder, **recipe(deduped={"threshold": 0.995}))
    stale = Workspace.open(folder.root).plan()
    assert "generations" not in stale and {"generation_checks", "augmented"} <= stale.keys()
    assert asked_during(server, lambda: run(folder)) == []
    found = ended(folder)
    assert found["evol_instruct"][source("Lisbon")] == found["personas"][source("Izmir")] == [ACCEPTED]
    assert rows(folder, "SELECT count(*) FROM augmented WHERE row_id IN (?::UUID, ?::UUID)", near) == [(2,)]


def test_a_judge_is_a_gate_and_what_it_could_not_score_stays_out(whole: Folder, server: ModelServer, tmp_path: Path) -> None:
    folder = copy(whole, tmp_path)
    before = ended(folder)
    say(folder, **recipe(generation_scores={"likelihood": False, "judge": True}))
    asked = asked_during(server, lambda: run(folder))
    assert {json.dumps(request.body["response_format"]).count("score") > 0 for request in asked} == {True}
    mumbled = question("prompt mumble")
    assert before["answers"][mumbled] == [ACCEPTED] and ended(folder)["answers"][mumbled] == [("judge", "unscored_judge")]
    assert report(folder, "augmented")["dropped"]["unscored_judge"] == 1

    good = recipe(
        generation_scores={"likelihood": False, "judge": True}, augmented={"thresholds": {"helpfulness": {"drop_below": 4}}}
    )
    say(folder, **good)
    made: set[str] = set()
    assert asked_during(server, lambda: made.update(run(folder))) == []
    assert made == {"augmented"}
    kept = rows(folder, "SELECT messages[-1].content, judge_scores FROM augmented WHERE origin = 'generated'")
    assert kept and all(text.startswith(scripted.GOOD) and scores == {"helpfulness": 4.0} for text, scores in kept)
    low = ended(folder)["answers"][question("prompt good")]
    assert [gate for gate, _ in low] == ["judge"] and "helpfulness" in low[0][1]


def test_people_have_the_last_word_about_generated_rows(whole: Folder, server: ModelServer, tmp_path: Path, sft: Sft) -> None:
    folder = copy(whole, tmp_path)
    fallen, accepted = row_of(folder, "evol_instruct", source("Lisbon")), row_of(folder, "evol_instruct", source("York"))
    for row, decision in ((fallen, "--keep"), (accepted, "--drop")):
        (tmp_path / "rows.txt").write_text(row)
        chosen = (str(tmp_path / "rows.txt"), decision, "--why", "so it is", "--reviewer", "ann")
        code, out = sft("select", *chosen, "--data", str(folder.root))
        assert code == 0, out
    assert set(Workspace.open(folder.root).plan()) == {"augmented", "report"}
    assert asked_during(server, lambda: run(folder)) == []
    assert rows(folder, "SELECT count(*) FROM augmented WHERE row_id = ?::UUID", [fallen]) == [(1,)]
    sql = "SELECT reason, evidence ->> 'gate', evidence ->> 'why' FROM dropped WHERE state = 'augmented' AND row_id = ?::UUID"
    assert rows(folder, sql, [accepted]) == [("reviewed", "people", "so it is")]
    code, out = sft("explain", fallen, "--data", str(folder.root))
    assert code == 0 and "kept by ann" in out


# ------------------------------------------------------------------------------------------------------------ how it is run


def test_a_recipe_without_methods_asks_nobody_and_changes_no_row(bare: Folder, server: ModelServer, tmp_path: Path) -> None:
    folder = copy(bare, tmp_path)
    assert asked_during(server, lambda: run(folder, *GENERATED, again=True)) == []
    assert reports(folder)["augmented"].data_version == reports(bare)["augmented"].data_version
    same = (
        "SELECT count(*) FROM clustered FULL JOIN augmented USING (row_id, content_hash) WHERE clustered.row_id IS NULL OR {}"
    )
    assert rows(folder, same.format("augmented.row_id IS NULL")) == [(0,)]
    said = report(folder, "augmented")
    assert (said["created"], said["kept"], sum(said["dropped"].values())) == (0, said["in"], 0)
    assert "generated_method" in [name for name, *_ in rows(folder, "DESCRIBE augmented")]


def test_gaps_are_shown_with_what_it_would_cost_to_fill_them(
    bare: Folder, server: ModelServer, tmp_path: Path, sft: Sft
) -> None:
    code, out = sft("gaps", "--data", str(bare.root))
    assert code == 0 and "hard" in out and "no method is named" in out
    folder = copy(bare, tmp_path)
    say(folder, **small(methods={"evol_instruct": {}, "personas": {}}))
    before = len(server.seen)
    code, out = sft("gaps", "--data", str(folder.root))
    assert code == 0 and all(word in out for word in ("evol_instruct", "personas", MODEL, "target"))
    assert len(server.seen) == before


METHODS = {"self_instruct": {"rows": 10, "examples": 1}, "personas": {"rows": 10}, "answers": {}}


def test_two_folders_and_any_concurrency_give_the_same_tables(bare: Folder, tmp_path: Path) -> None:
    (tmp_path / "copied").mkdir()
    folder, other = verbs.init(tmp_path / "new" / "data"), copy(bare, tmp_path / "copied")
    scripted.fill(folder, FEW)
    for place, concurrency in ((folder, 1), (other, 16)):
        say(place, **{**small(methods=METHODS), "models": {MODEL: {"concurrency": concurrency}}})
        run(place)
    assert report(other, "augmented")["accepted"] > 10
    for asset in UP_TO_AUGMENTED:
        assert reports(folder)[asset].data_version == reports(other)[asset].data_version, asset


def test_a_cap_ends_a_run_and_the_next_asks_only_for_the_rest(bare: Folder, server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "at once").mkdir()
    folder, other = copy(bare, tmp_path), copy(bare, tmp_path / "at once")
    say(other, **small(methods=METHODS))
    at_once = asked_during(server, lambda: run(other))
    say(folder, **small(methods=METHODS, calls=15))
    first = asked_during(server, lambda: run(folder))
    said = report(folder, "generations")
    assert 0 < len(first) <= 15 and "cap of calls (15)" in said["stopped"] and "run --again generations" in said["stopped"]
    assert said["kept"] < report(other, "generations")["kept"]
    assert asked_during(server, lambda: run(folder)) == [], "what a cap left is nothing stale"
    say(folder, **small(methods=METHODS, calls=1000))
    rest = asked_during(server, lambda: run(folder, "generations", again=True))
    run(folder)
    bodies = [orjson.dumps(request.body) for request in (*first, *rest)]
    assert Counter(bodies) == Counter(orjson.dumps(request.body) for request in at_once), "each is asked once"
    for asset in GENERATED:
        assert reports(folder)[asset].data_version == reports(other)[asset].data_version


def test_more_gaps_ask_only_for_what_is_new(bare: Folder, server: ModelServer, tmp_path: Path) -> None:
    folder = copy(bare, tmp_path)
    asked = []
    for share in (0.3, 0.6):
        say(folder, **{**small(methods={"personas": {}}), "gaps": {"targets": {"difficulty": {"hard": 0.5}}, "share": share}})
        asked.append(asked_during(server, lambda: run(folder)))
    assert all(asked) and report(folder, "generations")["replies_from_cache"] >= len(asked[0]) / 2
    bodies = [orjson.dumps(request.body) for requests in asked for request in requests]
    assert len(set(bodies)) == len(bodies), "nothing is asked twice"


def gives(instruction: str, answer: str) -> Script:
    """A model that gives one row for whatever it is asked."""

    def script(request: Request) -> Answer:
        return chat(json.dumps({"instruction": instruction}) if "response_format" in request.body else answer)

    return script


@pytest.mark.parametrize(
    ("script", "accepted", "reason"),
    [
        (gives(scripted.LEAKED, prose("leaked")), 0, "exact_duplicate 4"),  # of a row that there is, though it was dropped
        (gives(question("again"), prose("again")), 1, "exact_duplicate 3"),  # its own first row
        (gives(question("again"), REFUSAL), 0, "refusal 4"),
    ],
    ids=["a source row", "its own row", "refusals"],
)
def test_a_method_of_which_too_little_is_of_use_stops_early_and_says_why(
    bare: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script, accepted: int, reason: str
) -> None:
    folder = copy(bare, tmp_path)
    personas = {"rows": 40, "personas": [scripted.PERSONA]}
    say(folder, **small(methods={"personas": personas}, trial=4, min_yield=0.3))
    with ModelServer(script) as own:
        monkeypatch.setenv("OPENAI_BASE_URL", own.url)
        run(folder)
    method = report(folder, "generations")["methods"]["personas"]
    assert (method["seeds"], method["tried"]) == (40, 4)
    assert "stopped after 4 seeds" in method["stopped"] and reason in method["stopped"]
    assert 0 < len(own.seen) <= 8, "an instruction and an answer for each seed"
    assert report(folder, "augmented")["accepted"] == accepted
