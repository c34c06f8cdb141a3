"""`sft explore`: the map in a browser, or embedding-atlas, from an environment of its own, on the same rows.

embedding-atlas asks for other versions of what this package needs, so it is never installed beside it: it is found as a command
(on PATH, or named), and is given a parquet file of the map.
"""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.warehouse import Warehouse
from sft_assets.warehouse.versions import read_versions

COMMAND = "embedding-atlas"
HOW = (
    f"install it on its own (python3 -m venv atlas && atlas/bin/pip install {COMMAND}==0.22.0), then say "
    f"--atlas atlas/bin/{COMMAND}"
)


def map_file(folder: Folder) -> Path:
    """The map.

    Raises:
        SftError: there is none yet.
    """
    if not folder.map.is_file():
        raise SftError(f"{folder.map}: there is no map yet; `sft run map` draws it")
    return folder.map


def atlas_command(name: str) -> str:
    """The command that starts embedding-atlas: `name` on PATH, or a path.

    Raises:
        SftError: it is not there.
    """
    found = shutil.which(os.path.expanduser(name))
    if found is None:
        raise SftError(f"{name} is not there; {HOW}")
    return os.path.abspath(found)


def atlas_arguments(house: Warehouse, folder: Folder, name: str = COMMAND) -> list[str]:
    """The command line that shows the rows of the map in embedding-atlas on 127.0.0.1, on a free port. Writes its parquet file.

    Raises:
        SftError: the command is not there, or there is no map yet.
    """
    command = atlas_command(name)
    path = folder.root / ".atlas" / "rows.parquet"
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with house.reading() as con:
            if "map" not in {v.asset for v in read_versions(con)}:
                raise SftError(f"{house.path}: there is no map yet; `sft run map` draws it")
            con.execute("SET preserve_insertion_order = true")
            con.execute(
                f"""
                COPY (
                    SELECT m.row_id::VARCHAR AS row_id, m.x, m.y, coalesce(t.topic_name, '') AS topic,
                        coalesce(t.group_name, '') AS topic_group, c.source, m.state, m.reason,
                        list_filter(messages, lambda m: m.role = 'user')[1].content AS prompt,
                        list_filter(messages, lambda m: m.role = 'assistant')[-1].content AS answer
                    FROM map AS m JOIN combined AS c USING (row_id)
                    LEFT JOIN (SELECT DISTINCT topic, topic_name, group_name FROM topics) AS t USING (topic)
                    WHERE m.x IS NOT NULL ORDER BY m.row_id
                ) TO '{str(partial).replace("'", "''")}' (FORMAT parquet)
                """
            )
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    columns = ("row_id", "topic", "topic_group", "source", "state", "reason", "prompt", "answer", "x", "y")
    query = f"SELECT {', '.join(columns)} FROM data"  # else it shows the file's absolute path as a column
    return [
        command, str(path), "--x", "x", "--y", "y", "--text", "prompt", "--query", query, "--host", "127.0.0.1",
        "--port", str(port), "--no-auto-port", "--duckdb", "server",
    ]  # fmt: skip
