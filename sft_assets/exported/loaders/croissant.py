"""croissant.json: the export in the words of Croissant 1.0, which dataset search and mlcroissant read.

    distribution   {"@type": "cr:FileObject", "@id": "data/train-00000-of-00001.parquet", "sha256": "9f...", ...}
                   {"@type": "cr:FileSet", "@id": "default-files", "includes": "data/*.parquet", ...}
    recordSet      {"@type": "cr:RecordSet", "@id": "default", "field": [{"@id": "default/messages", ...}, ...]}

A record set is a config; its field `split` says which side a record is on. http://mlcommons.org/croissant/1.0
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from pathlib import PurePosixPath
from typing import Any

import orjson
import pyarrow as pa

from sft_assets.exported.facts import Facts
from sft_assets.exported.writers import Config

NAME = "croissant.json"
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet", "format"),
            *("includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
            *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
        )
    },
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
MEDIA_TYPES = {".parquet": "application/x-parquet", ".json": "application/json", ".jsonl": "application/jsonlines"}
TYPES = {"string": "sc:Text", "bool": "sc:Boolean", "double": "sc:Float"}
DESCRIPTIONS = {
    "default": "Conversations for supervised fine-tuning.",
    "prompt_completion": "Conversations, each as the turns before its last answer and that answer.",
    "preference": "Preference pairs: a prompt, a chosen and a rejected answer.",
    "unpaired": "Answers with a label: good or bad.",
    "kto": "Answers with a label, those of preference pairs among them.",
}


def metadata(facts: Facts, hashes: Mapping[str, str], today: date) -> str | None:
    """The text of the file; None where there are no files.

    hashes: path -> sha256.
    """
    if not facts.files:
        return None
    loadable = [config for config in facts.configs if config.schema is not None and config.parts]
    names = sorted({part.strip() for s in facts.sources for part in (s.license or "unknown").split(" AND ")})
    content = hashlib.sha256("".join(f"{path} {hashes[path]}\n" for path in sorted(facts.files)).encode()).hexdigest()
    found = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": facts.name,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "description": f"Instruction data for fine-tuning language models: {facts.rows:,} rows.",
        "license": names,
        "datePublished": today.isoformat(),
        "version": f"1.0.0+{content[:8]}",
        "distribution": [
            *(_file(path, size, hashes[path]) for path, (_, size) in facts.files.items()),
            *(_file_set(config) for config in loadable),
        ],
        "recordSet": [_records(config) for config in loadable],
    }
    return orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _file(path: str, size: int, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{size} B",
        "encodingFormat": MEDIA_TYPES[PurePosixPath(path).suffix],
        "sha256": sha256,
    }


def _file_set(config: Config) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{config.name}-files",
        "name": f"{config.name}-files",
        "encodingFormat": MEDIA_TYPES[".parquet"],
        "includes": f"{_folder(config)}/*.parquet",
    }


def _folder(config: Config) -> str:
    return next(path for part in config.parts.values() for path in part.files).rpartition("/")[0]


def _records(config: Config) -> dict[str, Any]:
    assert config.schema is not None
    files = {"@id": f"{config.name}-files"}
    split = {  # it refers to no record set of splits: mlcroissant 1.1 gives joined records only the first time it is asked
        "@type": "cr:Field",
        "@id": f"{config.name}/split",
        "name": "split",
        "dataType": "sc:Text",
        "source": {
            "fileSet": files,
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": f"{_folder(config)}/({'|'.join(config.parts)})-.*"},
        },
    }
    return {
        "@type": "cr:RecordSet",
        "@id": config.name,
        "name": config.name,
        "description": DESCRIPTIONS.get(config.name, config.name),
        "field": [split, *(_field(config.name, field, files) for field in config.schema)],
    }


def _field(config: str, field: pa.Field, files: dict[str, str]) -> dict[str, Any]:
    """A column. One of turns is repeated and has a sub-field for each field of a turn."""
    ident = f"{config}/{field.name}"
    described = {"@type": "cr:Field", "@id": ident, "name": field.name}
    source = {"fileSet": files, "extract": {"column": field.name}}
    if not pa.types.is_list(field.type):
        return {**described, "dataType": _type(field.type), "source": source}
    parts = [
        {
            "@type": "cr:Field",
            "@id": f"{ident}/{part.name}",
            "name": part.name,
            "dataType": _type(part.type),
            "source": {**source, "transform": {"jsonPath": part.name}},
        }
        for part in field.type.value_type
    ]
    return {**described, "repeated": True, "subField": parts}


def _type(kind: pa.DataType) -> str:
    return "sc:Integer" if pa.types.is_integer(kind) else TYPES[str(kind)]
