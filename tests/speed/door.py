"""The door against the bare openai client: 64 requests in flight at a server that takes 200 ms for each, in turns.

    .venv/bin/python -m tests.speed.door [CALLS] [TIMES]

The bare client gathers `chat.completions.create` under a semaphore and keeps nothing; the door hashes, looks up, keeps to caps,
parses and commits. The server has a process of its own; so has each side, without its imports. The ratio is of the medians.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

SECONDS = 0.2
CALLS = """
import sys, time
from sft_assets.models.door.call import Call
url, n = sys.argv[1], int(sys.argv[2])
schema = {"type": "object", "properties": {"reason": {"type": "string"}, "score": {"type": "integer", "enum": [1, 2, 3, 4]}},
          "required": ["reason", "score"], "additionalProperties": False}
calls = [Call(i.to_bytes(16, "big"), "0" * 64, [{"role": "user", "content": f"Grade answer {i}. " + "A line of it. " * 100}],
              {"temperature": 0.0, "max_tokens": 300}, schema) for i in range(n)]
"""
DOOR = f"""{CALLS}
import tempfile
from pathlib import Path
from sft_assets.models.door import Door
from sft_assets.models.door.endpoint import Endpoint
from sft_assets.recipe import Budget, ModelSettings
with tempfile.TemporaryDirectory() as place:
    start = time.perf_counter()
    budget = Budget(calls=2 * n, tokens=10**9, money=1000.0, minutes=60)
    endpoint = Endpoint.at(url, "sk-0123456789abcdef", "scripted")
    path, settings = Path(place) / "calls.sqlite", ModelSettings(concurrency=64)
    with Door(path, "speed", "scripted", settings, budget, endpoint=endpoint) as door:
        good = sum(reply.status == "ok" for _, reply in door.ask(calls))
    print(time.perf_counter() - start, good)
"""
BARE = f"""{CALLS}
import asyncio
from openai import AsyncOpenAI
async def main():
    client, gate = AsyncOpenAI(base_url=url, api_key="sk-0123456789abcdef", max_retries=0), asyncio.Semaphore(64)
    async def one(call):
        async with gate:
            form = {{"type": "json_schema", "json_schema": {{"name": "reply", "schema": call.schema, "strict": True}}}}
            return await client.chat.completions.create(
                model="scripted", messages=call.messages, response_format=form, **call.params)
    done = await asyncio.gather(*(one(call) for call in calls))
    await client.close()
    return sum(bool(reply.choices[0].message.content) for reply in done)
start = time.perf_counter()
good = asyncio.run(main())
print(time.perf_counter() - start, good)
"""


def main(calls: int = 3000, times: int = 5) -> None:
    """Print both rates and their ratio."""
    found: dict[str, list[float]] = {"bare": [], "door": []}
    server = [sys.executable, "-m", "tests.model_server", str(SECONDS)]
    with subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        for _ in range(times):
            for name, code in (("bare", BARE), ("door", DOOR)):
                command = [sys.executable, "-c", code, url, str(calls)]
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                seconds, good = said.split()
                assert int(good) == calls
                found[name].append(calls / float(seconds))
                print(f"{name:<5} {calls / float(seconds):6.0f} calls/s", flush=True)
        process.communicate()
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    bare, door = medians["bare"], medians["door"]
    print(f"median: bare {bare:.0f}, door {door:.0f} calls/s of at most {64 / SECONDS:.0f}, ratio {door / bare:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
