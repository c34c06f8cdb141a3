"""Topics of real data: seven sources that are about different things, of which topics know nothing.

    python -m tests.test_corpus_clustered       300 rows of each with the default model: some minutes; prints the topics too

The suite takes the static model, for the sake of time.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest

from sft_assets.folder import Folder
from sft_assets.verbs import Workspace
from tests.conftest import CORPUS, NO_MODELS, fresh, put, rows, say

SOURCES = (
    "gsm8k_train_alpaca.json.gz", "chatdoctor5k.json.gz", "evol_teacher_code_2k.json", "gpteacher_roleplay_deduped.json",
    "glaive_toolcall_en_demo.json", "mlx_wikisql_text_train.jsonl", "alpaca_zh_demo.json",
)  # fmt: skip
MEMBERS = "topic_status = 'member'"
absent = pytest.mark.skipif(not (CORPUS / "instruct").is_dir(), reason=f"the corpus is not in {CORPUS}")


def records(name: str, most: int) -> list[Any]:
    data = (CORPUS / "instruct" / name).read_bytes()
    data = gzip.decompress(data) if name.endswith(".gz") else data
    found = orjson.loads(data) if data.lstrip().startswith(b"[") else [orjson.loads(line) for line in data.splitlines() if line]
    return found[:most]


def run(folder: Folder, most: int, **sections: Any) -> dict[str, Any]:
    """The report of topics over so many rows of each source."""
    for name in SOURCES:
        put(folder, f"{name.split('.')[0]}.jsonl", records(name, most))
    say(folder, **{**NO_MODELS, "embeddings": {}, **sections})
    space = Workspace.open(folder.root)
    space.run(["clustered"], say=lambda _: None)
    report: dict[str, Any] = space.versions()["topics"].report
    return report


def purity(folder: Folder, which: str = "true") -> float:
    """The share of rows whose topic has more of their source than of any other."""
    ((found,),) = rows(
        folder,
        f"""
        SELECT sum(most) / sum(n) FROM (
            SELECT max(n) AS most, sum(n) AS n
            FROM (SELECT topic_id, source, count(*) AS n FROM clustered WHERE {which} GROUP BY ALL) GROUP BY topic_id
        )
        """,
    )
    return float(found)


@absent
def test_topics_are_of_one_source_and_little_is_noise(folder: Folder) -> None:
    report = run(folder, 300, embeddings={"model": "static"})
    assert report["how"].startswith("hdbscan")
    assert report["noise"] <= 0.25
    assert purity(folder, MEMBERS) >= 0.9
    assert report["topics"] >= len(SOURCES)
    assert report["stability_of_members"] > 0.5


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as root:
        built = fresh(Path(root) / "data")
        report = run(built, int(sys.argv[1]) if sys.argv[1:] else 300)
        for entry in report["names"]:
            print(f"{entry['contents']:>5}  {entry['name']:<50}  {entry['group']}")
        print(f"{report['topics']} topics, {report['noise']:.1%} noise before it is placed, {report['islands']} islands")
        print(f"purity {purity(built, MEMBERS):.3f} of members, {purity(built):.3f} of all")
        print(f"adjusted Rand index of two seeds {report['stability']}, of members {report['stability_of_members']}")
