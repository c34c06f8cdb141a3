"""What Argilla's own SDK makes of a queue's files. Runs in a process of its own, for importing it takes a while.

    python tests/argilla_sdk.py QUEUE/argilla OUT
    OUT/found.json     {"settings": {...}, "made_by_classes": {...}, "sent": [{"external_id": ..., "fields": ...}, ...]}
    OUT/answers.json   the export that argilla/README.md describes, with answers of two users
    OUT/to_json.json   the same records as `dataset.records.to_json` writes them

The SDK wants a server as soon as a field is made: here one on loopback that says who is logged in, and nothing else. Nothing of
what is checked comes from it.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import argilla as rg
from argilla.records._io import GenericIO, JsonIO

ANN, BOB = UUID(int=1), UUID(int=2)
USERS = {str(ANN): "ann", str(BOB): "bob"}


class Me(BaseHTTPRequestHandler):
    """Who is logged in."""

    def do_GET(self) -> None:
        body = json.dumps(
            {"id": str(ANN), "username": "ann", "first_name": "Ann", "role": "owner", "version": "2.8.0"}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def settings_by_classes(written: dict[str, Any]) -> rg.Settings:
    """The same settings, made as the SDK's documentation makes them."""
    labels = {option["value"]: option["text"] for option in written["questions"][0]["settings"]["options"]}
    return rg.Settings(
        guidelines=written["guidelines"],
        fields=[
            rg.TextField("question", title="The question"),
            rg.TextField("context", title="Why it is asked"),
            rg.ChatField("row", title="The row", use_markdown=False),
            rg.ChatField("compared", title="Compared with", use_markdown=False, required=False),
        ],
        questions=[
            rg.LabelQuestion("decision", labels, title="What do you decide?"),
            rg.TextQuestion(
                "answer",
                title="The answer as it should be",
                required=False,
                description="Counts where you decide `edit`.",
            ),
            rg.TextQuestion("why", title="Why?", required=False),
        ],
        metadata=[
            *(rg.TermsMetadataProperty(name, title=name) for name in
              ("queue", "row_id", "content_hash", "asked", "about", "choices", "reviewers")),
            rg.IntegerMetadataProperty("number", title="number"),
        ],
    )  # fmt: skip


def answered(record: rg.Record, user: UUID, status: str, **values: str) -> None:
    for question, value in values.items():
        record.responses.add(rg.Response(question_name=question, value=value, user_id=user, status=status))


def main(folder: Path, out: Path) -> None:
    settings = rg.Settings.from_json(folder / "settings.json")
    settings.validate()
    records = JsonIO._records_from_json(folder / "records.json")
    sent = [record.api_model().model_dump(mode="json") for record in records]
    made = settings_by_classes(json.loads((folder / "settings.json").read_text()))

    answered(records[0], ANN, "submitted", decision="edit", answer="Paris, in France.", why="it says more")
    answered(records[0], BOB, "submitted", decision="keep", answer="Paris.")
    answered(records[1], ANN, "draft", decision="drop")
    answered(records[2], BOB, "discarded", decision="drop")
    answered(records[3], ANN, "submitted", decision="prefer_b")
    export = {"users": USERS, "records": GenericIO.to_list(records, flatten=True)}
    (out / "answers.json").write_text(json.dumps(export))
    for number in (0, 3):
        records[number]._model.status = "completed"  # as the server says of records with a submitted response
    JsonIO.to_json(records, out / "to_json.json")
    found = {"settings": settings.serialize(), "made_by_classes": made.serialize(), "sent": sent}
    (out / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Me)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rg.Argilla(api_url=f"http://127.0.0.1:{server.server_port}", api_key="none")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    server.shutdown()
