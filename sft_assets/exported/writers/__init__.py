"""One writer per config of an export: batches of rows in, files out, memory bounded by a row group.

    messages           data/               parquet: messages, tools, source, ... (the config `default`)
    prompt_completion  prompt_completion/  parquet: prompt, completion, ...
    preference         preference/         parquet and JSON lines: prompt, chosen, rejected, ...
                       unpaired/           the same: prompt, completion, label, ... (not where there is kto)
    kto                kto/                the same: unpaired rows, and both answers of each pair
    alpaca             alpaca/             JSON
    sharegpt           sharegpt/           JSON: train.json, preference-train.json; kto-train.json with the rows of kto/
    openai             openai/             JSON lines: train.jsonl, preference-train.jsonl

`load_dataset` reads all configs of a folder by the type of the first one's files: hence every config has parquet.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path

from sft_assets.arrow import MESSAGE
from sft_assets.exported.writers.columns import Answers, Sft, judged, last_answer, pair, unpaired
from sft_assets.exported.writers.records import (
    Records,
    alpaca_record,
    openai_pair,
    openai_record,
    sharegpt_judged,
    sharegpt_pair,
    sharegpt_record,
)
from sft_assets.exported.writers.rows import COMMON, Config, Writer, conversations, narrow
from sft_assets.formats.writing import REASONS

__all__ = ["COMMON", "FORMATS", "REASONS", "Config", "Writer", "close", "conversations", "narrow", "writers"]

# the formats of the recipe that hold the rows of a kind
FORMATS: Mapping[str, frozenset[str]] = {
    "sft": frozenset(("messages", "alpaca", "sharegpt", "openai", "prompt_completion")),
    "preference": frozenset(("preference", "sharegpt", "openai", "kto")),
    "unpaired": frozenset(("preference", "sharegpt", "kto")),
}
COMPLETION = ("prompt", "completion", "label")


def writers(root: Path, fields: Mapping[str, Sequence[str]], formats: Collection[str]) -> dict[str, list[Writer]]:
    """Who writes the rows of each kind; a writer may be one of several kinds.

    fields: kind -> the fields that its turns have.
    """
    found: dict[str, list[Writer]] = {kind: [] for kind in FORMATS}
    sft, pairs, labelled = found.values()
    if "messages" in formats:
        sft.append(Sft(root, fields["sft"]))
    if "prompt_completion" in formats:
        sft.append(Answers(root, "prompt_completion", COMPLETION[:2], fields["sft"], last_answer, lines=False))
    if "alpaca" in formats:
        sft.append(Records(root, "alpaca", "alpaca/{split}.json", alpaca_record))
    if "sharegpt" in formats:
        sft.append(Records(root, "sharegpt", "sharegpt/{split}.json", sharegpt_record))
    if "openai" in formats:
        sft.append(Records(root, "openai", "openai/{split}.jsonl", openai_record))
    if "preference" in formats:
        pairs.append(Answers(root, "preference", ("prompt", "chosen", "rejected"), fields["preference"], pair))
    if "kto" in formats:
        both = [f.name for f in MESSAGE if f.name in (*fields["preference"], *fields["unpaired"])]
        kto = Answers(root, "kto", COMPLETION, both, judged)
        pairs.append(kto)
        labelled.append(kto)
    elif "preference" in formats:
        labelled.append(Answers(root, "unpaired", COMPLETION, fields["unpaired"], unpaired))
    if "sharegpt" in formats:
        pairs.append(Records(root, "sharegpt_preference", "sharegpt/preference-{split}.json", sharegpt_pair))
        of_labelled = Records(root, "sharegpt_kto", "sharegpt/kto-{split}.json", sharegpt_judged)
        labelled.append(of_labelled)
        pairs += [of_labelled] if "kto" in formats else []
    if "openai" in formats:
        pairs.append(Records(root, "openai_preference", "openai/preference-{split}.jsonl", openai_pair))
    return found


def close(found: Mapping[str, Sequence[Writer]]) -> list[Config]:
    """What all of them wrote, each once."""
    return [writer.close() for writer in dict.fromkeys(chain(*found.values()))]
