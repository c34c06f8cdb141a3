"""What local models made of texts, by the hashes of both: D/embeddings.sqlite has the vectors of texts and of contents,
D/scores.sqlite what likelihoods and rewards know of contents. Written as results come, so a run that is killed has them all the
same; several processes may use it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sft_assets.errors import SftError

# Vectors stand in the order in which they came, an index over their keys beside them: three times as fast to write as a table
# in the order of the keys, which are hashes. Files of that older shape are used as they are.
SCHEMA = "CREATE TABLE IF NOT EXISTS vectors (model TEXT, text BLOB, vector BLOB, PRIMARY KEY (model, text))"
PAGE = 16384  # bytes: several vectors
ASKED = 500  # keys in one query
Floats = npt.NDArray[np.float32]


class Vectors:
    """Vectors by model and text. Raises SftError where the file is no such cache."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as con, con:
            con.execute(SCHEMA)

    def get(self, model: str, texts: Sequence[bytes]) -> dict[bytes, Floats]:
        """Those of the texts, by their hashes, that are known."""
        found: dict[bytes, Floats] = {}
        wanted = list(dict.fromkeys(texts))
        with closing(self._open()) as con:
            for first in range(0, len(wanted), ASKED):
                some = wanted[first : first + ASKED]
                marks = ", ".join("?" * len(some))
                rows = con.execute(f"SELECT text, vector FROM vectors WHERE model = ? AND text IN ({marks})", [model, *some])
                found |= {text: np.frombuffer(vector, np.float32) for text, vector in rows}
        return found

    def known(self, model: str) -> set[bytes]:
        """The hashes of all texts that this model has read."""
        with closing(self._open()) as con:
            return {text for (text,) in con.execute("SELECT text FROM vectors WHERE model = ?", [model])}

    def put(self, model: str, texts: Sequence[bytes], vectors: Floats) -> None:
        """Keep the vectors of texts."""
        rows = [(model, text, vector.tobytes()) for text, vector in zip(texts, vectors, strict=True)]
        with closing(self._open()) as con, con:
            con.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        con = sqlite3.connect(self.path, timeout=60)
        try:
            con.execute(f"PRAGMA page_size = {PAGE}")  # of a new file
            con.execute("PRAGMA journal_mode = WAL")
            con.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last writes, a killed process loses nothing
        except sqlite3.DatabaseError as error:
            con.close()
            raise SftError(f"{self.path} is no cache of {self.path.stem} ({error}). Move it away: it is made again") from None
        return con
