"""Which files of a hub dataset are its data: those that `datasets` would load for the configuration and splits.

    README.md        configs: [{config_name: en, data_files: [{split: train, path: en/*.jsonl}]}]
    without it       data/train-00000-of-00005.parquet, train/a.jsonl, chats_train.jsonl -> train;  a.jsonl -> train

Unless the recipe names splits, those that are kept for tests (test, validation, dev, ...) are left out: a model that was
trained on them cannot be measured by them.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml
from fsspec.utils import glob_translate

from sft_assets.errors import SftError, did_you_mean
from sft_assets.recipe import ENDINGS

CARDS = ("README.md", ".huggingface.yaml")  # where configurations stand; the second wins
FRONT_MATTER = re.compile(r"\A\s*---[\r\n]+(.*?)[\r\n]+---(?:\r?\n|\Z)", re.DOTALL)
HELD_OUT = re.compile(r"(?:^|[\W\d_])(test|testing|eval|evaluation|validation|valid|val|dev)(?=$|[\W\d_])", re.IGNORECASE)
PARQUET = "refs/convert/parquet"  # the hub's own conversion: <configuration>/<split>/0000.parquet

# as in datasets.data_files: a split by the name of a folder, else of a file
KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SEPARATOR = "[-._ 0-9]"
SHARDED = "data/{}-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]*.*"
IN_FOLDERS = ("**/{0}/**", "**/{0}{1}*/**", "**/*{1}{0}/**", "**/*{1}{0}{1}*/**")
IN_FILES = ("**/{0}{1}*", "**/*{1}{0}{1}*")
NO_DATA = {"README.md", "config.json", "dataset_info.json", "dataset_infos.json", "dummy_data.zip", "dataset_dict.json"}

PACKED = {".gz", ".zst", ".zstd", ".bz2", ".xz"}
KINDS = {
    ".parquet": "parquet", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".csv": "csv", ".tsv": "csv", ".tab": "csv",
    ".arrow": "arrow", ".feather": "arrow", ".txt": "text", ".md": "text",
}  # fmt: skip
PREFERRED = ("parquet", "json", "csv", "arrow", "archive", "text")
RECORDS = frozenset(PREFERRED[:4])

Splits = dict[str, list[str]]


@dataclass(frozen=True)
class Chosen:
    """The data files, sorted by split and name; `left_out`: what else there is, as the rest of a sentence, or nothing."""

    files: tuple[str, ...]
    left_out: str = ""


def choose(
    names: Sequence[str],
    cards: Mapping[str, str] | None = None,
    config: str | None = None,
    split: str | None = None,
    revision: str = "main",
) -> Chosen:
    """The data files of a configuration's splits. `names`: all files of the repository; `cards`: the text of each of CARDS.

    split: one, several as `train+extra`, or `all`; `test|validation` is the first kind of them that there is.

    Raises:
        SftError: there is no such configuration, split or data, or the configuration is not clear.
    """
    names = sorted(names)
    stated = _configurations(cards or {})
    if revision == PARQUET and not stated:
        splits = _converted(names, config)
    else:
        splits = _splits(_configuration(stated, config, names), names)
    splits = {name: [f for f in files if PurePosixPath(f).suffix.lower() in ENDINGS] for name, files in splits.items()}
    splits = {name: files for name, files in splits.items() if files}
    if not splits:
        raise SftError("holds no data files (" + ", ".join(sorted(ENDINGS)) + ")")
    wanted = _wanted(splits, split)
    files = list(dict.fromkeys(name for s in wanted for name in splits[s]))
    kind = _main_kind(files)
    chosen = tuple(name for name in files if _kind(name) == kind)
    notes = [f"split {s} ({len(splits[s])} files)" for s in splits if s not in wanted]
    if others := [name for name in files if _kind(name) != kind]:
        notes.append(f"{len(others)} files that are not {kind} ({', '.join(others[:3])}{', ...' if others[3:] else ''})")
    return Chosen(chosen, ", ".join(notes))


# ------------------------------------------------------------------------------------------------------ configurations


def _configurations(cards: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What README.md and .huggingface.yaml say of each configuration."""
    said: Any = None
    for name, text in cards.items():
        if name == "README.md":
            matter = FRONT_MATTER.match(text)
            text = matter[1] if matter else ""
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SftError(f"has a {name} that is no YAML: {' '.join(str(error).split())}") from None
        if isinstance(data, dict):
            said = data.get("configs", said)
    if not said:
        return {}
    if not isinstance(said, list) or not all(isinstance(c, dict) and "config_name" in c for c in said):
        raise SftError("has a README.md whose `configs` are no list of entries with a config_name")
    return {str(config["config_name"]): config for config in said}


def _configuration(stated: dict[str, dict[str, Any]], config: str | None, names: Sequence[str]) -> dict[str, Any]:
    if config is None:
        default = [name for name, said in stated.items() if len(stated) == 1 or name == "default" or said.get("default")]
        if stated and len(default) != 1:
            raise SftError(f"has the configurations {', '.join(stated)}; name one in `config:`")
        return stated[default[0]] if stated else {}
    if config in stated:
        return stated[config]
    if not stated and config == "default":
        return {}
    if not stated and any(name.startswith(f"{config}/") for name in names):
        return {"data_dir": config}
    raise SftError(f"has no configuration {config!r}; {did_you_mean(config, stated or ['default'], 'it has')}")


def _converted(names: Sequence[str], config: str | None) -> Splits:
    """The files of the hub's own conversion to parquet."""
    parts = [(name, name.split("/")) for name in names if name.endswith(".parquet") and name.count("/") == 2]
    configs = dict.fromkeys(steps[0] for _, steps in parts)
    chosen = _configuration({name: {"name": name} for name in configs}, config, ())
    splits: Splits = {}
    for name, steps in parts:
        if steps[0] == chosen.get("name"):
            splits.setdefault(steps[1].removeprefix("partial-"), []).append(name)
    return splits


# -------------------------------------------------------------------------------------------------------------- splits


def _splits(said: dict[str, Any], names: Sequence[str]) -> Splits:
    base, data_files = str(said.get("data_dir") or ""), said.get("data_files")
    if data_files is None:
        return _seen(names, base)
    splits: Splits = {}
    for split, patterns in _patterns(data_files).items():
        found = [name for pattern in patterns for name in _matching(pattern, base, names)]
        if not found:
            raise SftError(f"names {', '.join(patterns)} as data of split {split} in its README.md, and has no such file")
        splits[split] = list(dict.fromkeys(found))
    return splits


def _patterns(data_files: Any) -> dict[str, list[str]]:
    """data_files of a README: a pattern, a list of them, or a list of {split, path}."""
    items = data_files if isinstance(data_files, list) else [data_files]
    result: dict[str, list[str]] = {}
    for item in items:
        split, path = (item.get("split"), item.get("path")) if isinstance(item, dict) else ("train", item)
        paths: list[Any] = path if isinstance(path, list) else [path]
        if not isinstance(split, str) or not all(isinstance(p, str) for p in paths):
            raise SftError(f"has a README.md whose `data_files` cannot be read: {item!r}")
        for pattern in paths:
            if "://" in pattern:
                raise SftError(f"names data outside of it ({pattern.split('?')[0]}); make that a source of its own, by `url:`")
        result.setdefault(split, []).extend(paths)
    return result


def _seen(names: Sequence[str], base: str) -> Splits:
    """Splits as the names of folders and files tell them; where they tell nothing, everything is train."""
    if sharded := _matching(SHARDED.format("*"), base, names):
        splits: Splits = {}
        for name in sharded:
            splits.setdefault(re.sub(r"-\d{5}-of-\d{5}.*", "", posixpath.basename(name)), []).append(name)
        return splits
    for patterns in (IN_FOLDERS, IN_FILES):
        found = {
            split: sorted({n for word in words for p in patterns for n in _matching(p.format(word, SEPARATOR), base, names)})
            for split, words in KEYWORDS.items()
        }
        if any(found.values()):
            return found
    return {"train": _matching("**", base, names)}


def _matching(pattern: str, base: str, names: Sequence[str]) -> list[str]:
    """The names that a pattern means. Hidden files and folders, and those named __..., must be named as such."""
    pattern = posixpath.normpath(posixpath.join(base, pattern))
    try:
        fits = re.compile(glob_translate(pattern)).match
    except (ValueError, re.error):
        raise SftError(f"names data by the pattern {pattern!r}, which is none: ** stands for whole folders only") from None
    ignored, special = NO_DATA - {posixpath.basename(pattern)}, _special(pattern)
    return [n for n in names if fits(n) and posixpath.basename(n) not in ignored and _special(n) == special]


def _special(path: str) -> tuple[int, int]:
    parts = path.split("/")
    return sum(p.startswith(".") for p in parts), sum(p.startswith("__") for p in parts[:-1])


def _wanted(splits: Splits, split: str | None) -> list[str]:
    if split is None:
        kept = [name for name in splits if not HELD_OUT.search(name)]
        if not kept:
            raise SftError(f"has only splits that are kept for tests ({', '.join(splits)}); name one in `split:` to take it")
        return kept
    if split == "all" and "all" not in splits:
        return list(splits)
    for kind in split.split("|") if "|" in split else ():
        words = {kind, *KEYWORDS.get(kind, ())}
        if found := [name for name in splits if kind == "all" or words & {name, *re.split(r"[\W\d_]+", name.lower())}]:
            return found
    wanted = [name.strip() for name in split.split("+")]
    for name in wanted:
        if "[" in name:
            raise SftError(f"split {name!r}: slices are not read; name the split, and say `cap:` or `weight:`")
        if name not in splits:
            raise SftError(f"has no split {name!r}; {did_you_mean(name, splits, 'it has')}")
    return wanted


# --------------------------------------------------------------------------------------------------------------- kinds


def _kind(name: str) -> str:
    path = PurePosixPath(name.lower())
    return KINDS.get(path.with_suffix("").suffix if path.suffix in PACKED else path.suffix, "archive")


def _main_kind(files: Sequence[str]) -> str:
    """The kind that most of the files are; pages of text and archives beside files of records are not the data."""
    counts = Counter(map(_kind, files))
    of_records = {kind: n for kind, n in counts.items() if kind in RECORDS}
    if of_records:
        return max(of_records, key=lambda kind: (of_records[kind], -PREFERRED.index(kind)))
    return min(counts, key=PREFERRED.index)
