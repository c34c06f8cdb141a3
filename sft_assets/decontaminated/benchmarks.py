"""Test sets as they lie in D/benchmarks: JSON, CSV, parquet and whatever else sources may be, packed or not.

    gsm8k_test.jsonl   {"question": "Janet’s ducks lay 16 eggs per day. ...", "answer": "... #### 18"}

    benchmark gsm8k_test   item_id 1   field question   text "Janet’s ducks lay 16 eggs per day. ..."

A file that cannot be read is refused with its reason and the remedy; the others are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sft_assets.decontaminated.items import FIELDS, NAMES, Item, items
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.batches import excerpt
from sft_assets.raw.containers import Limits, Refused
from sft_assets.raw.parts import Opening, Part, parts
from sft_assets.recipe import Benchmark, Recipe, source_name

LIMITS = Limits()
COLUMNS = frozenset(name for names in NAMES.values() for name in names)  # that tell the header of a table


@dataclass(frozen=True)
class BenchmarkFile:
    """A file to read. `name` is its path in D/benchmarks."""

    path: Path
    name: str
    benchmark: str
    columns: Mapping[str, str]


@dataclass
class TestSet:
    """The items of one file by their ids, and what in it could not be read (sentences)."""

    __test__ = False  # no test, whatever pytest thinks of the name

    items: dict[str, Item] = field(default_factory=dict)
    records: int = 0
    unread: list[str] = field(default_factory=list)


class Entry(NamedTuple):
    """A record, or why there is none. `text` is what stands in the file; without a position it is of a whole part of it."""

    position: int
    value: dict[str, Any] | None
    text: bytes
    trouble: str = ""


def benchmark_files(folder: Folder, recipe: Recipe) -> list[BenchmarkFile]:
    """Every file of D/benchmarks in the order of their names, with what the recipe says of it.

    Raises:
        SftError: an entry names something that is not there or leads out of D/benchmarks, or a field that no item has.
    """
    base = folder.benchmarks
    entries = [(_checked(folder, number, entry), entry) for number, entry in enumerate(recipe.benchmarks.files, 1)]
    entries.sort(key=lambda e: len(e[0].parts), reverse=True)
    found = []
    for path in Folder.files(base):
        name = path.relative_to(base).as_posix()
        at, entry = next((e for e in entries if path.is_relative_to(e[0])), (path, Benchmark(path=name)))
        benchmark = source_name(name)
        if entry.name:  # of a file, or of a folder and every file in it
            benchmark = entry.name if at == path else f"{entry.name}/{source_name(path.relative_to(at).as_posix())}"
        found.append(BenchmarkFile(path, name, benchmark, entry.columns))
    names = [file.benchmark for file in found]
    # files that differ only in their ending keep it
    return [f if names.count(f.benchmark) == 1 else BenchmarkFile(f.path, f.name, f.name, f.columns) for f in found]


def _checked(folder: Folder, number: int, entry: Benchmark) -> Path:
    place = f"{folder.recipe}: benchmarks.files, entry {number}"
    try:
        path = folder.inside(folder.benchmarks, entry.path)
    except SftError as error:
        raise SftError(f"{place}: {error}") from None
    if not path.exists():
        raise SftError(f"{place}: {entry.path!r} is not in {folder.benchmarks}; put it there, or take the entry out")
    if unknown := sorted(set(entry.columns) - set(FIELDS)):
        raise SftError(f"{place}: columns: {unknown[0]!r} is no field of an item; known: {', '.join(FIELDS)}")
    if entry.columns and "question" not in entry.columns:
        raise SftError(f"{place}: columns: name the column of the question too")
    return path


def read(file: BenchmarkFile) -> TestSet:
    """The items of a file.

    Raises:
        Refused: it cannot be read, or none of its records is an item; the sentence holds the first one and the remedy.
    """
    result = TestSet()
    groups: dict[tuple[Any, ...], Item] = {}
    uses: Counter[str] = Counter()
    troubles: list[str] = []
    unfit: list[Entry] = []
    for entry in _entries(file):
        result.records += entry.position > 0
        if entry.value is None:
            troubles.append(f"record {entry.position}: {entry.trouble}" if entry.position else entry.trouble)
            continue
        found = items(entry.value, file.columns)
        if not found:
            unfit.append(entry)
        for item in found:
            if item.group in groups:
                groups[item.group].add(item)
                continue
            groups[item.group] = item
            result.items[_unique(_id(item.id, entry.position), result.items, uses)] = item
    if not result.items:
        raise Refused("no_item", _why(file, unfit, troubles))
    if unfit:
        troubles.append(f"record {unfit[0].position}: no question is seen in it: {excerpt(unfit[0].text)}")
    if troubles:
        count = len(troubles) + len(unfit) - bool(unfit)
        result.unread.append(f"{count:,} of {result.records:,} records were not read; {'; '.join(troubles[:3])}")
    return result


def _id(own: str, position: int) -> str:
    return f"{position}{own}" if own.startswith("/") else own or str(position)


def _unique(name: str, taken: Mapping[str, Item], uses: Counter[str]) -> str:
    """The name, or where it is taken name#2, name#3 ..."""
    uses[name] += 1
    result = name if uses[name] == 1 else f"{name}#{uses[name]}"
    return result if result not in taken else _unique(name, taken, uses)


def _why(file: BenchmarkFile, unfit: list[Entry], troubles: list[str]) -> str:
    if not unfit:
        return f"holds no record that can be read; {troubles[0]}" if troubles else "holds no record"
    first = unfit[0]
    names = ", ".join(map(str, first.value or ()))
    what = f"no record has a text in {file.columns['question']!r}" if file.columns else "no question is seen in its records"
    return (
        f"{what} (fields: {names[:300]}). Say in recipe.yaml which is which: benchmarks: {{files: [{{path: {file.name}, "
        f"columns: {{question: ..., answer: ...}}}}]}}. Its first record: {excerpt(first.text)}"
    )


def _entries(file: BenchmarkFile) -> Iterator[Entry]:
    known = {*COLUMNS, *file.columns.values()}

    def fits(value: Any) -> bool:
        return bool(items(value, file.columns))

    for part in parts(file.path, file.name, Opening(), LIMITS, fits, known, texts=False):
        try:
            yield from _entries_of(part)
        except Refused as refusal:
            if part.name == file.name:
                raise
            yield Entry(0, None, b"", f"{part.name} {refusal.detail}")


def _entries_of(part: Part) -> Iterator[Entry]:
    for batch in part.batches:
        found = [Entry(p, value, text) for p, value, text in zip(batch.positions, batch.values, batch.texts, strict=True)]
        found += [Entry(bad.position, None, b"", f"{bad.reason}: {bad.detail}: {bad.excerpt}") for bad in batch.bad]
        yield from sorted(found, key=lambda entry: entry.position)
