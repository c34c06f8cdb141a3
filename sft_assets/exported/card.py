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
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import yaml

from sft_assets import __version__
from sft_assets.exported.facts import GENERATED, OF_PEOPLE, Facts
from sft_assets.exported.files import Part
from sft_assets.exported.licenses import NO_ADVICE, known, read, terms
from sft_assets.exported.splits import SPLITS
from sft_assets.exported.writers import REASONS, Config

PATH = "path/to/this/folder"
KINDS = {
    "sft": "conversations for supervised fine-tuning",
    "preference": "preference pairs",
    "unpaired": "answers labelled good or bad",
}
TRAINERS = {
    "default": "SFTTrainer",
    "prompt_completion": "SFTTrainer",
    "preference": "DPOTrainer",
    "unpaired": "KTOTrainer",
    "kto": "KTOTrainer",
}
READERS = {  # of the files that `load_dataset` is not told about, and of those beside the data
    "alpaca/": "the Alpaca format, for LLaMA-Factory and Axolotl (`type: alpaca`)",
    "sharegpt/": "the ShareGPT format, for LLaMA-Factory (`formatting: sharegpt`)",
    "openai/": "JSON lines for the fine-tuning of OpenAI and services like it: chats, and pairs for preference tuning",
    "dataset_info.json": "LLaMA-Factory: `dataset_dir` is this folder, and `dataset` one or more of the names in the file",
    "axolotl.yaml": "the part of an Axolotl configuration that names these files",
    "croissant.json": "the same facts in Croissant's vocabulary, for catalogues and loaders",
}


def card(facts: Facts, others: Collection[str] = ()) -> str:
    """The whole README.md. others: files of the export that are neither data nor this one."""
    front = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True)
    made_of = [_funnel, _edits, _sources, _licenses, _repeated, _tokens, _left_out, _files]
    sections = [_what(facts), _loading(facts, others), *(section(facts) for section in made_of)]
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
        **licenses(facts.licensing.held),
        "annotations_creators": _annotations(facts),
        "pretty_name": facts.name,
        "size_categories": [size_category(facts.rows)],
        **({"source_datasets": list(facts.came_from)} if facts.came_from else {}),
        "task_categories": ["text-generation"],
        "tags": _tags(facts),
        **({"configs": [_data_files(c, c is loadable[0]) for c in loadable]} if loadable else {}),
        **({"dataset_info": [_info(c, facts.files) for c in loadable]} if loadable else {}),
    }


def licenses(held: Iterable[str]) -> dict[str, Any]:
    """`license` where the hub has an identifier for each (rows without one: unknown), else `other` with names and a link.

    held: licences by id.
    """
    found = [known().get(id) or read(id)[0] for id in sorted(held)]
    if not found:
        return {}
    if all(license.hub for license in found):
        ids = [license.id for license in found]
        return {"license": ids[0] if len(ids) == 1 else ids}
    names = "-and-".join(re.sub(r"[^a-z0-9.+]+", "-", license.id.lower()).strip("-") or "unnamed" for license in found)
    link = found[0].url if len(found) == 1 and "://" in found[0].url else "README.md"
    return {"license": "other", "license_name": names, "license_link": link}


def _annotations(facts: Facts) -> list[str]:
    """Who wrote the answers: they came with the sources, models made them, or people of the team corrected or compared them."""
    made = [s.name.startswith(GENERATED) and s.name != OF_PEOPLE for s in facts.sources]
    by_people = facts.edited > 0 or any(s.name == OF_PEOPLE for s in facts.sources)
    words = {"found": not all(made), "machine-generated": any(made), "expert-generated": by_people}
    return [word for word, holds in words.items() if holds] or ["no-annotation"]


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
    if any(s.name.startswith(GENERATED) and s.name != OF_PEOPLE for s in facts.sources):
        tags.append("synthetic")
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
    splits = [s for s in SPLITS if any(s in by_split for by_split in facts.counts.values())]
    rows = [[KINDS[kind], *(n.get(s, 0) for s in splits)] for kind, n in facts.counts.items()]
    text = f"# {cell(facts.name)}\n\nInstruction data for fine-tuning language models: {facts.rows:,} rows"
    text += f", made with sft_assets {__version__}."
    if not facts.rows:
        return f"{text} **It holds no rows**: the table of states below says where they went."
    text += f"\n\n{table(['rows', *splits], rows)}"
    if len(splits) > 1:
        text += (
            "\n\nNear duplicates, answers to one prompt, rows of one record, and generated rows with what they were made from "
            "are always on the same side of the split. Each topic is divided in about the same shares."
        )
    return text


def _loading(facts: Facts, others: Collection[str]) -> str:
    configs = [c for c in facts.configs if c.schema is not None and c.parts]
    parts = []
    if configs:
        names = ", ".join(dict.fromkeys(TRAINERS[c.name] for c in configs))
        lines = ["from datasets import load_dataset", f"from trl import {names}", ""]
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
            notes += " `tool_calls` is JSON text in the parquet files; `datasets` from 4.8 on gives it as objects, and"
            notes += " the arguments too, as chat templates take them (DeepSeek V3's wants the arguments as text)."
        if any("weight:" in str(c.schema) for c in configs):
            notes += " A turn of `weight` 0 is not to be learned from: axolotl honours it, TRL does not look at it."
        parts.append(f"```python\n{text}\n```\n\n{notes}")
    paths = [*facts.files, *others]
    read = [f"- `{start}`: {says}" for start, says in READERS.items() if any(path.startswith(start) for path in paths)]
    parts += ["\n".join(read)] if read else []
    return "\n\n".join(["## Loading", *parts]) if parts else ""


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


def _licenses(facts: Facts) -> str:
    said = facts.licensing
    if not said.obligations:
        return ""
    rows = [
        [terms()[term], id, _named(of_source)]
        for term, of_license in said.obligations.items()
        for id, of_source in of_license.items()
    ]
    text = f"## What the licences ask for\n\n{NO_ADVICE}\n\n{table(['obligation', 'licence', 'rows of'], rows)}"
    if said.conflicts:
        pairs = [[" and ".join(c.licenses), f"{c.says} ({c.source})"] for c in said.conflicts]
        text += (
            "\n\n**Some of the licences contradict each other**, and the recipe says `incompatible_licenses: allow`:\n\n"
            f"{table(['licences', 'why'], pairs)}"
        )
    return text


def _named(of_source: Mapping[str, int]) -> str:
    return ", ".join(f"{source} {n:,}" for source, n in of_source.items())


def _repeated(facts: Facts) -> str:
    if not facts.repeated:
        return ""
    rows = [[name, n["rows"], f"{n['times']:g}", n["written"]] for name, n in facts.repeated.items()]
    note = "Rows of these sources stand in the train files more than once; the numbers of rows above count each once."
    return f"## Repeated rows\n\n{note}\n\n{table(['source', 'rows in train', 'times', 'written'], rows)}"


def _tokens(facts: Facts) -> str:
    if not (said := facts.tokens):
        return ""
    rows = [[split, *numbers.values()] for split, numbers in said["splits"].items()]
    how = f"Counted with {cell(said['tokenizer'])}, {said['counted']}; of a pair the longer conversation."
    if said["not_in_template"]:
        how += f" The template does not take {said['not_in_template']:,} conversations, of which the contents were counted."
    head = ["split", "tokens", "a row in the middle", "the longest twentieth: from", "the longest row"]
    return f"## Tokens\n\n{how}\n\n{table(head, rows)}"


def _left_out(facts: Facts) -> str:
    parts = []
    rows = [[c.name, REASONS.get(reason, reason), n] for c in facts.configs for reason, n in sorted(c.left_out.items())]
    if rows:
        why = "A format leaves out what it has no form for:"
        parts.append(f"## What a format cannot hold\n\n{why}\n\n{table(['format', 'rows with', 'rows'], rows)}")
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
