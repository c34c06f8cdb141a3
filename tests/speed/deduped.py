"""Near duplicates against datasketch's MinHashLSH and rensa's streaming deduplicator: text to kept rows, in turns.

    .venv/bin/pip install rensa
    .venv/bin/python -m tests.speed.deduped [ROWS] [TIMES]

Rows of 100 words, one in ten a copy of another with up to six words changed. All three: word 3-grams, 128 permutations,
threshold 0.8. Ours also verifies each candidate exactly, compares numbers, and finds exact duplicates. Each run is a process of
its own, timed without its imports and, for ours, without loading the compiled kernels. It does the job twice: "first" on memory
that the process has yet to get from the system, "again" on memory that it has. The ratios are of the medians.

    .venv/bin/python -m tests.speed.deduped warehouse [ROWS ...]

From the database to the database, DuckDB's memory_limit at 1.5 GB: seconds and peak memory for each number of rows; then for
template-heavy rows (copies of two files of the corpus with edits) where the corpus is there; then a changed threshold.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.conftest import CORPUS

OURS = """
from sft_assets.deduped.near import find_duplicates, warm_up
warm_up()
def job():
    return int(find_duplicates(texts).stays.sum())
"""
DATASKETCH = """
from datasketch import MinHash, MinHashLSH
def job():
    index, kept = MinHashLSH(threshold=0.8, num_perm=128), 0
    for number, text in enumerate(texts):
        words = text.lower().split()
        signature = MinHash(num_perm=128)
        signature.update_batch([" ".join(words[i:i + 3]).encode() for i in range(len(words) - 2)])
        if not index.query(signature):
            index.insert(number, signature)
            kept += 1
    return kept
"""
RENSA = """
from rensa import RMinHash, RMinHashDeduplicator
def job():
    index, kept = RMinHashDeduplicator(threshold=0.8, num_perm=128, use_lsh=True), 0
    for number, text in enumerate(texts):
        words = text.lower().split()
        signature = RMinHash(num_perm=128, seed=42)
        signature.update([" ".join(words[i:i + 3]) for i in range(len(words) - 2)])
        kept += index.add(str(number), signature)
    return kept
"""
FRAME = """
import json, sys, time
texts = json.load(open(sys.argv[1]))
{}
start = time.perf_counter()
job()
middle = time.perf_counter()
kept = job()
print(middle - start, time.perf_counter() - middle, kept)
"""
STATE = """
import json, resource, sys, time
from pathlib import Path
from sft_assets.asset import materialize
from sft_assets.definitions import asset_named
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.runs import INPUTS, input_version
folder, asset = Folder.at(Path(sys.argv[1])), asset_named(sys.argv[2])
recipe = Recipe.model_validate({"engine": {"memory_limit": "1.5GB"}, "deduped": {"threshold": float(sys.argv[3])}})
inputs = {d: input_version(folder, d) for d in asset.deps if d in INPUTS}
version, _ = materialize(asset, folder, recipe, inputs)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(version.seconds, version.report["in"], version.report["kept"], peak)
"""


def words(rng: random.Random) -> list[str]:
    return ["".join(rng.choices("etaoinshrdlucmfwypvbgkqjxz", k=rng.randint(2, 10))) for _ in range(20_000)]


def edited(text: str, most: int, vocabulary: list[str], rng: random.Random) -> str:
    """A copy with up to `most` words taken out, put in or changed."""
    copy = text.split(" ")
    for _ in range(rng.randint(0, most)):
        place, change = rng.randrange(len(copy)), rng.random()
        if change < 0.3 and len(copy) > 1:
            copy.pop(place)
        elif change < 0.6:
            copy.insert(place, rng.choice(vocabulary))
        else:
            copy[place] = rng.choice(vocabulary)
    return " ".join(copy)


def synthetic(rows: int) -> Iterator[str]:
    """Texts of 100 words, one in ten a copy with edits of one of the first 20,000."""
    rng = random.Random(1)
    vocabulary = words(rng)
    first: list[str] = []
    for number in range(rows):
        if number % 10 == 9:
            yield edited(rng.choice(first), 6, vocabulary, rng)
            continue
        text = " ".join(rng.choices(vocabulary, k=100))
        if len(first) < 20_000:
            first.append(text)
        yield text


def templates(rows: int) -> Iterator[str]:
    """Copies with up to twenty edits of the conversations of glaive_toolcall and fastchat_dummy."""
    rng = random.Random(2)
    vocabulary = words(rng)
    conversations = [
        "\n".join(turn["value"] for turn in record["conversations"] if turn["from"] in ("human", "gpt"))
        for name in ("glaive_toolcall_en_demo.json", "fastchat_dummy_conversation.json")
        for record in json.loads((CORPUS / "instruct" / name).read_text())
    ]
    for _ in range(rows):
        yield edited(rng.choice(conversations), 20, vocabulary, rng)


def against_peers(rows: int = 100_000, times: int = 3) -> None:
    """Print the three times and the ratios."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(list(synthetic(rows)), file)
        file.flush()
        seconds: dict[str, list[tuple[float, float]]] = {}
        kept: dict[str, str] = {}
        for _ in range(times):
            for name, code in (("ours", OURS), ("rensa", RENSA), ("datasketch", DATASKETCH)):
                done = subprocess.run([sys.executable, "-c", FRAME.format(code), file.name], capture_output=True, text=True)
                if done.returncode:
                    sys.exit(f"{name}: {done.stderr.strip().splitlines()[-1]} (the docstring says what to install)")
                first, again, kept[name] = done.stdout.split()
                seconds.setdefault(name, []).append((float(first), float(again)))
    table = Table(
        "", "kept", "first s", "times ours", "again s", "times ours", title=f"{rows:,} rows of 100 words, {times} turns"
    )
    medians = {name: [statistics.median(column) for column in zip(*taken, strict=True)] for name, taken in seconds.items()}
    for name, (first_s, again_s) in medians.items():
        ratios = (f"{ours:.2f}" for ours in (first_s / medians["ours"][0], again_s / medians["ours"][1]))
        table.add_row(name, kept[name], f"{first_s:.2f}", next(ratios), f"{again_s:.2f}", next(ratios))
    Console().print(table)


def in_warehouse(sizes: list[int]) -> None:
    """Print seconds and peak memory of the state for each number of rows."""
    table = Table("rows", "kept", "seconds", "peak MB", "what", title="deduped, from the database to the database")
    jobs: list[tuple[int, Callable[[int], Iterator[str]], str]] = [(n, synthetic, "100 words") for n in sizes]
    if CORPUS.is_dir():
        jobs.append((sizes[0], templates, "templates with edits"))
    for rows, make, what in jobs:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            (folder / "sources").mkdir()
            with (folder / "sources" / "a.jsonl").open("w") as file:
                for text in make(rows):
                    head, _, tail = text.partition(" ")
                    file.write(json.dumps({"instruction": head, "output": tail or "-"}) + "\n")
            for asset, threshold in (("raw", 0.8), ("combined", 0.8), ("deduped", 0.8), ("deduped", 0.7)):
                command = [sys.executable, "-c", STATE, place, asset, str(threshold)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                seconds, n, kept, peak = map(float, done.stdout.splitlines()[-1].split())
                if asset == "deduped":
                    said = what if threshold == 0.8 else f"{what}, threshold changed to {threshold}"
                    table.add_row(f"{n:,.0f}", f"{kept:,.0f}", f"{seconds:.1f}", f"{peak:,.0f}", said)
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["warehouse"]:
        in_warehouse([int(n) for n in sys.argv[2:]] or [100_000, 1_000_000])
    else:
        against_peers(*map(int, sys.argv[1:]))
