"""Embeddings against bare SentenceTransformer.encode, and what appended rows cost.

    .venv/bin/python -m tests.speed.embeddings [MODEL] [TEXTS] [FILE.jsonl]     default: embedded 200
    .venv/bin/python -m tests.speed.embeddings append [ROWS]                    default: 5000, with the model `static`

Texts: questions of 10 to 40 words and answers whose lengths are log-normal (half under 75 words, one in ten above 230), of a
seeded grammar; or the strings of each line of a file. Bare encode gets them at its defaults (float32, 32 texts a batch) and at
each batch size of BATCHES, in the precision that we use; the best of those counts. In one process, in turns; figures are
medians. Seconds of the processor stand beside those of the clock: they can be compared on a machine that is not quiet.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from rich.console import Console
from rich.table import Table

from sft_assets.clustered.embeddings import embeddings
from sft_assets.cores import cores
from sft_assets.models import weights
from sft_assets.models.embedder import Embedder
from sft_assets.recipe import EMBEDDED
from sft_assets.scored.rule_hits.asset import rule_hits
from tests.conftest import fresh
from tests.made_rows import chat, fill, make
from tests.speed.decontaminated import Grammar

TURNS = 3
BATCHES = (8, 16, 32, 64)


def made_texts(number: int) -> list[str]:
    grammar = Grammar()
    chance = grammar.chance
    answers = (int(min(max(chance.lognormvariate(4.3, 0.9), 3), 2000)) for _ in range(number))
    return [f"{grammar.text(chance.randint(10, 40))}\n{grammar.text(words)}" for words in answers]


def read_texts(path: Path, number: int) -> list[str]:
    records = (orjson.loads(line) for line in path.read_bytes().splitlines()[:number])
    return ["\n".join(value for value in record.values() if isinstance(value, str)) for record in records]


def ours(embedder: Embedder, texts: Sequence[str]) -> np.ndarray[Any, Any]:
    vectors = np.empty((len(texts), embedder.dimensions), np.float32)
    for batch in embedder.compute(texts):
        vectors[batch.indexes] = batch.vectors
    return vectors


def bare_encode(model: Any, texts: Sequence[str], batch: int) -> np.ndarray[Any, Any]:
    vectors: np.ndarray[Any, Any] = model.encode(
        list(texts), batch_size=batch, convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False
    )
    return vectors


def compare(name: str, texts: Sequence[str]) -> None:
    """Print texts per second of each, and our ratio to the best and to the default."""
    embedder = Embedder(name, windows=1)
    default = plain_model(embedder) if weights.bf16() else embedder.model
    ways: dict[str, Callable[[], np.ndarray[Any, Any]]] = {"encode, defaults": lambda: bare_encode(default, texts, 32)}
    for size in BATCHES:
        ways[f"encode, {size} a batch"] = lambda size=size: bare_encode(embedder.model, texts, size)  # type: ignore[misc]
    ways["ours"] = lambda: ours(embedder, texts)
    clock, processor = {way: list[float]() for way in ways}, {way: list[float]() for way in ways}
    bare_encode(embedder.model, texts[:32], 8)
    vectors: dict[str, np.ndarray[Any, Any]] = {}
    for _ in range(TURNS):
        for way, run in ways.items():
            start, used = time.perf_counter(), time.process_time()
            vectors[way] = run()
            clock[way].append(time.perf_counter() - start)
            processor[way].append(time.process_time() - used)
    cosines = (vectors["ours"] * vectors[f"encode, {BATCHES[0]} a batch"]).sum(axis=1)
    assert cosines.min() > 0.995, "these are other vectors"
    table = Table("", "texts/s", "texts/s of a processor", title=f"{name}: {len(texts)} texts on {cores()} threads")
    for way in ways:
        table.add_row(way, *(f"{len(texts) / statistics.median(seconds[way]):.1f}" for seconds in (clock, processor)))
    console = Console()
    console.print(table)
    for title, seconds in (("clock", clock), ("processor", processor)):
        best = min((way for way in ways if "a batch" in way), key=lambda way: statistics.median(seconds[way]))
        ratios = {
            way: statistics.median(a / b for a, b in zip(seconds[way], seconds["ours"], strict=True))
            for way in (best, "encode, defaults")
        }
        console.print(f"by the {title}: " + ", ".join(f"{ratio:.2f} of {way}" for way, ratio in ratios.items()))


def plain_model(embedder: Embedder) -> Any:
    """The model as it is loaded by default: in float32."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(embedder.path), device="cpu", local_files_only=True)


def append(rows: int) -> None:
    """Print how many contents are embedded of some rows, and of 100 more."""
    texts = made_texts(rows + 100)
    talks = [chat(*text.split("\n", 1)) for text in texts]
    with tempfile.TemporaryDirectory() as root:
        folder = fresh(Path(root) / "data")
        for number in (rows, rows + 100, rows + 100):
            fill(folder, talks[:number])
            version = make(folder, rule_hits, embeddings, embeddings={"model": "static"})[-1]
            Console().print(f"{number:,} rows, {version.seconds:.1f} s:", {k: version.report.get(k) for k in REPORTED})


REPORTED = ("contents", "cached", "embedded", "texts_per_second")

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["append"]:
        append(int((arguments[1:] or ["5000"])[0]))
    else:
        model, count, *files = [*arguments, *(EMBEDDED, "200")[len(arguments) :]]
        compare(model, read_texts(Path(files[0]), int(count)) if files else made_texts(int(count)))
