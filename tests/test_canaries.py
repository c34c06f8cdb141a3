"""`sft check canaries`: what is planted, that the stage's own functions are run on it, and what is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from sft_assets.decontaminated.canaries import Canary, batches, cut, planted
from sft_assets.decontaminated.check import Check, check
from sft_assets.decontaminated.overlap.protection import items_of
from sft_assets.errors import SftError
from sft_assets.recipe import Recipe
from tests.conftest import NO_MODELS
from tests.test_cli import Sft

TOWNS = ("Kiel", "Ulm", "Jena", "Bonn", "Graz", "Linz")
GOODS = ("ferries", "herons", "barges", "sailors", "lanterns", "anchors")
ITEMS = [
    ("exam", str(n), "question", f"How many {goods} does the old harbour of {town} hold in the winter of {1900 + 7 * n}?")
    for n, (goods, town) in enumerate(zip(GOODS, TOWNS, strict=True))
]
ITEMS += [("exam", "0", "choices", text) for text in ("eleven of them", "a dozen or so", "none at all")]
ITEMS += [("exam", "short", "question", "Osteoclasts")]
FILLER = [
    f"{town} lies on a river, and its people are proud of the bridges, the bread and the brass band. " * 2 for town in TOWNS
]


def data(texts: Iterable[str] = FILLER) -> list[pa.RecordBatch]:
    rows = [Canary("", ("", ""), [("user", "Tell me of a town."), ("assistant", text)]) for text in texts]
    made = []
    for batch in batches(rows):
        ids = pa.array([bytes([1] * 15 + [n]) for n in range(batch.num_rows)], pa.uuid())
        made.append(batch.set_column(0, "row_id", ids))
    return made


def checked(texts: Iterable[str] = FILLER, paraphrases: Path | None = None) -> Check:
    texts = list(texts)
    return check(ITEMS, lambda: data(texts), set(), Recipe(), paraphrases=paraphrases)


def test_every_kind_of_copy_is_planted_and_found() -> None:
    found = checked()
    kinds = {recall.kind for recall in found.recalls}
    assert kinds >= {"verbatim", "recased", "in_answer", "in_system", "embedded", "truncated", "choices_reordered"}
    assert all(recall.found == recall.right == recall.planted for recall in found.recalls if recall.kind != "truncated")
    assert (found.rows, found.unprotected) == (len(FILLER), {"exam": {"too_short": 1}})
    assert found.decoys == len(TOWNS)
    assert found.flagged == []
    assert found.not_tested == ["paraphrases (give a file of item_id and text: --paraphrases FILE)"]


def test_what_the_stage_misses_is_told() -> None:
    rows = [*ITEMS, ("exam", "pond", "question", "Which pond near Kiel freezes first?")]
    found = check(rows, lambda: data(), set(), Recipe())
    assert [(canary.kind, canary.owner) for canary in found.missed] == [("truncated", ("exam", "pond"))]
    (recall,) = [recall for recall in found.recalls if (recall.kind, recall.words) == ("truncated", "3-8")]
    assert (recall.planted, recall.found) == (1, 0)


def test_a_row_of_the_data_that_is_flagged_is_told_unless_the_state_dropped_it() -> None:
    leak = f"I was asked: {ITEMS[2][3]}"
    (flagged,) = checked([*FILLER, leak]).flagged
    assert (flagged.what[:4], flagged.item[:6]) == ("row ", "exam 2")
    ids = {bytes([1] * 15 + [len(FILLER)])}
    assert check(ITEMS, lambda: data([*FILLER, leak]), ids, Recipe()).flagged == []


def test_paraphrases_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "said.jsonl"
    told = "In the winter of 1914, the old harbour of Jena holds how many barges?"
    file.write_text(json.dumps({"item_id": "2", "text": told}) + "\n\n", "utf-8")
    found = checked(paraphrases=file)
    (recall,) = [recall for recall in found.recalls if recall.kind == "paraphrase"]
    assert (recall.planted, recall.right, recall.candidates) == (1, 1, 1)
    assert found.not_tested == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "a line is"),
        ('{"item_id": "2"}', "a line is"),
        ('["2"]', "a line is"),
        ('{"item_id": "99", "text": "a"}', "no test item has the id '99'"),
        ('{"item_id": "2", "text": "a", "benchmark": "other"}', "no test item has the id '2'"),
    ],
)
def test_a_bad_line_of_paraphrases_is_named(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "said.jsonl"
    file.write_text(f"\n{line}\n", "utf-8")
    with pytest.raises(SftError, match=f"said.jsonl:2: .*{says}"):
        checked(paraphrases=file)


def test_the_same_canaries_in_every_run() -> None:
    items = list(items_of(ITEMS))
    assert list(planted(items, FILLER)) == list(planted(items, FILLER))
    assert list(planted(items, FILLER, 1)) != list(planted(items, FILLER))


def test_a_cut_keeps_whole_words() -> None:
    assert cut("one two  three four five six seven eight nine ten") == "one two  three four five six seven"
    assert (cut("one"), cut("")) == ("one", "")


def test_the_command_line_shows_it(sft: Sft, tmp_path: Path) -> None:
    root = tmp_path / "data"
    sft("init", str(root))
    (root / "recipe.yaml").write_text(json.dumps(NO_MODELS))
    assert "not built yet" in sft("check", "canaries", "--data", str(root))[2]
    (root / "sources" / "a.jsonl").write_text(
        "".join(json.dumps({"instruction": f"Tell me of town {n}.", "output": text}) + "\n" for n, text in enumerate(FILLER))
    )
    sft("run", "decontaminated", "--data", str(root))
    assert "put test sets into" in sft("check", "canaries", "--data", str(root))[2]
    (root / "benchmarks" / "exam.jsonl").write_text(
        "".join(json.dumps({"id": n, "question": text}) + "\n" for _, n, name, text in ITEMS if name == "question")
    )
    sft("run", "decontaminated", "--data", str(root))
    code, out, _ = sft("check", "canaries", "--data", str(root))
    assert code == 0
    assert "verbatim" in out and "100.0 %" in out
    assert "exam: too_short 1" in out
    assert "flagged that is no leak: 0 of 6 decoys and 6 rows" in out
