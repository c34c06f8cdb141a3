"""The dataset card: README.md, which the hub shows and `datasets.load_dataset` reads.

    ---
    language: [en]
    license: apache-2.0
    configs:
    - {config_name: default, data_files: [{split: train, path: data/train-*.parquet}], default: true}
    dataset_info: ...
    ---
    # sft-dataset
    | state | rows in | added | kept | left out |

Numbers and names only: no text of the dataset. Specification: https://github.com/huggingface/hub-docs, datasetcard.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import yaml

from sft_assets import __version__
from sft_assets.exported.facts import Facts
from sft_assets.exported.files import Part
from sft_assets.exported.writers import Config

PATH = "path/to/this/folder"
KINDS = {
    "sft": "conversations for supervised fine-tuning",
    "preference": "preference pairs",
    "unpaired": "answers labelled good or bad",
}
TRAINERS = {"default": "SFTTrainer", "preference": "DPOTrainer", "unpaired": "KTOTrainer"}
WHY_NOT_ALPACA = {
    "tools": "tools or tool calls",
    "turns_do_not_alternate": "user and assistant do not take turns",
    "reasoning_name_or_weight": "reasoning, speaker names or loss weights, which Alpaca has no field for",
}


def card(facts: Facts) -> str:
    """The whole README.md."""
    front = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True)
    sections = [_what(facts), _loading(facts), _funnel(facts), _edits(facts), _sources(facts), _alpaca(facts), _files(facts)]
    return f"---\n{front}---\n\n" + "\n\n".join(s for s in sections if s) + "\n"


# ----------------------------------------------------------------------------------------------------- front matter


def front_matter(facts: Facts) -> dict[str, Any]:
    """The card's metadata, by the hub's names."""
    loadable = [c for c in facts.configs if c.schema is not None and c.parts]
    languages = sorted(
        {s.language for s in facts.sources if s.language and re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", s.language)}
    )
    return {
        **({"language": languages} if languages else {}),
        **licenses(s.license for s in facts.sources),
        "pretty_name": facts.name,
        "size_categories": [size_category(facts.rows)],
        "task_categories": ["text-generation"],
        "tags": _tags(facts),
        **({"configs": [_data_files(c, c is loadable[0]) for c in loadable]} if loadable else {}),
        **({"dataset_info": [_info(c, facts.files) for c in loadable]} if loadable else {}),
    }


def licenses(names: Iterable[str | None]) -> dict[str, Any]:
    """`license` where all are identifiers of the hub's kind (rows without one: unknown), else `other` with the names."""
    found = sorted({part.strip() for name in names for part in (name or "unknown").split(" AND ")})
    if not found:
        return {}
    if all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", name) for name in found):
        ids = sorted({name.lower() for name in found})
        return {"license": ids[0] if len(ids) == 1 else ids}
    return {"license": "other", "license_name": ", ".join(found)}


def size_category(rows: int) -> str:
    """The hub's word for a number of rows."""
    if rows < 1000:
        return "n<1K"
    steps = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B"]
    power = min(len(str(rows)) - 4, len(steps) - 2)
    return f"{steps[power]}<n<{steps[power + 1]}"


def _tags(facts: Facts) -> list[str]:
    tags = ["instruction-tuning", "conversational", "sft", "trl"]
    if facts.counts.get("preference"):
        tags.append("preference")
    if any("tool_calls" in str(c.schema) for c in facts.configs if c.schema is not None):
        tags.append("tool-calling")
    return tags


def _data_files(config: Config, default: bool) -> dict[str, Any]:
    files = [{"split": split, "path": _pattern(split, part)} for split, part in config.parts.items()]
    return {"config_name": config.name, "data_files": files, **({"default": True} if default else {})}


def _pattern(split: str, part: Part) -> str:
    folder = next(iter(part.files)).rpartition("/")[0]
    return f"{folder}/{split}-*.parquet"


def _info(config: Config, files: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    assert config.schema is not None
    splits = [{"name": s, "num_bytes": p.num_bytes, "num_examples": p.rows} for s, p in config.parts.items()]
    return {
        "config_name": config.name,
        "features": [_feature(field) for field in config.schema],
        "splits": splits,
        "download_size": sum(files[path][1] for part in config.parts.values() for path in part.files),
        "dataset_size": sum(p.num_bytes for p in config.parts.values()),
    }


def _feature(field: pa.Field) -> dict[str, Any]:
    """A column in the words of `datasets`. Tool calls are its Json feature: text in the file, objects when loaded."""
    if pa.types.is_list(field.type):
        return {"name": field.name, "list": [_feature(f) for f in field.type.value_type]}
    dtype = "json" if field.name == "tool_calls" else {"double": "float64"}.get(str(field.type), str(field.type))
    return {"name": field.name, "dtype": dtype}


# ------------------------------------------------------------------------------------------------------------- body


def _what(facts: Facts) -> str:
    splits = [s for s in ("train", "test") if any(s in by_split for by_split in facts.counts.values())]
    rows = [[KINDS[kind], *(n.get(s, 0) for s in splits)] for kind, n in facts.counts.items()]
    text = f"# {cell(facts.name)}\n\nInstruction data for fine-tuning language models: {facts.rows:,} rows"
    text += f", made with sft_assets {__version__}."
    if not facts.rows:
        return f"{text} **It holds no rows**: the table of states below says where they went."
    text += f"\n\n{table(['rows', *splits], rows)}"
    if "test" in splits:
        text += "\n\nNear duplicates, answers to one prompt and rows of one record are always on the same side of the split."
    return text


def _loading(facts: Facts) -> str:
    configs = [c for c in facts.configs if c.schema is not None and c.parts]
    if not configs:
        return ""
    lines = ["from datasets import load_dataset", f"from trl import {', '.join(TRAINERS[c.name] for c in configs)}", ""]
    for i, config in enumerate(configs):
        name = f', "{config.name}"' if i else ""
        split = next(iter(config.parts))
        lines += [
            f'dataset = load_dataset("{PATH}"{name})  # splits: {", ".join(config.parts)}',
            f'trainer = {TRAINERS[config.name]}(model="...", train_dataset=dataset["{split}"])',
        ]
    text = "\n".join(lines)
    notes = "`tools` is JSON text, which TRL parses."
    if "tool-calling" in _tags(facts):
        notes += " `tool_calls` is JSON text in the parquet files; `datasets` from 4.8 on gives it as objects."
    return f"## Loading\n\n```python\n{text}\n```\n\n{notes}"


def _funnel(facts: Facts) -> str:
    rows = []
    for state, report in facts.funnel.items():
        out = {**report.get("quarantined", {}), **report.get("dropped", {})}
        if report.get("refused_files"):
            out["refused files:"] = report["refused_files"]
        rows.append([state, report["in"], report.get("created", 0), report["kept"], _reasons(out)])
    return f"## How it was made\n\n{table(['state', 'rows in', 'added', 'kept', 'left out'], rows)}"


def _edits(facts: Facts) -> str:
    rows = [[state, what, n] for state, report in facts.funnel.items() for what, n in report.get("edited", {}).items()]
    if not rows:
        return "## What was changed\n\nNothing was masked or repaired."
    return (
        "## What was changed\n\nPersonal data and secrets that were masked stand in the text as a word in angle brackets "
        f"(`<EMAIL>`). They were found by patterns; some may have been missed.\n\n{table(['state', 'change', 'times'], rows)}"
    )


def _sources(facts: Facts) -> str:
    if not facts.sources:
        return ""
    rows = [[s.name, s.license or "not stated", s.language or "", s.rows] for s in facts.sources]
    return f"## Sources\n\n{table(['source', 'licence', 'language', 'rows'], rows)}"


def _alpaca(facts: Facts) -> str:
    parts = []
    rows = [[WHY_NOT_ALPACA[reason], n] for c in facts.configs for reason, n in sorted(c.left_out.items())]
    if rows:
        parts.append(f"## What Alpaca cannot hold\n\nNot in the files of `alpaca/`:\n\n{table(['rows with', 'rows'], rows)}")
    if facts.not_written:
        rows = [[KINDS[kind], n] for kind, n in facts.not_written.items()]
        why = "The recipe's `exported.formats` names no format for them:"
        parts.append(f"## Rows in no file\n\n{why}\n\n{table(['rows', 'number'], rows)}")
    return "\n\n".join(parts)


def _files(facts: Facts) -> str:
    rows = [[path, n, size] for path, (n, size) in sorted(facts.files.items())]
    note = "`MANIFEST.json` has the sha256 of each, the recipe, and the version of every state."
    return f"## Files\n\n{table(['file', 'rows', 'bytes'], rows)}\n\n{note}" if rows else ""


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {n:,}" for reason, n in counts.items())


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table of names and numbers; columns of numbers are set to the right."""
    right = [bool(rows) and all(isinstance(row[i], int) for row in rows) for i in range(len(head))]
    lines = [head, ["---:" if r else "---" for r in right]]
    lines += [[f"{v:,}" if isinstance(v, int) else cell(v) for v in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """A name as Markdown shows it, whatever stands in it."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", " ".join(plain.split()))
