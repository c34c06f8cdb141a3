"""The child process that serves the embedded language model. Its standard input tells it what, and when to end:

    {"weights": "/.../SmolLM2-135M-Instruct.Q4_1.gguf", "model": "embedded", "key": "...", "slots": 2, "context": 8192, ...}

one line, so that the key is in no list of processes. Once it answers it writes its address to standard output, and it serves
until standard input is closed: by the parent, or by the system when the parent is gone. It is a process of its own because the
server's destructor hangs while a request is in flight.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import xllamacpp

ERRORS = 1  # of llama.cpp's levels of verbosity


def params(settings: dict[str, Any]) -> xllamacpp.CommonParams:
    """llama.cpp's parameters."""
    chosen = xllamacpp.CommonParams()
    chosen.model.path = settings["weights"]
    chosen.model_alias = {settings["model"]}
    chosen.api_keys = [settings["key"]]
    chosen.port = 0
    chosen.n_parallel = settings["slots"]
    chosen.n_ctx = settings["slots"] * settings["context"]
    chosen.cpuparams.n_threads = settings["threads"]
    chosen.cpuparams_batch.n_threads = settings["threads"]
    chosen.cache_ram_mib = 0  # else up to 8 GB of old prompts
    chosen.endpoint_slots = False  # shows the prompts of others
    chosen.ui = False
    chosen.offline = True
    chosen.verbosity = ERRORS
    return chosen


def main() -> None:
    """Serve until standard input ends."""
    settings = json.loads(sys.stdin.buffer.readline())
    answer = os.dup(1)
    os.dup2(2, 1)  # the library may write to standard output, too
    server = xllamacpp.Server(params(settings))
    os.write(answer, f"{server.listening_address}\n".encode())
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
