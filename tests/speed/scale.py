"""A million rows and five, from files to `scored`, in one `sft run` on one machine: time, memory, disk, and what is left of it.

    .venv/bin/python -m tests.speed.scale [ROWS ...]       default: 1000000 5000000

The rows are made here, seeded, as a stream: ten files in two formats, of about 100 words a row out of a vocabulary as frequent
as words are. Of 100 rows 5 are copies of another, 5 copies with up to three words changed, 1 another answer to the same prompt,
3 hit a rule that drops or marks them; of 2,000 one holds an item of three test sets of 1,000 items. The likelihoods and
judgements are off, all else is as in a folder without a recipe.

Memory is the sum of the resident memory of the whole process tree, 20 times a second; what several processes share counts in
each of them. CPU is that of the tree. An asset's figures are those from when it
began to write until the next one did.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import orjson
import psutil
from rich.console import Console
from rich.table import Table

from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from tests.conftest import fresh, say

SIZES = (1_000_000, 5_000_000)
FILES = 10
BENCHMARKS, ITEMS = 3, 1_000
VOCABULARY = 50_000
BATCH = 2_000  # rows that are made at a time
RECENT = 20_000  # rows that a copy is made of: as many copies of each whatever the number of rows
PERIOD = 0.05  # seconds between two looks at the process tree
OFF = {"likelihoods": {"rows": 0}, "judgements": {"rows": 0}}
INPUTS = ("sources", "benchmarks", "recipe.yaml")
PRODUCTS = ("sft.duckdb", ".dagster", ".lock", ".fingerprints.json")
ENGLISH = """\
the of and to in is that it for as with was on are be by this have from or had not but what all were when we there can an your
which their said if do will each about how up out them then she many some so these would other into has more her two like him
see time could no make than first been its who now people my made over did down only way find use may water long little very
after words called just where most know get through back much go good new write our"""
SOUNDS = ("b c ch d f g h j k l m n p pl pr r s sh st t th tr v w", "a e i o u ea ou", "  n r s t l nd ck")
FAULTS = (
    "I'm sorry, but I can't help with that request.",
    "As an AI language model, I do not have personal opinions. {}",
    "It costs about [insert amount here] a month. {}",
    "{} donâ€™t forget that itâ€™s about the same thing.",
    "{} Lorem ipsum dolor sit amet, consectetur adipiscing elit.",
)


# ------------------------------------------------------------------------------------------------------------ the rows


class Texts:
    """Texts of words that are as frequent as those of a language: the n-th about 1 / n times as frequent as the first."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.words = _vocabulary()
        weights = 1 / (np.arange(len(self.words)) + 5.0)
        self._cumulative = np.cumsum(weights / weights.sum())

    def some(self, count: int) -> list[str]:
        """Words."""
        return [self.words[i] for i in np.searchsorted(self._cumulative, self.random.random(count)).tolist()]

    def sentences(self, lengths: list[int]) -> list[str]:
        """Texts of so many words each, in sentences of 8 to 16."""
        words, texts, first = self.some(sum(lengths)), [], 0
        for length in lengths:
            told, own = [], words[first : first + length]
            step = 8 + length % 9
            for start in range(0, length, step):
                told.append(" ".join(own[start : start + step]).capitalize() + ".")
            texts.append(" ".join(told))
            first += length
        return texts


def _vocabulary() -> list[str]:
    """Words that can be spoken: the short ones first, as the frequent ones are short. The first are English."""
    random = np.random.default_rng(7)
    starts, vowels, ends = (sounds.split(" ") for sounds in SOUNDS)
    made: dict[str, None] = dict.fromkeys(ENGLISH.replace("\n", " ").split(" "))
    while len(made) < VOCABULARY:
        for _ in range(1 + int(random.random() < len(made) / 5_000) + int(random.random() < 0.4)):
            word = "".join(
                starts[int(random.integers(len(starts)))] + vowels[int(random.integers(len(vowels)))]
                for _ in range(1 + int(random.integers(3)))
            )
            made.setdefault(word + ends[int(random.integers(len(ends)))])
    return list(made)[:VOCABULARY]


def rows(count: int, items: list[str]) -> Iterator[tuple[str, str]]:
    """(prompt, answer) of so many rows."""
    texts = Texts(1)
    random = texts.random
    recent: list[tuple[str, str]] = []
    made = 0
    while made < count:
        n = min(BATCH, count - made)
        lengths = [*random.integers(8, 24, n).tolist(), *random.integers(40, 130, n).tolist()]
        told = texts.sentences(lengths)
        new = list(zip(told[:n], told[n:], strict=True))
        what, which = random.integers(0, 2_000, n).tolist(), random.integers(0, 1 << 62, n).tolist()
        for i in range(n):
            kind, one = what[i], which[i]
            old = recent[one % len(recent)] if recent else new[i]
            prompt, answer = new[i]
            if kind < 100:
                row = old
            elif kind < 200:
                row = (old[0], _edited(old[1], texts, one))
            elif kind < 220:
                row = (old[0], answer)
            elif kind < 280:
                row = (prompt, FAULTS[one % len(FAULTS)].format(answer))
            elif kind == 280:
                row = (f"{items[one % len(items)]} {prompt}" if one & 1 else items[one % len(items)], answer)
            else:
                row = new[i]
                if len(recent) < RECENT:
                    recent.append(row)
                else:
                    recent[made % RECENT] = row
            made += 1
            yield row


def _edited(text: str, texts: Texts, seed: int) -> str:
    """The text with one to three words replaced."""
    words = text.split(" ")
    for word in texts.some(1 + seed % 3):
        words[seed % len(words)] = word
        seed //= 7
    return " ".join(words)


def write_folder(root: Path, count: int) -> Folder:
    """A data folder with so many rows."""
    folder = fresh(root)
    texts = Texts(2)
    items: list[str] = []
    for n in range(BENCHMARKS):
        lengths = texts.random.integers(15, 60, ITEMS).tolist()
        asked, answered = texts.sentences(lengths), texts.sentences([3] * ITEMS)
        items += asked
        lines = (orjson.dumps({"question": q, "answer": a}) + b"\n" for q, a in zip(asked, answered, strict=True))
        (folder.benchmarks / f"test {n}.jsonl").write_bytes(b"".join(lines))
    files = [(folder.sources / f"source {n}.jsonl").open("wb") for n in range(FILES)]
    for i, (prompt, answer) in enumerate(rows(count, items)):
        if i % FILES < FILES // 2:
            record: dict[str, Any] = {"instruction": prompt, "input": "", "output": answer}
        else:
            turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
            record = {"messages": turns}
        files[i % FILES].write(orjson.dumps(record) + b"\n")
    for file in files:
        file.close()
    say(folder, **OFF)
    return folder


# ------------------------------------------------------------------------------------------------------------- the run


class Look(NamedTuple):
    """The process tree at a moment."""

    time: float
    memory: int  # bytes
    cpu: float  # seconds
    spilled: int  # bytes


def run(folder: Folder, temporary: Path) -> tuple[float, list[Look], float]:
    """`sft run scored`: seconds, looks at its process tree, CPU seconds of it."""
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "sft_assets", "run", "scored", "--data", str(folder.root)]
    start = time.time()
    with (folder.root.parent / "said").open("wb") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
        tree, looks = psutil.Process(process.pid), list[Look]()
        try:
            while not (done := os.wait4(process.pid, os.WNOHANG))[0]:
                looks.append(_look(tree, folder))
                time.sleep(PERIOD)
        except BaseException:
            process.kill()
            raise
    process.returncode = os.waitstatus_to_exitcode(done[1])
    if process.returncode:
        sys.exit(f"sft run ended with {process.returncode}:\n{(folder.root.parent / 'said').read_text()}")
    return time.time() - start, looks, done[2].ru_utime + done[2].ru_stime


def _look(tree: psutil.Process, folder: Folder) -> Look:
    memory, cpu = 0, 0.0
    with suppress(psutil.NoSuchProcess):
        for process in (tree, *tree.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                memory += process.memory_info().rss
                cpu += sum(process.cpu_times()[:4]) if process == tree else sum(process.cpu_times()[:2])
    return Look(time.time(), memory, cpu, _size(folder.root / ".spill"))


def _size(path: Path) -> int:
    """The bytes of the files in a folder, which may come and go meanwhile."""
    size = 0
    for at, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                size += os.stat(os.path.join(at, name)).st_size
    return size


def left_over(folder: Folder, temporary: Path) -> list[str]:
    """What of the run lies about that is neither its input nor its product."""
    known = {*INPUTS, *PRODUCTS}
    others = [path for path in folder.root.iterdir() if path.name not in known]
    return sorted(str(path.relative_to(folder.root.parent)) for path in (*others, *temporary.iterdir()))


def measure(count: int, place: Path, shown: bool = True) -> tuple[float, float, float] | None:
    """Print the table of a run over so many rows: (microseconds a row, those of CPU, gigabytes at the peak)."""
    start = time.time()
    folder = write_folder(place / "data", count)
    size = _size(folder.sources)
    print(f"{count:,} rows, {size / 1e9:.2f} GB, made in {time.time() - start:.0f} s", flush=True)
    temporary = place / "tmp"
    seconds, looks, cpu = run(folder, temporary)
    if not shown:
        return None
    with duckdb.connect(folder.database, read_only=True) as con:
        made = con.execute("""
            SELECT asset, seconds, epoch(created::TIMESTAMPTZ), report ->> 'in', report ->> 'kept'
            FROM store.versions ORDER BY created
        """).fetchall()
    table = Table("", "rows in", "kept", "s", "µs a row", "CPU s", "peak GB", "spilled GB", title=f"{count:,} rows")
    ends = [*(begun for _, _, begun, _, _ in made[1:]), looks[-1].time]
    for (asset, own, begun, rows_in, kept), end in zip(made, ends, strict=True):
        during = [look for look in looks if begun <= look.time <= end] or looks[-1:]
        figures = (own, 1e6 * own / count, during[-1].cpu - during[0].cpu)
        most = (max(look.memory for look in during) / 1e9, max(look.spilled for look in during) / 1e9)
        numbers = (f"{int(n):,}" if n else "" for n in (rows_in, kept))
        table.add_row(asset, *numbers, *(f"{x:,.1f}" for x in figures), *(f"{x:.2f}" for x in most))
    peak = max(look.memory for look in looks) / 1e9
    spilled = max(look.spilled for look in looks) / 1e9
    whole = (f"{seconds:,.1f}", f"{1e6 * seconds / count:,.1f}", f"{cpu:,.1f}", f"{peak:.2f}", f"{spilled:.2f}")
    table.add_row("whole process", f"{count:,}", f"{int(made[-1][4]):,}", *whole)
    Console(width=110).print(table)
    left = left_over(folder, temporary)
    print(
        f"database {folder.database.stat().st_size / 1e9:.2f} GB; left of temporary disk: {', '.join(left) or 'nothing'}",
        flush=True,
    )
    return 1e6 * seconds / count, 1e6 * cpu / count, peak


def main(sizes: list[int]) -> None:
    found = []
    for count in (BATCH, *sizes):  # the first compiles the kernels, and is not shown
        with tempfile.TemporaryDirectory(prefix="sft-scale-") as place:
            if (figures := measure(count, Path(place), shown=count != BATCH)) is not None:
                found.append(figures)
    memory = Recipe().engine.memory_limit
    time_, cpu = (found[-1][i] / found[0][i] for i in (0, 1))
    most = max(peak for *_, peak in found)
    print(f"a row of the last against the first: time {time_:.2f}, CPU {cpu:.2f}; memory_limit {memory}, peak {most:.2f} GB")


if __name__ == "__main__":
    main([int(n) for n in sys.argv[1:]] or list(SIZES))
