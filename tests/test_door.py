"""The door to language models: what it asks and how often, what it keeps, what it may cost, and what it never tells."""

from __future__ import annotations

import gc
import logging
import random
import re
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft_assets.errors import SftError
from sft_assets.models.door import Call, Calls, Door, Patience, Reply, Spent, structured, upper_bound
from sft_assets.models.door.caps import Cost
from sft_assets.models.door.endpoint import OPENAI, Endpoint
from sft_assets.models.door.retry import retry_after
from sft_assets.models.door.structured import Unparsed
from sft_assets.recipe import EMBEDDED, Budget, ModelSettings, Price
from tests.model_server import DROP, HANG, Answer, ModelServer, Request, Script, chat, error

SCHEMA = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "score": {"type": "integer", "enum": [1, 2, 3, 4]}},
    "required": ["reason", "score"],
    "additionalProperties": False,
}
PROMPT = "0" * 64
CANARY = "sk-canary-4f1d9b7c2a8e6053"
Serve = Callable[..., ModelServer]
QUICK = Patience(base=0.001, most=0.01, longest_pause=5.0)
GOOD = {"reason": "Correct, but terse.", "score": 3}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.sqlite"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts scripted servers; they end with the test."""
    servers: list[ModelServer] = []

    def start(script: Script = lambda request: chat()) -> ModelServer:
        servers.append(ModelServer(script).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__()


def calls(n: int, first: int = 0, schema: dict[str, Any] | None = SCHEMA, **params: Any) -> list[Call]:
    return [
        Call(i.to_bytes(16, "big"), PROMPT, [{"role": "user", "content": f"row {i}"}], {"max_tokens": 50, **params}, schema)
        for i in range(first, first + n)
    ]


def door(path: Path, server: ModelServer, caps: Budget | None = None, key: str = CANARY, **settings: Any) -> Door:
    endpoint = Endpoint.at(server.url, key, "scripted")
    return Door(path, "judgements", "scripted", ModelSettings(**settings), caps, endpoint=endpoint, patience=QUICK)


def ask(path: Path, server: ModelServer, asked: list[Call], caps: Budget | None = None, **settings: Any) -> list[Reply]:
    """The replies in the order of the calls, without those that were not asked."""
    with door(path, server, caps, **settings) as opened:
        replies = {call.subject: reply for call, reply in opened.ask(asked)}
    return [replies[call.subject] for call in asked if call.subject in replies]


# ---------------------------------------------------------------------------------------------------------- the cache


def test_what_was_answered_is_not_asked_again(path: Path, serve: Serve) -> None:
    server = serve()
    first = ask(path, server, calls(300))
    second = ask(path, server, calls(310))
    assert len(server.seen) == 310
    assert [r.cached for r in first] == [False] * 300
    assert [r.cached for r in second] == [True] * 300 + [False] * 10
    assert {r.status for r in first + second} == {"ok"} and second[0].value == first[0].value == GOOD


def test_another_prompt_model_parameter_schema_or_message_is_another_call() -> None:
    call = Call(b"s" * 16, "p", [{"role": "user", "content": "x"}], {"max_tokens": 5, "seed": 1}, SCHEMA)
    others = [
        Call(b"s" * 16, "q", call.messages, call.params, call.schema),
        Call(b"s" * 16, "p", [{"role": "user", "content": "y"}], call.params, call.schema),
        Call(b"s" * 16, "p", call.messages, {"max_tokens": 5, "seed": 2}, call.schema),
        Call(b"s" * 16, "p", call.messages, call.params, None),
    ]
    keys = {call.key("m"), call.key("n"), call.key(EMBEDDED), *(other.key("m") for other in others)}
    assert len(keys) == 7
    same = Call(b"t" * 16, "p", ({"content": "x", "role": "user"},), {"seed": 1, "max_tokens": 5}, dict(SCHEMA))
    assert same.key("m") == call.key("m")


def test_equal_calls_of_one_run_are_asked_once_and_known_for_every_subject(path: Path, serve: Serve) -> None:
    server = serve(lambda request: chat().after(0.01))
    one = calls(1)[0]
    twins = [Call(bytes([i]) * 16, one.prompt, one.messages, one.params, one.schema) for i in range(1, 6)]
    replies = ask(path, server, twins[:4])
    assert len(server.seen) == 1
    assert sorted(reply.cached for reply in replies) == [False, True, True, True]
    ask(path, server, twins[4:])
    assert len(server.seen) == 1
    assert Calls(path).known("scripted", [PROMPT]) == {twin.subject for twin in twins}


def test_a_subject_is_known_when_every_prompt_has_its_reply(path: Path, serve: Serve) -> None:
    server = serve()
    a, b = calls(2)
    ask(path, server, [a, b, Call(a.subject, "1" * 64, a.messages, a.params, a.schema)])
    found = Calls(path)
    assert found.known("scripted", [PROMPT]) == {a.subject, b.subject}
    assert found.known("scripted", [PROMPT, "1" * 64]) == {a.subject}
    assert found.known("another", [PROMPT]) == found.known("scripted", []) == set()


def test_a_reply_is_on_disk_before_it_is_given(path: Path, serve: Serve) -> None:
    with door(path, serve()) as opened:
        for call, reply in opened.ask(calls(50)):
            assert Calls(path).get([call.key("scripted")])[call.key("scripted")].raw == reply.raw


def test_texts_log_probabilities_and_reasons_survive_the_disk(path: Path, serve: Serve) -> None:
    top = [{"token": "3", "logprob": -0.25}, {"token": "4", "logprob": -1.5}]
    token = {"token": "3", "logprob": -0.25, "top_logprobs": top}
    server = serve(lambda request: chat("3", "length", logprobs={"content": [token]}))
    asked = calls(1, schema=None, logprobs=True, top_logprobs=2)
    (fresh,) = ask(path, server, asked)
    (kept,) = ask(path, server, asked)
    assert (fresh.value, fresh.finish) == ("3", "length")
    assert fresh.logprobs == [{"token": "3", "logprob": -0.25, "top": [["3", -0.25], ["4", -1.5]]}]
    assert kept == Reply(**{**fresh.__dict__, "cached": True})
    assert server.seen[0].body["top_logprobs"] == 2 and "response_format" not in server.seen[0].body


def test_the_calls_are_taken_only_as_far_ahead_as_needed(path: Path, serve: Serve) -> None:
    taken = 0

    def endless() -> Iterator[Call]:
        nonlocal taken
        for call in calls(5000):
            taken += 1
            yield call

    with door(path, serve()) as opened:
        replies = opened.ask(endless())
        for _ in range(20):
            next(replies)
        assert taken < 1000
        replies.close()


def test_a_damaged_cache_is_refused_with_the_way_out_and_left_as_it_is(path: Path, serve: Serve) -> None:
    path.write_bytes(b"this is no database, and never was one" * 100)
    before = path.read_bytes()
    with pytest.raises(SftError, match=r"no cache of model calls.*mv .*calls\.sqlite"):
        Calls(path)
    assert path.read_bytes() == before
    path.unlink()
    ask(path, serve(), calls(400))
    with sqlite3.connect(path) as con:
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    torn = bytearray(path.read_bytes())
    torn[4096 : len(torn) // 2] = b"\xff" * (len(torn) // 2 - 4096)
    path.write_bytes(torn)
    with pytest.raises(SftError, match="damaged"):
        Calls(path).get([call.key("scripted") for call in calls(400)])


def test_a_cache_that_cannot_be_written_ends_the_run_with_a_sentence(path: Path, serve: Serve) -> None:
    with door(path, serve()) as opened:
        replies = opened.ask(calls(800))
        next(replies)
        with sqlite3.connect(path) as con:
            con.execute("DROP TABLE subjects")
        with pytest.raises(SftError, match=r"calls\.sqlite: .*subjects.*committed are safe"):
            list(replies)


# ---------------------------------------------------------------------------------------------------------- the ledger and caps


def test_the_ledger_says_what_each_asset_model_and_run_took(path: Path, serve: Serve) -> None:
    server = serve()
    price = Price(input=2.0, output=10.0)
    with door(path, server, price=price) as opened:
        list(opened.ask(calls(10)))
    with door(path, server, price=price) as again:
        list(again.ask(calls(15)))
    cost = (100 * 2 + 20 * 10) / 1e6
    assert opened.spent.cost == pytest.approx(10 * cost) and opened.spent.prompt_tokens == 1000
    ledger = Calls(path)
    (total,) = ledger.totals().values()
    assert (total.calls, total.cached, total.failed) == (15, 10, 0)
    assert (total.prompt_tokens, total.completion_tokens) == (1500, 300) and total.cost == pytest.approx(15 * cost)
    assert ledger.totals(run=again.run)["judgements", "scripted"].calls == 5
    assert ledger.totals(asset="other") == ledger.totals(model="other") == {}


def test_a_cap_of_calls_is_never_passed_and_what_was_paid_for_is_kept(path: Path, serve: Serve) -> None:
    server = serve(lambda request: chat().after(0.002))
    with door(path, server, Budget(calls=100)) as opened:
        got = list(opened.ask(calls(1000)))
    assert len(server.seen) == len(got) == opened.spent.calls == 100
    assert opened.stopped == "judgements stopped at its cap of calls (100); `sft run --again judgements` goes on"
    with door(path, server, Budget(calls=100)) as opened:
        got = list(opened.ask(calls(1000)))
    assert (len(got), len(server.seen)) == (200, 200), "what is known is given beside what the new run may ask"


@pytest.mark.parametrize("concurrency", [1, 16])
@pytest.mark.parametrize("usage", [(30, 50), (3, 5)])
def test_caps_of_tokens_and_money_hold_whatever_is_in_flight(
    path: Path, serve: Serve, usage: tuple[int, int], concurrency: int
) -> None:
    server = serve(lambda request: chat(usage=usage).after(0.002))
    price = Price(input=1.0, output=4.0)
    bound = upper_bound(calls(1)[0], price)
    for caps in (Budget(tokens=5 * bound.tokens), Budget(money=5 * bound.money)):
        with door(path.with_name(f"{caps.tokens}.sqlite"), server, caps, price=price, concurrency=concurrency) as opened:
            got = list(opened.ask(calls(500)))
        assert opened.stopped and 5 <= len(got) < 500
        assert opened.spent.tokens <= (caps.tokens or opened.spent.tokens) and opened.spent.cost <= (caps.money or 1.0)


def test_nothing_is_asked_under_a_cap_of_nothing_and_what_is_known_is_given(path: Path, serve: Serve) -> None:
    server = serve()
    ask(path, server, calls(20, first=300))
    got = ask(path, server, calls(500), Budget(calls=0))
    assert (len(got), len(server.seen)) == (20, 20)


def test_retries_and_repairs_count_against_the_cap(path: Path, serve: Serve) -> None:
    server = serve(lambda request: chat("no") if request.number % 2 else error(500, "oops"))
    with door(path, server, Budget(calls=30), concurrency=3, attempts=20) as opened:
        got = [reply for _, reply in opened.ask(calls(100))]
    assert len(server.seen) == opened.spent.calls == 30 and opened.stopped
    assert got and all(reply.status == "unparsed" for reply in got)
    ledger = Calls(path).totals()["judgements", "scripted"]
    assert (ledger.calls, ledger.prompt_tokens) == (30, opened.spent.prompt_tokens)


def test_a_repair_that_the_cap_forbids_leaves_the_reply_that_was_paid_for(path: Path, serve: Serve) -> None:
    (reply,) = ask(path, serve(lambda request: chat("three, I would say")), calls(1), Budget(calls=1))
    assert (reply.status, reply.raw) == ("unparsed", "three, I would say")
    assert "did not fit under the cap" in reply.error


def test_after_its_minutes_a_run_sends_nothing_more(path: Path, serve: Serve) -> None:
    server = serve(lambda request: chat().after(0.02))
    with door(path, server, Budget(minutes=0.02), concurrency=4) as opened:
        got = list(opened.ask(calls(5000)))
    assert 0 < len(got) == len(server.seen) < 5000
    assert opened.stopped == "judgements stopped at its cap of minutes (0.02); `sft run --again judgements` goes on"


def test_a_wait_for_the_endpoint_ends_with_the_minutes(path: Path, serve: Serve) -> None:
    server = serve(lambda request: error(429, "slow down", {"Retry-After": "4"}))
    with door(path, server, Budget(minutes=0.005)) as opened:
        assert list(opened.ask(calls(5))) == []
    assert opened.stopped and "minutes" in opened.stopped


def test_a_reply_without_usage_counts_as_the_most_it_can_have_been(path: Path, serve: Serve) -> None:
    with door(path, serve(lambda request: chat(usage=None))) as opened:
        list(opened.ask(calls(1)))
    assert opened.spent.tokens == upper_bound(calls(1)[0], Price()).tokens


@given(st.text(max_size=200))
def test_the_upper_bound_of_a_prompt_is_at_least_its_bytes(text: str) -> None:
    call = Call(b"", "", [{"role": "user", "content": text}], {"max_tokens": 7})
    bound = upper_bound(call, Price(input=1.0, output=1.0))
    assert bound.prompt_tokens >= len(text.encode()) and bound.completion_tokens == 7
    assert bound.money == pytest.approx(bound.tokens / 1e6)


def test_a_call_without_a_limit_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="max_tokens"):
        Call(b"", "", [], {"temperature": 0.0})


# ---------------------------------------------------------------------------------------------------------- storms


def storm(first: int, answer: Callable[[], Answer], then: Callable[[], Answer] = chat) -> Script:
    return lambda request: answer() if request.number < first else then().after(0.001)


def after_date() -> Answer:
    when = datetime.now(UTC) + timedelta(seconds=0.5)
    return error(429, "slow down", {"Retry-After": format_datetime(when, usegmt=True)})


@pytest.mark.parametrize(
    "answer",
    [
        lambda: error(429, "slow down", {"Retry-After": "0.05"}),
        lambda: error(429, "slow down", {"retry-after-ms": "50"}),
        after_date,
        lambda: error(429, "slow down"),
        lambda: error(503, "overloaded", {"Retry-After": "0.05"}),
        lambda: error(529, "overloaded"),
        lambda: error(500, "oops"),
        lambda: error(408, "timeout"),
        lambda: error(409, "conflict"),
        lambda: error(425, "too early"),
        lambda: Answer(502, b"<html>bad gateway</html>", {"Content-Type": "text/html"}),
        lambda: Answer(200, b'{"choices": [{"mess'),
        lambda: Answer(200, b'{"object": "error"}'),
        lambda: DROP,
        lambda: HANG,
    ],
)  # fmt: skip
def test_a_storm_is_sat_out_with_few_requests_and_nothing_is_lost(
    path: Path, serve: Serve, answer: Callable[[], Answer]
) -> None:
    server = serve(storm(16, answer))
    hangs = answer().hang
    got = ask(path, server, calls(100), concurrency=8, timeout=1.0 if hangs else 60.0, attempts=8)
    assert [reply.status for reply in got] == ["ok"] * 100
    assert 116 <= len(server.seen) <= (140 if hangs else 116), "one more for each that failed"
    assert server.most_at_once <= 8


def test_a_429_stops_everybody_for_as_long_as_it_says(path: Path, serve: Serve) -> None:
    came: list[float] = []

    def script(request: Request) -> Answer:
        came.append(time.monotonic())
        return error(429, "slow down", {"Retry-After": "0.7"}) if request.number == 7 else chat().after(0.01)

    ask(path, serve(script), calls(60), concurrency=4)
    within = [moment for moment in came[8:] if moment < came[7] + 0.7]
    assert len(within) <= 3, "what was on its way already, and nothing else of the 52 that waited"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:07 GMT"}, 7.0),
        ({"retry-after": "Wed, 31 Dec 2025 23:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_seconds_milliseconds_and_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


def test_a_pause_that_nobody_would_wait_for_ends_the_run(path: Path, serve: Serve) -> None:
    server = serve(lambda request: error(429, "come back tomorrow", {"Retry-After": "86400"}))
    with pytest.raises(SftError, match="asks for a pause of 86,400 seconds: the endpoint says 429: come back tomorrow"):
        ask(path, server, calls(100), concurrency=4)
    assert len(server.seen) <= 4


def test_backoff_has_full_jitter_and_a_limit() -> None:
    waits = [Patience(base=1.0, most=60.0).backoff(failures) for failures in range(1, 12) for _ in range(200)]
    for failures in range(1, 12):
        some = waits[(failures - 1) * 200 : failures * 200]
        most = min(60.0, 2.0 ** (failures - 1))
        assert min(some) < 0.1 * most and 0.9 * most < max(some) <= most


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda: error(429, "slow down"), "requests in a row failed; the last: the endpoint says 429: slow down"),
        (lambda: error(503, "down for maintenance"), "requests in a row failed.*503: down for maintenance"),
        (lambda: error(500, "oops"), "10 calls in a row had no reply after all attempts.*500: oops"),
        (lambda: Answer(200, b"[]"), "10 calls in a row had no reply.*could not be read"),
        (lambda: DROP, "requests in a row failed.*no connection"),
        (lambda: HANG, "requests in a row failed.*did not answer in time"),
        (lambda: error(400, "temperature is not supported"), "10 calls in a row.*400: temperature is not supported"),
    ],
)
@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_server_that_dies_ends_the_run_early_and_loses_nothing(
    path: Path, serve: Serve, concurrency: int, answer: Callable[[], Answer], says: str
) -> None:
    server = serve(lambda request: chat() if request.number < 50 else answer())
    with pytest.raises(SftError, match=says) as caught:
        ask(path, server, calls(150), concurrency=concurrency, attempts=3, timeout=0.5 if answer().hang else 60.0)
    kept = len(Calls(path).known("scripted", [PROMPT]))
    assert kept == 50 or (kept < 50 and answer().hang)
    assert f"{kept} replies of this run are kept" in str(caught.value)
    assert len(server.seen) <= 50 + 3 * (concurrency + 10), "not every call may use up its attempts"
    server.script = lambda request: chat()
    before = len(server.seen)
    assert len(ask(path, server, calls(150))) == 150
    assert len(server.seen) - before == 150 - kept


def test_a_server_that_is_not_there_is_told_after_few_attempts(path: Path, serve: Serve) -> None:
    with ModelServer() as gone:
        pass
    for n in (1, 500):
        with pytest.raises(SftError, match=r"'scripted' at http://127\.0\.0\.1:\d+/v1 cannot .*no connection.*0 replies"):
            ask(path, gone, calls(n), attempts=3)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (error(401, f"Incorrect API key provided: {CANARY}", code="invalid_api_key"), "the key is not accepted"),
        (error(403, "not allowed"), "the key may not do this"),
        (error(404, "The model `scripted` does not exist", code="model_not_found"), "is 'scripted' a model there"),
        (error(429, "You exceeded your current quota", code="insufficient_quota"), "there is no quota left"),
        (error(405, "Method Not Allowed"), "Is OPENAI_BASE_URL right"),
        (Answer(301, b"", {"Location": "http://127.0.0.1:9/v1/chat/completions"}), "Is OPENAI_BASE_URL right"),
    ],
)
def test_what_no_patience_mends_ends_the_run_at_once(path: Path, serve: Serve, answer: Answer, says: str) -> None:
    server = serve(lambda request: answer)
    with pytest.raises(SftError, match=says) as caught:
        ask(path, server, calls(300), concurrency=4)
    assert len(server.seen) <= 4 and CANARY not in str(caught.value)


def test_one_row_that_the_endpoint_always_fails_at_does_not_end_the_run(path: Path, serve: Serve) -> None:
    server = serve(lambda request: error(500, "oops") if request.first == "row 7" else chat())
    got = ask(path, server, calls(100), attempts=4)
    assert [reply.status for reply in got].count("ok") == 99 and got[7].status == "failed"
    assert "500: oops" in got[7].error
    assert len(server.seen) == 99 + 4
    again = ask(path, server, calls(100), attempts=4)
    assert again[7].status == "failed" and len(server.seen) == 99 + 8, "and is asked again by the next run, alone"


def test_one_row_that_hangs_does_not_end_the_run(path: Path, serve: Serve) -> None:
    server = serve(lambda request: HANG if request.first == "row 7" else chat())
    got = ask(path, server, calls(30), attempts=2, timeout=1.0)
    assert [reply.status for reply in got].count("ok") == 29 and got[7].status == "failed"


def test_attempts_whose_reply_never_came_are_counted_at_their_most(path: Path, serve: Serve) -> None:
    server = serve(lambda request: HANG if request.number == 0 else chat())
    (call,) = calls(1)
    with door(path, server, timeout=1.0) as opened:
        ((_, reply),) = opened.ask([call])
    assert opened.spent.tokens == reply.prompt_tokens + reply.completion_tokens == 120 + upper_bound(call, Price()).tokens


def test_a_reply_that_drips_is_a_hang(path: Path) -> None:
    listening = threading.Event()

    def drip(port: list[int]) -> None:
        import socket

        with socket.create_server(("127.0.0.1", 0)) as server:
            port.append(server.getsockname()[1])
            listening.set()
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    try:
                        while True:
                            connection.send(b"HTTP/1.1 200 OK\r\n" if not connection.recv(65536) else b"X-Drip: 1\r\n")
                            for _ in range(100):
                                connection.send(b"X-Drip: 1\r\n")
                                time.sleep(0.02)
                    except OSError:
                        pass

    port: list[int] = []
    threading.Thread(target=drip, args=(port,), daemon=True).start()
    listening.wait()
    endpoint = Endpoint.at(f"http://127.0.0.1:{port[0]}/v1", "k", "m")
    with Door(path, "judgements", "m", ModelSettings(timeout=0.3, attempts=2), endpoint=endpoint, patience=QUICK) as opened:
        with pytest.raises(SftError, match="no request had a reply"):
            list(opened.ask(calls(1)))


def test_a_caller_that_leaves_early_leaves_nothing_behind(path: Path, serve: Serve) -> None:
    server = serve(lambda request: chat() if request.number < 20 else HANG)
    before = threading.active_count()
    with door(path, server) as opened:
        for number, _ in enumerate(opened.ask(calls(100))):
            if number == 10:
                break
    assert threading.active_count() == before
    assert 10 <= len(Calls(path).known("scripted", [PROMPT])) <= 20


def test_a_fault_in_the_callers_rows_comes_through(path: Path, serve: Serve) -> None:
    def broken() -> Iterator[Call]:
        yield from calls(300)
        raise KeyError("row 300")

    with pytest.raises(KeyError, match="row 300"), door(path, serve()) as opened:
        list(opened.ask(broken()))


def test_any_mixture_of_faults_ends_with_every_reply_or_a_sentence(path: Path, serve: Serve) -> None:
    busy = error(429, "slow down", {"retry-after-ms": "5"})
    faults = [DROP, error(500, "oops"), busy, Answer(200, b"{"), chat("no"), error(503, "overloaded")]
    for seed in range(4):
        rng = random.Random(seed)
        server = serve(lambda request, rng=rng: rng.choice(faults) if rng.random() < 0.4 else chat().after(rng.random() / 200))
        own = path.with_name(f"{seed}.sqlite")
        with door(own, server, attempts=6) as opened:
            got = [reply for _, reply in opened.ask(calls(60))]
        assert len(got) == 60 and opened.stopped is None
        assert len(server.seen) == opened.spent.calls == Calls(own).totals()["judgements", "scripted"].calls
        kept = [reply for reply in got if reply.status != "failed"]
        assert len(Calls(own).known("scripted", [PROMPT])) == len(kept)


# ---------------------------------------------------------------------------------------------------------- JSON


def form(request: Request) -> str:
    return str(request.body.get("response_format", {}).get("type", "plain"))


def test_a_schema_is_asked_for_strictly_where_the_endpoint_takes_it(path: Path, serve: Serve) -> None:
    server = serve()
    ask(path, server, calls(1))
    body = server.seen[0].body
    wanted = body["response_format"]["json_schema"]
    assert wanted["strict"] is True and wanted["schema"] == SCHEMA
    assert body["messages"] == [{"role": "user", "content": "row 0"}] and body["max_tokens"] == 50


@pytest.mark.parametrize(
    ("takes", "words"),
    [
        ("json_object", "Invalid parameter: response_format of type json_schema is not supported with this model"),
        ("plain", "response_format: unknown field"),
        ("plain", "Bad Request"),
    ],
)
def test_an_endpoint_without_schemas_is_asked_in_its_own_way_and_that_is_remembered(
    path: Path, serve: Serve, takes: str, words: str
) -> None:
    ways = ["json_schema", "json_object", "plain"]
    status = 422 if "unknown" in words else 400
    server = serve(lambda r: error(status, words) if ways.index(form(r)) < ways.index(takes) else chat())
    got = ask(path, server, calls(50), concurrency=2)
    assert [reply.status for reply in got] == ["ok"] * 50
    turned_down = [request for request in server.seen if form(request) != takes]
    assert len(turned_down) <= 2 * ways.index(takes)
    assert '"enum": [1, 2, 3, 4]' in server.seen[-1].last, "the schema is said in words"


def test_an_endpoint_that_ignores_the_schema_is_told_in_words_from_then_on(path: Path, serve: Serve) -> None:
    told = chat('Here it is:\n```json\n{"reason": "Correct, but terse.", "score": 3}\n```')
    server = serve(lambda request: told if "JSON schema" in request.last else chat("Good!"))
    got = ask(path, server, calls(30), concurrency=1)
    assert [reply.status for reply in got] == ["ok"] * 30
    assert len(server.seen) == 31, "one repair, and then the instruction"


def test_an_endpoint_that_renamed_max_tokens_is_asked_with_the_new_name(path: Path, serve: Serve) -> None:
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    server = serve(lambda r: error(400, words, param="max_tokens") if "max_tokens" in r.body else chat())
    got = ask(path, server, calls(20), concurrency=4)
    assert [reply.status for reply in got] == ["ok"] * 20
    assert len(server.seen) <= 24 and {form(request) for request in server.seen} == {"json_schema"}
    assert server.seen[-1].body["max_completion_tokens"] == 50


def test_a_reply_that_is_no_json_is_repaired_once_and_both_are_paid(path: Path, serve: Serve) -> None:
    server = serve(lambda request: chat('{"reason": "x", "score": 7}') if request.number == 0 else chat())
    with door(path, server) as opened:
        ((_, reply),) = opened.ask(calls(1))
    assert (reply.status, reply.value) == ("ok", GOOD)
    assert (opened.spent.calls, reply.prompt_tokens, reply.completion_tokens) == (2, 200, 40)
    again = server.seen[1].body["messages"]
    assert again[1] == {"role": "assistant", "content": '{"reason": "x", "score": 7}'}
    assert "score is 7, which is none of 1, 2, 3, 4" in again[2]["content"]


def test_what_cannot_be_repaired_is_unparsed_with_its_text_and_never_paid_for_again(path: Path, serve: Serve) -> None:
    server = serve(lambda request: chat(f"I would say {request.number}"))
    (first,) = ask(path, server, calls(1))
    (second,) = ask(path, server, calls(1))
    assert (first.status, first.value, first.raw) == ("unparsed", None, "I would say 1")
    assert (second.status, second.raw, second.cached) == ("unparsed", "I would say 1", True)
    assert first.error == "there is no complete JSON value in it" and len(server.seen) == 2


def test_json_that_was_cut_off_gets_one_longer_try(path: Path, serve: Serve) -> None:
    server = serve(lambda r: chat() if r.body["max_tokens"] > 50 else chat('{"reason": "Well, to be', "length"))
    (reply,) = ask(path, server, calls(1))
    assert reply.status == "ok" and [request.body["max_tokens"] for request in server.seen] == [50, 100]
    assert server.seen[1].body["messages"] == server.seen[0].body["messages"]
    server.script = lambda r: chat('{"reason": "Well, to be', "length")
    (reply,) = ask(path, server, calls(1, first=1))
    assert (reply.status, reply.finish, len(server.seen)) == ("unparsed", "length", 4)


def test_what_the_endpoint_will_never_answer_is_refused_and_kept(path: Path, serve: Serve) -> None:
    too_long = [
        error(400, "This model's maximum context length is 8192 tokens", code="context_length_exceeded"),
        error(400, "the request exceeds the available context size", type="exceed_context_size_error"),
        error(413, "Payload Too Large"),
        error(400, "The response was filtered", code="content_filter"),
        chat("I", "content_filter"),
    ]
    server = serve(lambda request: too_long[int(request.first.split()[1])])
    got = ask(path, server, calls(5))
    assert [reply.status for reply in got] == ["refused"] * 5
    assert "maximum context length" in got[0].error
    assert [reply.status for reply in ask(path, server, calls(5))] == ["refused"] * 5
    assert len(server.seen) == 5


def test_a_model_that_declines_is_not_argued_with(path: Path, serve: Serve) -> None:
    server = serve(lambda request: chat(None, refusal="I'm sorry, I can't."))
    (reply,) = ask(path, server, calls(1))
    assert (reply.status, reply.raw, len(server.seen)) == ("unparsed", "I'm sorry, I can't.", 1)


@pytest.mark.parametrize(
    "text",
    [
        '{"reason": "a", "score": 3}',
        '```json\n{"reason": "a", "score": 3}\n```',
        'Sure! {"reason": "a", "score": 3} Anything else?',
        '<think>{"score": maybe} [1] or {"score": 3}</think>\n\n{"reason": "a", "score": 3}',
        '{"score": 3} is short; {"reason": "a", "score": 3}',
        '\ufeff {"reason": "a", "score": 3}',
    ],
)
def test_json_is_found_in_what_models_write_around_it(text: str) -> None:
    assert structured.read(text, SCHEMA) == {"reason": "a", "score": 3}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no complete JSON"),
        ("3", "must be of type object"),
        ('{"reason": "a"', "no complete JSON"),
        ('{"reason": "a"}', "has no 'score'"),
        ('{"reason": "a", "score": "3"}', "score must be of type integer"),
        ('{"reason": "a", "score": true}', "score must be of type integer"),
        ('{"reason": "a", "score": 3.5}', "score must be of type integer"),
        ('{"reason": "a", "score": 10}', "none of 1, 2, 3, 4"),
        ('{"reason": null, "score": 3}', "reason must be of type string"),
        ('{"reason": "a", "score": 3, "keep": true}', "'keep', which nobody asked for"),
        ('{"reason": "a", "score": NaN}', "no complete JSON"),
        ('{"reason": "\\ud800", "score": 3}', "no complete JSON"),
        ("[" * 100_000, "no complete JSON"),
        ('{"a":' * 100_000, "no complete JSON"),
    ],
)
def test_json_that_is_not_as_asked_is_told_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(Unparsed, match=says):
        structured.read(text, SCHEMA)


def test_every_keyword_of_a_schema_is_checked_or_refused() -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "number", "minimum": 1, "maximum": 4},
            "tags": {
                "type": "array",
                "items": {"type": "string", "minLength": 2, "maxLength": 3},
                "minItems": 1,
                "maxItems": 2,
            },
            "kind": {"const": "x"},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
            "either": {"type": ["string", "null"]},
        },
        "additionalProperties": {"type": "boolean"},
    }
    good = [
        {"n": 1}, {"n": 4.0}, {"tags": ["ab"]}, {"kind": "x"}, {"maybe": None}, {"maybe": 3}, {"either": None}, {"other": True},
    ]  # fmt: skip
    bad = [
        {"n": 0.9}, {"n": 5}, {"tags": []}, {"tags": ["a"]}, {"tags": ["abcd"]}, {"tags": ["ab"] * 3}, {"kind": "y"},
        {"maybe": "3"}, {"either": 3}, {"other": 1}, [], None,
    ]  # fmt: skip
    for value in good:
        structured.validate(value, schema)
    for value in bad:
        with pytest.raises(Unparsed):
            structured.validate(value, schema)
    structured.check_schema(schema)
    with pytest.raises(SftError, match="says 'any_of'; did you mean 'anyOf'"):
        Call(b"", "", [], {"max_tokens": 1}, {"properties": {"tags": {"items": {"any_of": []}}}})


# ---------------------------------------------------------------------------------------------------------- addresses and keys


def test_a_named_model_without_a_key_is_told_which_variable_to_set(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with (
        pytest.raises(SftError, match=r"'gpt-x', but OPENAI_API_KEY is not set.*`embedded`"),
        Door(path, "a", "gpt-x") as opened,
    ):
        list(opened.ask(calls(1)))
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert Endpoint.of_environment("gpt-x").base_url == "http://127.0.0.1:9/v1"
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(SftError, match=rf"'gpt-x', but OPENAI_BASE_URL is not set.*{re.escape(OPENAI)}"):
        Endpoint.of_environment("gpt-x")  # rows go to no address that nobody named


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://host/v1", "http://", "http://[::1", "nonsense"])
def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(SftError, match="OPENAI_BASE_URL is no address"):
        Endpoint.of_environment("m")


def test_no_address_or_key_is_needed_for_what_is_known(path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    ask(path, serve(), calls(5))
    with Door(path, "judgements", "scripted") as opened:
        assert len(list(opened.ask(calls(5)))) == 5


def test_user_and_password_of_an_address_go_as_basic_authentication(path: Path, serve: Serve) -> None:
    server = serve()
    address = server.url.replace("http://", "http://ann:p%40ss-word-is-secret@")
    endpoint = Endpoint.at(f"{address}?api-version=7", "any", "scripted")
    with Door(path, "judgements", "scripted", endpoint=endpoint) as opened:
        list(opened.ask(calls(1)))
    assert server.seen[0].headers["Authorization"] == "Basic YW5uOnBAc3Mtd29yZC1pcy1zZWNyZXQ="
    assert "p@ss" not in f"{endpoint} {endpoint!r} {endpoint.__dict__}"


def test_a_server_of_this_machine_is_asked_past_the_proxy(path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert len(ask(path, serve(), calls(3))) == 3


def test_the_key_is_found_nowhere(
    path: Path, serve: Serve, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The server says the key in every way it can: in replies, errors, headers and broken bodies."""
    caplog.set_level(logging.DEBUG)
    said = {"X-Your-Key": CANARY, "Set-Cookie": f"key={CANARY}"}
    answers = [
        chat(f'{{"reason": "{CANARY}", "score": 3}}'),
        chat(f"your key is {CANARY}", logprobs={"content": [{"token": CANARY, "logprob": -1, "top_logprobs": []}]}),
        chat(None, refusal=CANARY),
        error(400, f"context length of {CANARY} exceeded"),
        error(400, f"what is {CANARY}?"),
        error(500, f"Authorization: Bearer {CANARY}"),
        Answer(500, CANARY.encode()),
        Answer(200, f'{{"choices": ["{CANARY}'.encode()),
        Answer(200, CANARY.encode()),
        error(401, f"Incorrect API key provided: {CANARY}"),
    ]
    texts: list[str] = []
    for number, answer in enumerate(answers):
        server = serve(lambda request, answer=answer: Answer(answer.status, answer.body, said))
        opened = door(path, server, attempts=2)
        try:
            with opened:
                texts += [repr(got) for got in opened.ask(calls(2, first=10 * number))]
                texts += [repr(opened), repr(opened.spent), str(opened.stopped), repr(opened._asker)]
        except SftError as failed:
            texts += [repr(failed), "".join(traceback.format_exception(failed)), *chain(failed)]
    with ModelServer() as gone:
        pass
    with pytest.raises(SftError) as caught, door(path, gone, attempts=2) as opened:
        list(opened.ask(calls(5, first=900)))
    texts += ["".join(traceback.format_exception(caught.value)), *chain(caught.value), caplog.text, *capfd.readouterr()]
    gc.collect()
    assert [text for text in texts if CANARY in text] == []
    assert "chat/completions" in caplog.text, "the client's log was on"
    stored = [file for file in path.parent.iterdir() if CANARY.encode() in file.read_bytes()]
    assert stored == []
    assert Calls(path).known("scripted", [PROMPT]), "and replies were stored"


def chain(error: BaseException | None) -> list[str]:
    """An error with all that it came from."""
    texts = []
    while error is not None:
        texts.append(f"{error!r} {vars(error)}")
        error = error.__cause__ or error.__context__
    return texts


def test_while_a_door_is_open_its_files_do_not_hold_the_key_either(path: Path, serve: Serve) -> None:
    server = serve(lambda request: chat(f'{{"reason": "{CANARY}", "score": 3}}'))
    with door(path, server) as opened:
        replies = opened.ask(calls(300))
        next(replies)
        files = sorted(file.name for file in path.parent.iterdir())
        assert "calls.sqlite-wal" in files
        assert not any(CANARY.encode() in file.read_bytes() for file in path.parent.iterdir())
        assert all(reply.value["reason"] == "[redacted]" for _, reply in replies)


def test_the_key_of_a_server_that_needs_none_may_be_a_word_of_replies(path: Path, serve: Serve) -> None:
    server = serve(lambda request: chat('{"reason": "EMPTY, but not null", "score": 3}'))
    with door(path, server, key="EMPTY") as opened:
        ((_, reply),) = opened.ask(calls(1))
    assert reply.value["reason"] == "EMPTY, but not null"


def test_costs_add_up() -> None:
    assert Cost(1, 2, 0.5) + Cost(3, 4, 0.25) == Cost(4, 6, 0.75)
    assert Spent(prompt_tokens=3, completion_tokens=4).tokens == 7
