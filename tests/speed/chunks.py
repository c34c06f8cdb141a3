"""The documents of a folder in chunks, in a process of its own: with the parsers to load, then once more with them loaded.

    .venv/bin/python -m tests.speed.chunks [FOLDER] [FILES]

Default: the first 40 files of the corpus' rust_book. `reading` reads, splits and masks; `asset` is the whole of `chunks` with
languages and the database; both in seconds of the clock and of the processor, which differ where others work on the machine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "documents"


def timed(name: str, act: Callable[[], object]) -> None:
    clock, processor = time.perf_counter(), time.process_time()
    said = act()
    print(f"{name:28} {time.perf_counter() - clock:6.2f} s   {time.process_time() - processor:6.2f} s processor   {said}")


def measure(source: Path, files: int) -> None:
    """One folder, in this process: what the others cost is in its first line."""
    from sft_assets.augmented.chunks.asset import chunks
    from sft_assets.augmented.chunks.document import Document
    from sft_assets.augmented.chunks.reading import read_file
    from sft_assets.augmented.chunks.splitting import split
    from sft_assets.folder import Folder
    from sft_assets.masks import mask
    from tests.made_rows import make

    paths = [path for path in Folder.files(source) if path.is_file()][:files]

    def read() -> str:
        pieces = characters = 0
        for path in paths:
            for found in read_file(path, path.name):
                if isinstance(found, Document):
                    pieces += len(split(found, 1500, 200)[0])
                    characters += len(found.text)
                    mask(found.text)
        return f"{len(paths)} files, {characters:,} characters, {pieces:,} pieces"

    with tempfile.TemporaryDirectory() as root:
        documents = Path(root) / "documents"
        for path in paths:
            to = documents / path.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
        folder = Folder.at(root)
        timed("reading, parsers to load", read)
        timed("reading", read)
        timed("asset, models to load", lambda: make(folder, chunks)[0].report["chunks"])
        timed("asset", lambda: make(folder, chunks)[0].report["chunks"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        measure(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        source = sys.argv[1] if len(sys.argv) > 1 else str(CORPUS / "rust_book")
        number = sys.argv[2] if len(sys.argv) > 2 else "40"
        for _ in range(3):
            subprocess.run([sys.executable, "-m", "tests.speed.chunks", "one", source, number], check=True)
            print()
