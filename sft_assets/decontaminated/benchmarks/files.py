"""Test sets as they lie in D/benchmarks, on the hub or in installed packages: JSON, CSV, parquet and whatever sources may be.

    gsm8k_test.jsonl   {"question": "Janet’s ducks lay 16 eggs per day. ...", "answer": "... #### 18"}

    benchmark gsm8k_test   item_id 1   field question   text "Janet’s ducks lay 16 eggs per day. ..."

A file that cannot be read is refused with its reason and the remedy; the others are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from sft_assets.decontaminated.benchmarks.items import FIELDS, NAMES, Item, items
from sft_assets.decontaminated.benchmarks.packages import content_hash, installed, package_version
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.batches import excerpt
from sft_assets.raw.containers import Limits, Refused
from sft_assets.raw.parts import Opening, Part, parts
from sft_assets.raw.sources import versions_of
from sft_assets.recipe import Benchmark, Recipe, source_name

LIMITS = Limits()
COLUMNS = frozenset(name for names in NAMES.values() for name in names)  # that tell the header of a table


@dataclass(frozen=True)
class BenchmarkFile:
    """A file to read. `name` is what it is called: its path in D/benchmarks, or where it comes from."""

    path: Path
    name: str
    benchmark: str
    columns: Mapping[str, str]
    opening: Opening = field(default_factory=Opening)
    entry: str = ""  # how an entry for it begins in the recipe
    version: str = ""  # commit or version of what it comes from; "": it lies in D/benchmarks


@dataclass
class TestSet:
    """The items of a benchmark by their ids, and what in its files could not be read (sentences)."""

    __test__ = False  # no test, whatever pytest thinks of the name

    items: dict[str, Item] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    groups: dict[tuple[Any, ...], Item] = field(default_factory=dict, repr=False)
    uses: Counter[str] = field(default_factory=Counter, repr=False)
    end: int = 0  # the position of the last record


class Entry(NamedTuple):
    """A record, or why there is none. `text` is what stands in the file; without a position it is of a whole part of it."""

    position: int
    value: dict[str, Any] | None
    text: bytes
    trouble: str = ""


# --------------------------------------------------------------------------------------------------------- which files


def benchmark_files(folder: Folder, recipe: Recipe, say: Callable[[str], None] = lambda _: None) -> list[BenchmarkFile]:
    """Every file of D/benchmarks in the order of their names, with what the recipe says of it; then those of the packages and
    hub datasets that it names. `say` hears what is left out, and what stands in for a hub that does not answer.

    Raises:
        SftError: an entry names something that is not there or leads out of D/benchmarks, or a field that no item has.
    """
    entries: list[tuple[Path, Benchmark]] = []
    packaged: list[BenchmarkFile] = []
    of_hub: list[BenchmarkFile] = []
    for number, entry in enumerate(recipe.benchmarks.files, 1):
        try:
            _check_columns(entry)
            if entry.hub:
                of_hub += _of_hub(folder, entry, say)
            elif entry.package:
                packaged += _of_package(entry, say)
            else:
                entries.append((_checked(folder, entry.path), entry))
        except SftError as error:
            raise SftError(f"{folder.recipe}: benchmarks.files, entry {number}: {error}") from None
    found = [*_local(folder, entries), *packaged]
    names = Counter(file.benchmark for file in found) + Counter({file.benchmark for file in of_hub})
    # files that differ only in their ending keep it; those of a hub dataset are one benchmark
    return [*(f if names[f.benchmark] == 1 else replace(f, benchmark=f.name) for f in found), *of_hub]


def versions_elsewhere(folder: Folder, recipe: Recipe, ask: bool) -> list[str]:
    """The version of every hub dataset and package that holds a test set. ask: whether to ask the hub what is the newest.

    Raises:
        SftError: a dataset cannot be reached and was never fetched.
    """
    entries = recipe.benchmarks.files
    packages = [package_version(entry.package, entry.path) for entry in entries if entry.package]
    return sorted([*versions_of(folder, [entry.dataset for entry in entries if entry.hub], ask), *packages])


def _check_columns(entry: Benchmark) -> None:
    if unknown := sorted(set(entry.columns) - set(FIELDS)):
        raise SftError(f"columns: {unknown[0]!r} is no field of an item; known: {', '.join(FIELDS)}")
    if entry.columns and "question" not in entry.columns:
        raise SftError("columns: name the column of the question too")


def _checked(folder: Folder, name: str) -> Path:
    path = folder.inside(folder.benchmarks, name)
    if not path.exists():
        raise SftError(f"{name!r} is not in {folder.benchmarks}; put it there, or take the entry out")
    return path


def _file(path: Path, name: str, entry: Benchmark, said: str, version: str = "") -> BenchmarkFile:
    opening = Opening(entry.encoding, entry.delimiter, entry.header)
    return BenchmarkFile(path, name, entry.name, entry.columns, opening, said, version)


def _local(folder: Folder, entries: list[tuple[Path, Benchmark]]) -> Iterator[BenchmarkFile]:
    base = folder.benchmarks
    entries = sorted(entries, key=lambda e: len(e[0].parts), reverse=True)
    for path in Folder.files(base):
        name = path.relative_to(base).as_posix()
        at, entry = next((e for e in entries if path.is_relative_to(e[0])), (path, Benchmark(path=name)))
        benchmark = source_name(name)
        if entry.name:  # of a file, or of a folder and every file in it
            benchmark = entry.name if at == path else f"{entry.name}/{source_name(path.relative_to(at).as_posix())}"
        yield replace(_file(path, name, entry, f"path: {name}"), benchmark=benchmark)


def _of_hub(folder: Folder, entry: Benchmark, say: Callable[[str], None]) -> list[BenchmarkFile]:
    from sft_assets.raw import remote  # loads the hub's client: only for those who use it

    found = remote.resolve(folder, entry.dataset)
    if found.offline:
        say(found.offline)
    commit = found.version.partition("@")[2].partition(" ")[0]
    files = remote.fetch(folder, found, say)
    return [_file(path, name, entry, f"hub: {entry.hub}", commit) for path, name in files]


def _of_package(entry: Benchmark, say: Callable[[str], None]) -> list[BenchmarkFile]:
    """The files of a package that are test sets: what else lies there is data of other kinds, or none."""
    package = installed(entry.package)
    if package is None:
        raise SftError(f"package: {entry.package} is not installed: `pip install {entry.package}`, or take the entry out")
    files = []
    for name, path in package.chosen(entry.path).items():
        version = f"{package.version}+{content_hash(path)[:12]}"
        files.append(_file(path, f"package:{package.name}/{name}", entry, f"package: {package.name}, path: {name}", version))
    if entry.path:
        return files
    kept = [file for file in files if _holds_items(file)] or files
    if left := [file.name for file in files if file not in kept]:
        say(f"{package}: left out: {len(left)} files without test items ({', '.join(left[:3])}{', ...' if left[3:] else ''})")
    if len(kept) == 1:
        return kept
    start = len(f"package:{package.name}/")
    return [replace(file, benchmark=f"{entry.name}/{source_name(file.name[start:])}") for file in kept]


def _holds_items(file: BenchmarkFile) -> bool:
    try:
        return bool(read(file).items)
    except Refused:
        return False


# -------------------------------------------------------------------------------------------------------------- reading


def read(file: BenchmarkFile, test_set: TestSet | None = None) -> TestSet:
    """The items of a file, added to those that `test_set` has of other files of its benchmark.

    Raises:
        Refused: it cannot be read, or none of its records is an item; the sentence holds the first one and the remedy.
    """
    result = TestSet() if test_set is None else test_set
    start, records, read_any = result.end, 0, False
    troubles: list[str] = []
    unfit: list[Entry] = []
    for entry in _entries(file):
        records += entry.position > 0
        result.end = max(result.end, start + entry.position)
        if entry.value is None:
            troubles.append(f"record {entry.position}: {entry.trouble}" if entry.position else entry.trouble)
            continue
        found = items(entry.value, file.columns)
        read_any |= bool(found)
        if not found:
            unfit.append(entry)
        for item in found:
            if item.group in result.groups:
                result.groups[item.group].add(item)
                continue
            result.groups[item.group] = item
            result.items[_unique(_id(item.id, start + entry.position), result.items, result.uses)] = item
    if not read_any:
        raise Refused("no_item", _why(file, unfit, troubles))
    if unfit:
        troubles.append(f"record {unfit[0].position}: no question is seen in it: {excerpt(unfit[0].text)}")
    if troubles:
        count = len(troubles) + len(unfit) - bool(unfit)
        result.unread.append(f"{count:,} of {records:,} records were not read; {'; '.join(troubles[:3])}")
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
        f"{what} (fields: {names[:300]}). Say in recipe.yaml which is which: benchmarks: {{files: [{{{file.entry}, "
        f"columns: {{question: ..., answer: ...}}}}]}}. Its first record: {excerpt(first.text)}"
    )


def _entries(file: BenchmarkFile) -> Iterator[Entry]:
    known = {*COLUMNS, *file.columns.values()}

    def fits(value: Any) -> bool:
        return bool(items(value, file.columns))

    for part in parts(file.path, file.name, file.opening, LIMITS, fits, known, texts=False):
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
