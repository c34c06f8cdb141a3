"""`sft check judge`, on judges whose faults are known; and what `sft plan` says that a run would cost."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from sft_assets import reviews, show
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.scored.judgements.check import Check, Line
from sft_assets.scored.judgements.statistics import Figure, kappa, share, spearman
from sft_assets.show import console
from sft_assets.verbs import Workspace, check_judge
from tests.conftest import put, rows, say
from tests.model_server import Answer, ModelServer, Request, chat
from tests.test_judgements import MODEL, row, server  # noqa: F401  # a fixture

NO_LIKELIHOODS = {"likelihoods": {"rows": 0}}


@pytest.fixture
def judged(folder: Folder, server: ModelServer) -> tuple[Folder, ModelServer]:  # noqa: F811
    """A folder with rows of all kinds that a judge can be measured on."""
    put(folder, "a.jsonl", [row(i) for i in range(24)])
    refusal = "I'm sorry, but I can't help with that."
    put(folder, "refusals.jsonl", [{"instruction": f"Help me with matter {i}.", "output": refusal} for i in range(3)])
    said = {
        True: "Certainly: the harbour of {} opens at nine and closes at six.",
        False: "No idea, ask in {} yourself, will you.",
    }
    labelled = [
        {
            "messages": [
                {"role": "user", "content": f"When does the harbour of {TOWNS[i % 8]} open?"},
                {"role": "assistant", "content": said[i < 8].format(TOWNS[i % 8])},
            ],
            "label": i < 8,
        }
        for i in range(16)
    ]
    put(folder, "kto.jsonl", labelled)
    answers = {"chosen": "The good river of {}.", "rejected": "A bad stream near {}."}
    put(
        folder,
        "pairs.jsonl",
        [
            {"prompt": f"Which river flows through {town}?", **{side: text.format(town) for side, text in answers.items()}}
            for town in TOWNS
        ],
    )
    return folder, server


TOWNS = ("Linz", "Graz", "Wels", "Steyr", "Villach", "Bregenz", "Dornbirn", "Kufstein")


def grade(score: int) -> Answer:
    return chat(f'{{"reason": "So it is.", "score": {score}}}')


def prefer(side: str) -> Answer:
    return chat(f'{{"reason": "So it is.", "better": "{side}"}}')


def fair(request: Request) -> Answer:
    """A judge that is always right, and says the same thing twice."""
    if "Which one is better?" in request.last:
        return prefer("A" if request.last.index("The good river") < request.last.index("A bad stream") else "B")
    return grade(1 if re.search(r"can't help|No idea", request.last) else 4 if "number 7" in request.last else 3)


def measured(folder: Folder, script: Any, server: ModelServer) -> dict[str, Line]:  # noqa: F811
    server.script = script
    say(folder, judgements={"model": MODEL, "rows": None}, **NO_LIKELIHOODS)
    space = Workspace.open(folder.root)
    space.run(["scored"], say=lambda _: None)
    found = check_judge(space, say=lambda _: None)
    assert found.model == MODEL
    return {line.what: line for line in found.lines}


def value(line: Line) -> float:
    assert line.figure is not None
    return line.figure.value


def test_a_fair_judge_agrees_with_everybody(judged: tuple[Folder, ModelServer]) -> None:
    lines = measured(judged[0], fair, judged[1])
    assert value(lines["replies that could be read"]) == 1
    assert value(lines["the same score when asked again"]) == 1
    assert value(lines["position bias"]) == 0.5
    for what in ("agreement with rules", "agreement with labels of people", "agreement with preferences of people"):
        assert value(lines[what]) == 1, what
    assert lines["agreement with likelihood"].figure is None  # there is none


def test_a_judge_that_takes_the_first_answer_is_found_out(judged: tuple[Folder, ModelServer]) -> None:
    lines = measured(judged[0], lambda r: prefer("A") if "Which one is better?" in r.last else fair(r), judged[1])
    assert value(lines["position bias"]) == 1
    assert value(lines["agreement with preferences of people"]) == 0


def test_a_judge_that_says_another_thing_every_time_is_found_out(judged: tuple[Folder, ModelServer]) -> None:
    def moody(request: Request) -> Answer:
        if "Which one is better?" in request.last:
            return fair(request)
        return grade(4 if request.body.get("seed") == 1 else 1)

    lines = measured(judged[0], moody, judged[1])
    assert value(lines["the same score when asked again"]) == 0


def test_a_judge_that_likes_length_is_found_out(judged: tuple[Folder, ModelServer]) -> None:
    def of_length(request: Request) -> Answer:
        if "Which one is better?" in request.last:
            return fair(request)
        answer = request.last.split("The answer to grade:")[1]
        return grade(4 if len(answer) > 130 else 2 if len(answer) > 120 else 1)

    lines = measured(judged[0], of_length, judged[1])
    assert value(lines["length bias"]) > 0.6


def test_a_judge_is_held_against_what_people_decided(judged: tuple[Folder, ModelServer]) -> None:
    folder, server = judged  # noqa: F811
    what = "agreement with what people decided"

    def of_years(request: Request) -> Answer:
        if "Which one is better?" in request.last:
            return fair(request)
        return grade(1 if re.search(r"the year \d+[13579] the", request.last) else 4)

    assert measured(folder, of_years, server)[what].figure is None  # nobody did
    sql = "SELECT row_id, content_hash, score > 2 FROM judgements JOIN scored USING (content_hash)"
    found = rows(folder, f"{sql} WHERE contains(messages[1].content, 'in the year') ORDER BY row_id")
    high = [i for i, (*_, good) in enumerate(found) if good]
    low = [i for i, (*_, good) in enumerate(found) if not good]
    assert (len(high), len(low)) == (12, 12)
    reviews.append(folder, [reviews.decided(*found[0][:2], "deduped", "keep", "it is no duplicate", "ann")])
    for others, expected in (([], 1), (range(24), -1), ([high[0], low[0]], 5 / 6)):  # where people see it the other way
        reviews.append(folder, [
            reviews.decided(row_id, content, "scored", "keep" if good != (i in others) else "drop", "so it is", "ann")
            for i, (row_id, content, good) in enumerate(found)
        ])  # fmt: skip
        lines = {line.what: line for line in check_judge(Workspace.open(folder.root), say=lambda _: None).lines}
        assert lines[what].figure == pytest.approx((expected, lines[what].figure.low, lines[what].figure.high, 24))  # type: ignore[union-attr]


def test_replies_that_cannot_be_read_are_counted(judged: tuple[Folder, ModelServer]) -> None:
    lines = measured(judged[0], lambda r: fair(r) if "year 100" in str(r.body) else chat("I would rather not say."), judged[1])
    assert 0 < value(lines["replies that could be read"]) < 1


def test_a_judge_that_has_not_judged_cannot_be_measured(folder: Folder, server: ModelServer) -> None:  # noqa: F811
    put(folder, "a.jsonl", [row(1)])
    say(folder, judgements={"model": MODEL, "rows": 0}, **NO_LIKELIHOODS)
    with pytest.raises(SftError, match="not built yet"):
        check_judge(Workspace.open(folder.root))
    Workspace.open(folder.root).run(["judgements"], say=lambda _: None)
    with pytest.raises(SftError, match="nothing is judged"):
        check_judge(Workspace.open(folder.root))
    with pytest.raises(SftError, match="has no 'charm'"):
        check_judge(Workspace.open(folder.root), "charm")


def test_it_is_shown_with_intervals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "out", Console(highlight=False, width=160))
    lines = [Line("a share", Figure(0.5, 0.2, 0.8, 12), "how to read it", True), Line("a kappa", None, "")]
    show.judge(Check("a model", "helpfulness", {"scored": 11, "unparsed": 1}, lines, 3, 0.5, 0.001, 300, "stopped at its cap"))
    out = capsys.readouterr().out
    for words in ("scored 11, unparsed 1", "50 %", "20 % to 80 %", "too few rows", "300 tokens", "stopped at its cap"):
        assert words in out


# ------------------------------------------------------------------------------------------------------------- statistics


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert share(8, 10) == pytest.approx((0.8, 0.4902, 0.9433, 10), abs=1e-3)
    assert share(10, 10) == pytest.approx((1.0, 0.7225, 1.0, 10), abs=1e-3)
    assert share(0, 0) is None


def test_kappa_is_nothing_for_chance_and_one_for_agreement() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.integers(0, 2, 400).tolist(), rng.integers(0, 2, 400).tolist()
    chance, equal = kappa(ours, theirs), kappa(ours, ours)
    assert chance and chance.low < 0 < chance.high
    assert abs(chance.value) < 0.1
    assert equal and equal.value == equal.low == equal.high == 1


def test_a_weighted_kappa_forgives_what_is_near() -> None:
    near, far = (
        kappa([1, 2, 3, 4] * 5, [2, 1, 4, 3] * 5, weighted=True),
        kappa([1, 2, 3, 4] * 5, [4, 3, 2, 1] * 5, weighted=True),
    )
    assert near and far and near.value > 0.5 > 0 > far.value


def test_too_little_says_nothing() -> None:
    assert kappa([1, 0], [1, 0]) is None
    assert kappa([1] * 9, [1] * 9) is None
    assert spearman([1] * 9, list(range(9))) is None


def test_a_rank_correlation_is_blind_to_scale() -> None:
    found = spearman([1, 2, 3, 4, 5, 6], [1, 10, 100, 1000, 10_000, 100_000])
    assert found and found.value == pytest.approx(1)


# ------------------------------------------------------------------------------------------------------------------- plan


def test_a_plan_says_what_would_be_asked_and_what_it_would_cost(folder: Folder, server: ModelServer) -> None:  # noqa: F811
    put(folder, "a.jsonl", [row(i) for i in range(20)])
    price = {"price": {"input": 1.0, "output": 2.0}}
    say(folder, judgements={"model": MODEL, "rows": 15}, models={MODEL: price}, **NO_LIKELIHOODS)
    space = Workspace.open(folder.root)
    unknown = space.estimates(space.plan())["judgements"]
    assert (unknown.contents, unknown.calls, unknown.bound) == (15, 45, True)  # each with a longer one and a repair, at worst
    assert (unknown.tokens, unknown.cost) == (None, None)
    space.run(["rule_hits"], say=lambda _: None)
    known = space.estimates(space.plan())["judgements"]
    assert (known.contents, known.new, known.calls, known.bound) == (15, 15, 15, False)
    assert known.tokens and 15 * 300 < known.tokens < 15 * 1000
    assert known.cost == pytest.approx((known.tokens - 15 * 300) * 1e-6 + 15 * 300 * 2e-6)
    assert server.seen == []
    space.run(["judgements"], say=lambda _: None)
    say(folder, judgements={"model": MODEL, "rows": None}, models={MODEL: price}, **NO_LIKELIHOODS)
    more = Workspace.open(folder.root)
    rest = more.estimates(more.plan())["judgements"]
    assert (rest.contents, rest.new, rest.calls) == (20, 5, 5)


def test_a_plan_is_an_upper_bound_where_something_upstream_is_stale(folder: Folder, server: ModelServer) -> None:  # noqa: F811
    put(folder, "a.jsonl", [row(i) for i in range(20)])
    settings: dict[str, Any] = {"judgements": {"model": MODEL, "rows": None}, **NO_LIKELIHOODS}
    say(folder, **settings)
    Workspace.open(folder.root).run(["judgements"], say=lambda _: None)
    say(folder, **settings, deduped={"threshold": 0.5})
    space = Workspace.open(folder.root)
    bound = space.estimates(space.plan())["judgements"]
    assert (bound.contents, bound.calls, bound.bound) == (20, 60, True)
    assert bound.tokens is not None
    before = sum(len(request.last) + len(request.first) for request in server.seen) / 4
    assert bound.tokens > before
    caps = {"calls": 7, "tokens": 500, "money": 0.5}
    say(
        folder, **{**settings, "judgements": {"model": MODEL, "rows": None, **caps}, "models": {MODEL: {"price": {"input": 1}}}}
    )
    put(folder, "b.jsonl", [row(i) for i in range(20, 30)])
    capped = Workspace.open(folder.root)
    most = capped.estimates(capped.plan())["judgements"]
    assert (most.contents, most.calls, most.tokens, most.cost) == (None, 7, 500, 0.5)
