"""Semantic duplicates: paraphrases go, hard negatives stay, and what was embedded once is not embedded again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from sft_assets.combined.asset import combined
from sft_assets.deduped.asset import deduped
from sft_assets.deduped.semantic import Said, _neighbours, marks
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.models import packaged
from sft_assets.models.embedder import Embedder
from sft_assets.models.vectors import Vectors
from sft_assets.raw.asset import raw
from tests.conftest import build, put, rows, say
from tests.test_deduped import sft

pytestmark = pytest.mark.xdist_group("embeddings")
SEMANTIC = {"prompt": 0.8, "answer": 0.8}
EGGS = [
    sft("How do I boil an egg?", "Put the egg in boiling water for eight minutes, then cool it."),
    sft("How should I boil eggs?", "Place the egg into boiling water for eight minutes and then cool it down."),
]


@pytest.fixture(scope="module")
def minilm() -> Embedder:
    return Embedder()


def made(folder: Folder, records: list[Any], **section: Any) -> Any:
    put(folder, "rows.jsonl", records)
    say(folder, deduped={"semantic": {**SEMANTIC, **section}})
    return build(folder, raw, combined, deduped)[-1]


def test_of_two_paraphrases_one_goes_and_the_ledger_has_pair_and_similarities(folder: Folder) -> None:
    version = made(folder, EGGS)
    assert version.report["dropped"] == {"semantic_duplicate": 1}
    ((evidence,),) = rows(folder, "SELECT evidence FROM dropped")
    of, prompt, answer = orjson.loads(evidence).values()
    assert [(of,)] == [(str(i),) for (i,) in rows(folder, "SELECT row_id FROM deduped")]
    assert float(prompt) > 0.8
    assert float(answer) > 0.8
    assert version.report["sample_semantic"][0]["text"] != version.report["sample_semantic"][0]["its text"]


@pytest.mark.parametrize(
    "other",
    [
        sft("How do I boil an egg?", "Put the egg in boiling water for 9 minutes, then cool it."),
        sft("How do I boil an egg?", "Put the egg in boiling water for nine minutes, then cool it."),
        sft("How do I boil an egg?", "Put the egg in boiling water for eight minutes, then do not cool it."),
        sft("How do I boil an egg?", "Put the egg in boiling water for eight minutes, then `cool` it."),
    ],
    ids=["number", "number word", "negation", "code"],
)
def test_a_hard_negative_stays_and_is_tied(folder: Folder, other: dict[str, str]) -> None:
    assert made(folder, [EGGS[0], other]).report["kept"] == 2
    assert len({group for (group,) in rows(folder, "SELECT near_group FROM deduped")} - {None}) == 1


def test_both_sides_have_to_be_similar(folder: Folder) -> None:
    records = [EGGS[0], sft("How do I boil an egg?", "Eggs are laid by hens, which live on farms all over the world.")]
    assert made(folder, records).report["kept"] == 2


def test_a_duplicate_of_a_row_that_goes_names_the_one_that_stays(folder: Folder) -> None:
    records = [*EGGS, {k: v.upper() for k, v in EGGS[0].items()}]
    assert made(folder, records).report["dropped"] == {"semantic_duplicate": 2}
    ((through,),) = rows(folder, "SELECT evidence ->> 'through' FROM dropped WHERE evidence ->> 'through' IS NOT NULL")
    assert rows(folder, "SELECT count(*) FROM dropped WHERE row_id = ?::UUID", [through]) == [(1,)]


def test_what_was_embedded_once_is_taken_from_the_cache(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    compute = Embedder.compute
    monkeypatch.setattr(Embedder, "compute", lambda self, texts: asked.extend(texts) or compute(self, texts))
    made(folder, EGGS)
    assert len(asked) == 4
    made(folder, [*EGGS, sft("Who wrote Hamlet?", "Shakespeare wrote it around 1600.")], prompt=0.85)
    assert sorted(asked[4:]) == ["Shakespeare wrote it around 1600.", "Who wrote Hamlet?"]


def test_paraphrases_are_closer_than_other_texts(minilm: Embedder) -> None:
    a, b, c = minilm.embed(["How do I boil an egg?", "What is the way to boil eggs?", "Trains leave from platform nine."])
    assert a @ b > 0.8 > 0.3 > a @ c
    assert np.linalg.norm(a) == pytest.approx(1, abs=1e-3)


def test_a_long_text_is_read_to_its_end(minilm: Embedder) -> None:
    begin = "The harbour was quiet in the morning and the boats lay still. " * 20
    a, b = minilm.embed([begin + "Then a storm broke out. " * 120, begin + "Then we ate some cake. " * 120])
    assert a @ b < 0.97
    assert len(minilm._windows(begin * 6)) > 3
    assert "".join("".join(minilm._windows(begin)).split()) == "".join(begin.split())


def test_nothing_to_embed_is_no_trouble(minilm: Embedder) -> None:
    assert minilm.embed([]).shape == (0, 384)
    assert minilm.embed([""]).shape == (1, 384)


def test_the_approximate_search_measures_its_recall() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(1500, 16)).astype(np.float32)
    vectors[750:] = vectors[:750] + rng.normal(scale=0.01, size=(750, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near, report = _neighbours(vectors, 0.99, exact_rows=100)
    exact, _ = _neighbours(vectors, 0.99, exact_rows=10_000)
    assert report["search"] == "approximate"
    assert report["recall"] > 0.9
    pairs = [{(i, int(j)) for i, row in enumerate(found) for j in row} for found in (near, exact)]
    assert len(pairs[0] & pairs[1]) > 0.98 * len(pairs[1])


def test_marks_are_numbers_negations_and_code() -> None:
    one = marks(Said("Add 2 and three.", "`a + b` isn't it."))
    assert one.numbers == (("2", "three"), ())
    assert one.negations == (0, 1)
    assert one.code == ("`a + b`",)


@pytest.mark.parametrize(
    ("model", "says"),
    [("no/such-model-anywhere", "no embedding model"), ("EMPTY", "safetensors"), ("TORN", "cannot be loaded")],
)
def test_a_model_that_cannot_be_used_is_refused_in_a_sentence(
    tmp_path: Path, model: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if model in ("EMPTY", "TORN"):
        folder = tmp_path / model
        if model == "TORN":
            shutil.copytree(packaged.find("embedded"), folder)
            (folder / "model.safetensors").write_bytes(b"not a model")
        else:
            folder.mkdir()
        model = str(folder)
    with pytest.raises(SftError, match=says):
        Embedder(model).embed(["x"])


def test_a_torn_cache_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.sqlite"
    path.write_bytes(b"this is no database, and long enough to be looked at as one" * 20)
    with pytest.raises(SftError, match="no cache of embeddings"):
        Vectors(path)
