"""embeddings: one vector for each content that no dropping rule hits, made once, whatever happens in between."""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sft_assets.asset import warehouse
from sft_assets.clustered.embeddings import embeddings, read_vectors
from sft_assets.errors import SftError
from sft_assets.evidence import Evidence
from sft_assets.folder import Folder
from sft_assets.models import embedder as module
from sft_assets.models import packaged
from sft_assets.models.embedder import Embedder
from sft_assets.models.vectors import Vectors
from sft_assets.recipe import Recipe
from sft_assets.record import Conversation, Message
from sft_assets.scored.rule_hits.asset import rule_hits
from sft_assets.warehouse import Version
from sft_assets.warehouse.versions import read_versions
from tests.made_rows import REFUSAL, chat, fill, hash_of, make, query
from tests.test_likelihoods import tiny_tokenizer

Floats = npt.NDArray[np.float32]
READ = 16  # tokens that the tiny model reads: each is a byte
ROWS = [chat(f"What stands on page {n}?", f"A picture of {n} ships in the harbour.") for n in range(12)]


def embedded(folder: Folder, conversations: Sequence[Conversation], model: str = "static", **section: Any) -> Version:
    fill(folder, conversations)
    return make(folder, rule_hits, embeddings, embeddings={"model": model, **section})[-1]


def vector_of(folder: Folder, conversation: Conversation) -> Floats:
    ((vector,),) = query(folder, f"SELECT vector FROM embeddings WHERE content_hash = '{hash_of(conversation).hex()}'::UUID")
    return np.array(vector, np.float32)


def estimated(folder: Folder, model: str = "static") -> tuple[int | None, int | None]:
    recipe = Recipe.model_validate({"embeddings": {"model": model}})
    house = warehouse(folder, recipe)
    with house.reading() as con:
        evidence = Evidence(house, {v.asset: v for v in read_versions(con)})
    assert embeddings.estimate
    found = embeddings.estimate(evidence, folder, recipe, False, None)
    return found.contents, found.new


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that models are asked for, as they are asked."""
    texts: list[str] = []
    encode = Embedder._encode
    monkeypatch.setattr(Embedder, "_encode", lambda self, some: texts.extend(some) or encode(self, some))
    return texts


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of sentence-transformers with one small layer, random weights and 8 dimensions."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import LlamaConfig, LlamaModel

    base, path = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tiny_tokenizer(base, None), hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64, initializer_range=0.5, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    LlamaModel(config).save_pretrained(base)
    body = Transformer(str(base), max_seq_length=READ)
    body.tokenizer.pad_token = "<|im_end|>"
    SentenceTransformer(modules=[body, Pooling(8)], device="cpu").save(str(path))
    return path


# ---------------------------------------------------------------------------------------------------------- the asset


def test_each_content_that_no_dropping_rule_hits_has_one_vector(folder: Folder) -> None:
    prompt = Conversation([Message("user", "Where is Rome?")], kind="prompt")
    bad = chat("Where is Rome?", "In Norway.", kind="unpaired", label=False)
    bad_refusal = chat("Open the door!", REFUSAL, kind="unpaired", label=False)
    twice = [chat("Where?", "In Rome."), chat("Where?", "In Rome.", path="2")]
    embedded(folder, [prompt, bad, bad_refusal, *twice, chat("Help!", REFUSAL)])
    expected = sorted(hash_of(c) for c in (prompt, bad, bad_refusal, twice[0]))
    assert sorted(content.bytes for (content,) in query(folder, "SELECT content_hash FROM embeddings")) == expected


def test_the_text_is_what_users_and_assistants_say(folder: Folder) -> None:
    calls = '[{"id":"1","type":"function","function":{"name":"clock","arguments":"{}"}}]'
    talk = Conversation(
        [
            Message("system", "You are a pirate."),
            Message("user", "What time is it?"),
            Message("assistant", "", tool_calls=calls),
            Message("tool", "12:00", tool_call_id="1"),
            Message("assistant", "It is noon."),
        ]
    )
    pair = chat("Sing!", "La la la.", kind="preference", rejected=[Message("assistant", "No.")])
    embedded(folder, [talk, pair])
    vectors = Embedder("static").embed(["What time is it?\nIt is noon.", "Sing!\nLa la la."])
    assert [vector_of(folder, talk) @ vectors[0], vector_of(folder, pair) @ vectors[1]] == pytest.approx([1, 1], abs=1e-5)


def test_a_content_without_text_has_a_vector_of_zeros_and_no_model_is_asked(folder: Folder, asked: list[str]) -> None:
    silent = [Conversation([Message("system", text)]) for text in ("You are a pirate.", "You are a parrot.")]
    silent.append(Conversation([Message("user", " \n ")], kind="prompt"))
    embedded(folder, [*silent, ROWS[0]])
    assert len(asked) == 1
    assert [np.abs(vector_of(folder, c)).sum() for c in silent] == [0, 0, 0]
    embedded(folder, [*silent, *ROWS[:2]])
    assert len(asked) == 2


def test_only_appended_rows_are_embedded(folder: Folder, asked: list[str]) -> None:
    first = embedded(folder, ROWS[:9])
    assert (first.report["embedded"], first.report["cached"]) == (9, 0)
    fill(folder, ROWS)
    make(folder, rule_hits)
    assert estimated(folder) == (12, 3)
    (second,) = make(folder, embeddings, embeddings={"model": "static"})
    assert (second.report["embedded"], second.report["cached"], second.report["kept"]) == (3, 9, 12)
    assert len(asked) == len(set(asked)) == 12
    assert second.data_version != first.data_version


def test_a_run_that_stops_halfway_has_kept_what_it_made(
    folder: Folder, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOKED_UP", 4)
    fill(folder, ROWS)
    make(folder, rule_hits)
    encode = Embedder._encode

    def killed(self: Embedder, texts: Sequence[str]) -> Floats:
        if len(asked) == 8:
            raise KeyboardInterrupt
        return encode(self, texts)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Embedder, "_encode", killed)
        make(folder, embeddings, embeddings={"model": "static"})
    assert estimated(folder) == (12, 4)
    (version,) = make(folder, embeddings, embeddings={"model": "static"})
    assert (version.report["cached"], version.report["embedded"], len(asked)) == (8, 4, 12)


def test_another_model_gives_another_table_and_the_first_costs_nothing_the_second_time(
    folder: Folder, tiny: Path, asked: list[str]
) -> None:
    def kind() -> str:
        return str(query(folder, "SELECT DISTINCT typeof(vector) FROM embeddings")[0][0])

    first = embedded(folder, ROWS)
    assert kind() == "FLOAT[256]"
    (second,) = make(folder, embeddings, embeddings={"model": str(tiny)})
    assert (kind(), second.report["dimensions"], second.report["embedded"]) == ("FLOAT[8]", 8, 12)
    assert len(asked) == 24
    (third,) = make(folder, embeddings, embeddings={"model": "static"})
    assert len(asked) == 24
    assert first.data_version == third.data_version != second.data_version


def test_the_version_is_of_contents_and_model_not_of_the_last_bit_of_a_vector(folder: Folder) -> None:
    first = embedded(folder, ROWS)
    with sqlite3.connect(folder.embeddings) as con:
        con.create_function("nudged", 1, lambda v: np.nextafter(np.frombuffer(v, np.float32), np.float32(2)).tobytes())
        con.execute("UPDATE vectors SET vector = nudged(vector)")
    (second,) = make(folder, embeddings, embeddings={"model": "static"})
    assert second.number == first.number + 1
    assert second.data_version == first.data_version


def test_what_is_cut_is_counted_whether_it_was_embedded_now_or_before(folder: Folder, tiny: Path) -> None:
    short = chat("Hi", "Hello")
    for _ in range(2):
        version = embedded(folder, [short, *ROWS], model=str(tiny))
        assert version.report["cut"] == len(ROWS)
    assert query(folder, f"SELECT cut FROM embeddings WHERE content_hash = '{hash_of(short).hex()}'::UUID") == [(False,)]
    assert embedded(folder, [short, *ROWS], model=str(tiny), windows=None).report["cut"] == 0


def test_vectors_are_read_in_the_order_of_content_hash(folder: Folder) -> None:
    embedded(folder, ROWS)
    with warehouse(folder, Recipe()).reading() as con:
        hashes, vectors = read_vectors(con, "embeddings")
    assert [value.bytes for value in hashes.to_pylist()] == sorted(map(hash_of, ROWS))
    by_hash = {hash_of(row): vector_of(folder, row) for row in ROWS}
    assert all(np.array_equal(by_hash[value.bytes], vector) for value, vector in zip(hashes.to_pylist(), vectors, strict=True))


def test_no_rows_have_no_vectors(folder: Folder) -> None:
    embedded(folder, [])
    with warehouse(folder, Recipe()).reading() as con:
        hashes, vectors = read_vectors(con, "embeddings")
    assert (len(hashes), len(vectors)) == (0, 0)


# ---------------------------------------------------------------------------------------------------------- the models


def test_static_gives_what_wordllama_gives() -> None:
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    levels = logging.root.level, logging.root.handlers[:]
    from wordllama.inference import WordLlamaInference  # which sets up the logging of whoever imports it

    logging.root.level, logging.root.handlers[:] = levels
    folder = packaged.find("static")
    table, tokenizer = load_file(folder / packaged.TABLE), Tokenizer.from_file(str(folder / packaged.TOKENIZER))
    texts = [
        "Where is Rome?",
        "WHERE is rome",
        "Das Boot fährt um 12:30 Uhr ab.\n\tDann kommt 東京.",
        "x = [1, 2]; print(x)" * 40,
    ]
    theirs = WordLlamaInference(table["embedding.weight"], tokenizer).embed(texts, norm=True)
    assert (Embedder("static").embed(texts) * theirs).sum(axis=1).tolist() == pytest.approx([1] * 4, abs=1e-4)


def test_a_window_is_what_the_model_reads_of_a_text(tiny: Path) -> None:
    text = "The harbour was quiet and the boats lay still, all of them."
    one, two, every = (Embedder(str(tiny), windows=n) for n in (1, 2, None))
    parts = one.embed([text[first : first + READ] for first in range(0, len(text), READ)])
    assert one.embed([text])[0] == pytest.approx(parts[0], abs=1e-5)
    lengths = np.array([READ, READ, READ, len(text) - 3 * READ])[:, None]
    for embedder, mean in ((two, parts[:2].sum(axis=0)), (every, (parts * lengths).sum(axis=0))):
        assert embedder.embed([text])[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    assert [next(e.compute([text])).cut.tolist() for e in (one, two, every)] == [[True], [True], [False]]
    assert len({one.key, two.key, every.key}) == 3


def test_vectors_stand_where_their_texts_stood(tiny: Path) -> None:
    texts = [chr(97 + n % 26) * (n * 7 % 29) for n in range(200)]
    embedder = Embedder(str(tiny), windows=1)
    together = embedder.embed(texts)
    alone = np.concatenate([embedder.embed([text]) for text in texts[:40]])
    assert np.abs(together[:40] - alone).max() < 1e-4


def test_a_text_of_no_tokens_has_a_vector_of_zeros(tiny: Path) -> None:
    assert np.linalg.norm(Embedder(str(tiny)).embed(["", "a"]), axis=1).tolist() == pytest.approx([0, 1])


def test_a_model_that_gives_no_numbers_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = Embedder(str(tiny))
    monkeypatch.setattr(embedder.model, "encode", lambda texts, **_: np.full((len(texts), 8), np.nan, np.float32))
    with pytest.raises(SftError, match="not all numbers"):
        embedder.embed(["x"])


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(SftError, match="pickle"):
        Embedder(str(tmp_path))


@pytest.mark.parametrize("name", [packaged.TABLE, packaged.TOKENIZER])
def test_a_packaged_file_that_is_not_the_pinned_one_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = packaged.PACKAGES["static"]
    other = dataclasses.replace(package, files={**package.files, name: "0" * 64})
    monkeypatch.setitem(packaged.PACKAGES, "static", other)
    with pytest.raises(SftError, match=f"{name} is not the model that was pinned"):
        Embedder("static")


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    package = dataclasses.replace(packaged.PACKAGES["static"], module="no_such_package_at_all")
    monkeypatch.setitem(packaged.PACKAGES, "static", package)
    with pytest.raises(SftError, match="pip install wordllama"):
        Embedder("static")


def test_a_cache_of_the_older_shape_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.sqlite"
    with sqlite3.connect(path) as con:
        con.execute("CREATE TABLE vectors (model TEXT, text BLOB, vector BLOB, PRIMARY KEY (model, text)) WITHOUT ROWID")
        con.execute("INSERT INTO vectors VALUES ('m', x'01', ?)", [np.ones(3, np.float32).tobytes()])
    con.close()
    cache = Vectors(path)
    cache.put("m", [b"\2"], np.full((1, 3), 2, np.float32))
    assert {key: value.tolist() for key, value in cache.get("m", [b"\1", b"\2"]).items()} == {b"\1": [1] * 3, b"\2": [2] * 3}
