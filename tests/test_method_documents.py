"""documents: what is not grounded in its chunk falls or is mended, and spans point at what answers rest on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sft_assets.augmented.candidate import Candidate, Cell, Chunk, Seed
from sft_assets.augmented.chunks.reading import read_file
from sft_assets.augmented.chunks.splitting import split
from sft_assets.augmented.methods import documents, grounding
from sft_assets.augmented.methods.kit import Ask
from sft_assets.models.door import Reply
from sft_assets.recipe import EMBEDDED, Documents
from sft_assets.record import digest
from tests.conftest import CORPUS
from tests.method_bench import Bench, asks_for, bad, kit_of, last, ok, play

TEXT = (
    "Continents stop the bulges from travelling freely. In the Bay of Fundy in Canada the difference between low and high "
    "water can exceed 15 metres. The Mediterranean, nearly closed and too small to respond, shows only a few decimetres."
)
BEFORE = 1000  # characters of the document before the chunk
FUNDY = "In the Bay of Fundy in Canada the difference between low and high water can exceed 15 metres."
MEDITERRANEAN = "shows only a few decimetres"
Q1, Q2, Q3 = "How large can the tide in the Bay of Fundy be?", "How large is the tide in the Mediterranean?", "Why so?"
A1, A2 = "It can exceed 15 metres.", "It is only a few decimetres."
YES = {"reason": "Fine.", "answerable": "yes", "faithful": "yes", "self_contained": "yes"}
ONE = Documents(questions=1, repairs=0)


def chunk_of(text: str, start: int = BEFORE, **fields: Any) -> Chunk:
    return Chunk(digest(text.encode()), "tides.txt", ("How tides work",), start, start + len(text), text, "en", **fields)


def qa(answer: str, quote: str = "", question: str | None = None) -> Reply:
    return ok({**({"question": question} if question else {}), "answer": answer, "quote": quote})


class Script:
    """A model that says what it is told to, by the name of the prompt: a reply for all, or one after another."""

    def __init__(self, section: Documents, chunk: Chunk | None = None, **replies: Any):
        self.section, self.kit = section, kit_of(documents, section)
        self.seed = Seed(chunk=chunk or chunk_of(TEXT))
        self.replies: Mapping[str, Any] = {"questions": ok({"questions": [Q1]}), "check": ok(YES), **replies}
        self.asked: list[Ask] = []
        self.counts: dict[str, int] = {}

    def __call__(self, ask: Ask) -> Reply:
        name = self.name(ask)
        self.counts[name] = self.counts.get(name, 0) + 1
        said = self.replies[name]
        reply = said[self.counts[name] - 1] if isinstance(said, list) else said(last(ask)) if callable(said) else said
        assert isinstance(reply, Reply)
        return reply

    def name(self, ask: Ask) -> str:
        return next(name for name in self.kit.prompts if asks_for(self.kit, ask, name)).removeprefix("documents_")

    def candidates(self) -> list[Candidate]:
        return play(documents.generate(self.seed, self.kit, self.section), self, self.asked)

    def one(self) -> Candidate:
        (candidate,) = self.candidates()
        return candidate


def reason(candidate: Candidate) -> str | None:
    return candidate.fell.reason if candidate.fell else None


def said(candidate: Candidate) -> list[str]:
    return [turn.content for turn in candidate.messages]


def span_texts(candidate: Candidate, text: str, start: int = BEFORE) -> list[str]:
    """What stands in the document where the spans say."""
    return [text[span.start - start : span.stop - start] for span in candidate.spans]


# --------------------------------------------------------------------------------------------------------------- grounded


def test_a_grounded_answer_is_a_row_with_the_span_of_its_quote() -> None:
    script = Script(ONE, answer=qa(A1, FUNDY))
    row = script.one()
    assert (reason(row), said(row)) == (None, [Q1, A1])
    assert span_texts(row, TEXT) == [FUNDY] == [row.spans[0].quote]
    assert [script.name(ask) for ask in script.asked] == ["questions", "answer", "check"]


def test_the_checker_is_another_model_where_the_recipe_names_one() -> None:
    script = Script(ONE, answer=qa(A1, FUNDY))
    script.candidates()
    assert [ask.model for ask in script.asked] == ["a model", "a model", "a checker"]


def test_a_quote_that_is_not_in_the_chunk_gives_way_to_the_sentence_that_has_the_answers_words() -> None:
    row = Script(ONE, answer=qa("Their tide, nearly closed off, shows a few decimetres.", "The Mediterranean is calm.")).one()
    assert reason(row) is None
    assert span_texts(row, TEXT) == [TEXT[TEXT.index("The Mediterranean") :]]


@pytest.mark.parametrize(
    ("answer", "quote"),
    [
        ("It is driven by heavy winter storms from Greenland.", ""),
        ("It is driven by heavy winter storms from Greenland.", FUNDY),  # a quote that has nothing of the answer
        ("It can exceed 16 metres.", FUNDY),
        ("It can exceed 15 kilometres.", FUNDY),
        ("Yes.", ""),
        ("The Bay of Fundy", "Bay of Fundy"),  # the question's own words
        ("The tide", "tide"),
        ("The Bay of Fundy in Canada", ""),
    ],
)
def test_an_answer_that_is_not_grounded_falls(answer: str, quote: str) -> None:
    script = Script(ONE, answer=qa(answer, quote))
    row = script.one()
    assert (reason(row), said(row), row.spans) == ("not_grounded", [Q1, answer], ())
    assert "check" not in script.counts  # no model is asked what can be told without one


def test_an_answer_without_words_of_its_own_rests_on_a_quote_that_says_more() -> None:
    asks = {"questions": ok({"questions": ["Is the tidal range of the Bay of Fundy above 15 metres?"]})}
    row = Script(ONE, answer=qa("Yes.", FUNDY), **asks).one()
    assert (reason(row), span_texts(row, TEXT)) == (None, [FUNDY])


def test_a_fall_says_what_was_wrong_with_what() -> None:
    row = Script(ONE, answer=qa("It can exceed 150 metres.", FUNDY)).one()
    assert row.fell
    assert "150 metre" in row.fell.evidence["problem"]
    assert (row.fell.evidence["question"], row.fell.evidence["quote"]) == (Q1, FUNDY)


@pytest.mark.parametrize("verdict", ["answerable", "faithful", "self_contained"])
def test_what_the_checker_says_no_to_falls_with_its_reason(verdict: str) -> None:
    row = Script(ONE, answer=qa(A1, FUNDY), check=ok({**YES, "reason": "It is not.", verdict: "no"})).one()
    assert row.fell
    assert row.fell.reason == f"not_{verdict}"
    assert row.fell.evidence["checker"] == "It is not."


@pytest.mark.parametrize("status", ["unparsed", "refused", "failed"])
def test_a_row_that_could_not_be_checked_is_not_accepted(status: str) -> None:
    script = Script(Documents(questions=1, repairs=2), answer=qa(A1, FUNDY), check=bad(status))
    assert reason(script.one()) == status
    assert "repair" not in script.counts  # the fault is not the answer's


def test_a_question_that_the_text_does_not_answer_falls() -> None:
    assert reason(Script(ONE, answer=qa("")).one()) == "not_answerable"
    assert reason(Script(ONE, answer=qa(Q1, FUNDY)).one()) == "not_answerable"  # said again, it is no answer


def test_a_short_quote_grows_to_its_sentence() -> None:
    row = Script(ONE, answer=qa("Up to 15 metres or more.", "15 metres")).one()
    assert span_texts(row, TEXT) == [FUNDY]


# ------------------------------------------------------------------------------------------------- replies that are none


@pytest.mark.parametrize(
    ("replies", "why"),
    [
        ({"questions": bad("unparsed", '{"questions": ["How la')}, "unparsed"),
        ({"questions": bad("failed")}, "failed"),
        ({"questions": ok({"questions": []})}, "empty"),
        ({"answer": bad("unparsed", '{"answer": "It can ex')}, "unparsed"),
        ({"answer": bad("refused")}, "refused"),
        ({"questions": ok({"questions": ["How large can the tide in the"]}), "answer": qa(A1, FUNDY)}, "truncated"),
        ({"questions": ok({"questions": [" "]}), "answer": qa(A1, FUNDY)}, "empty"),
    ],
)
def test_what_is_no_reply_falls_with_its_reason(replies: dict[str, Any], why: str) -> None:
    assert reason(Script(ONE, **replies).one()) == why


def test_no_more_questions_are_answered_than_were_asked_for() -> None:
    script = Script(Documents(questions=2, repairs=0), questions=ok({"questions": [Q1, Q2, Q3]}), answer=qa(A1, FUNDY))
    assert [said(row)[0] for row in script.candidates()] == [Q1, Q2]


def test_all_questions_about_a_chunk_are_answered_at_the_same_time() -> None:
    section = Documents(questions=3)
    steps = documents.generate(Seed(chunk=chunk_of(TEXT)), kit_of(documents, section), section)
    assert len(next(steps)) == 1
    assert len(steps.send([ok({"questions": [Q1, Q2, Q3]})])) == 3
    mixed = [qa(A1, FUNDY), qa("77 whales.", ""), qa("Because continents stop the bulges.", "")]
    checked, mended, other = steps.send(mixed)  # each goes on from its own reply
    assert (A1 in last(checked), "77" in last(mended), "continents" in last(other)) == (True, True, True)


def test_a_question_that_is_no_good_is_mended_before_it_is_answered() -> None:
    script = Script(Documents(questions=1), questions=ok({"questions": ["What is this text about?"]}), repair=qa(A1, FUNDY, Q1))
    assert said(script.one()) == [Q1, A1]
    assert "answer" not in script.counts


def test_a_question_that_is_asked_twice_is_answered_once() -> None:
    questions = [Q1, Q2, Q1.upper().replace(" ", "  "), Q3]
    script = Script(
        Documents(questions=4, repairs=0),
        questions=ok({"questions": questions}),
        answer=lambda text: qa(A1, FUNDY) if Q1 in text else qa(A2, MEDITERRANEAN),
    )
    rows = script.candidates()
    assert [said(row)[0] for row in rows] == questions
    assert [reason(row) for row in rows] == [None, None, "duplicate_question", None]
    assert script.counts["answer"] == 3


def test_a_question_that_is_mended_into_another_falls() -> None:
    script = Script(
        Documents(questions=2),
        questions=ok({"questions": [Q1, "How large is it, according to the text?"]}),
        answer=qa(A1, FUNDY),
        repair=qa(A1, FUNDY, Q1),
    )
    assert [reason(row) for row in script.candidates()] == [None, "duplicate_question"]


def test_what_the_embedded_model_writes_is_kept_short_and_cut_at_a_sentence() -> None:
    kit = kit_of(documents, ONE, model=EMBEDDED, checker=EMBEDDED)
    most = kit.prompts["documents_answer"].header.embedded_chars
    rambled = (A1 + " And so on" * most)[:most]
    asked: list[Ask] = []
    for answer, kept in ((rambled, [Q1, A1]), (("On and on " * most)[:most], [Q1])):
        replies = [ok(YES), qa(answer, FUNDY), ok({"questions": [Q1]})]
        (row,) = play(documents.generate(Seed(chunk=chunk_of(TEXT)), kit, ONE), lambda ask, left=replies: left.pop(), asked)
        assert said(row) == kept
    questions, answered, *_ = (ask.call.schema["properties"] for ask in asked if ask.call.schema)
    assert questions["questions"]["maxItems"] < 10
    assert answered["answer"]["maxLength"] == most


# ----------------------------------------------------------------------------------------------------------------- repair


def test_an_answer_that_is_mended_is_a_row() -> None:
    script = Script(Documents(questions=1), answer=qa("It can exceed 150 metres.", FUNDY), repair=qa(A1, FUNDY, Q1))
    row = script.one()
    assert (reason(row), said(row), row.choices["repairs"]) == (None, [Q1, A1], 1)
    assert "150 metre" in last(script.asked[2])  # the model is told what is wrong


def test_an_answer_that_is_mended_and_still_bad_falls() -> None:
    worse = qa("It can exceed 160 metres.", FUNDY, Q1)
    script = Script(Documents(questions=1, repairs=2), answer=qa("It can exceed 150 metres.", FUNDY), repair=worse)
    row = script.one()
    assert (reason(row), row.choices["repairs"], script.counts["repair"]) == ("not_grounded", 2, 2)
    assert said(row) == [Q1, "It can exceed 160 metres."]


def test_what_the_checker_found_is_mended_too_and_checked_again() -> None:
    script = Script(
        Documents(questions=1),
        answer=qa(A1, FUNDY),
        check=[ok({**YES, "reason": "Which bay?", "self_contained": "no"}), ok(YES)],
        repair=qa(A1, FUNDY, Q2),
    )
    row = script.one()
    assert (reason(row), said(row)) == (None, [Q2, A1])
    assert "Which bay?" in last(script.asked[3])


def test_a_repair_that_is_no_reply_falls() -> None:
    script = Script(Documents(questions=1), answer=qa("150 metres.", FUNDY), repair=bad("unparsed"))
    assert reason(script.one()) == "unparsed"


@pytest.mark.parametrize("repairs", [0, 1])
def test_speech_about_the_text_falls_or_is_mended(repairs: int) -> None:
    script = Script(
        Documents(questions=1, repairs=repairs),
        questions=ok({"questions": ["How large can the tide be according to the text?"]}),
        answer=qa(A1, FUNDY),
        repair=qa(A1, FUNDY, Q1),
    )
    row = script.one()
    assert reason(row) == (None if repairs else "mentions_text")
    assert said(row)[0] == (Q1 if repairs else "How large can the tide be according to the text?")


@pytest.mark.parametrize("table", grounding.mentions(), ids=lambda table: str(table.language))
def test_speech_about_the_text_is_known_in_many_languages(table: grounding.Mentions) -> None:
    assert [text for text in table.hits if grounding.mention(text) is None] == []
    assert [text for text in table.misses if grounding.mention(text) is not None] == []


def test_every_language_that_is_promised_has_its_words() -> None:
    assert {"en", "de", "fr", "es", "zh", "ja"} <= {table.language for table in grounding.mentions()}


# ---------------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("answer", "source", "wrong"),
    [
        ("It is 12700 km.", "about 12,700 kilometres closer", []),
        ("It is 12 700 kilometres.", "about 12,700 km closer", []),
        ("It is 3.5 percent.", "3,5 %", []),
        ("After 50 minutes.", "After fifty minutes.", []),
        ("There are 5.", "Choose exactly one of five topics.", []),
        ("1. Act now.\n2. Act today.", "Act now or today.", []),
        ("It costs $5.", "It costs 5 dollars.", []),
        ("There are 10.", "between 10 and 15 metres", []),
        ("それは2024年です。", "2024年に", []),
        ("It is ４.", "It is 4.", []),
        ("It is 390 times as far.", "some 390 times further away", []),
        ("It is 391.", "some 390 times", ["391"]),
        ("15 km", "15 metres", ["15 kilometre"]),
        ("It costs $5.", "It costs 5 euros.", ["5 dollar"]),
        ("5 minutes", "5 hours", ["5 minute"]),
        ("In 1.5 days, or 15.", "in 15 days", ["1.5 day"]),
    ],
)
def test_numbers_are_supported_by_equal_numbers_of_an_equal_unit(answer: str, source: str, wrong: list[str]) -> None:
    assert grounding.unsupported(answer, [source]) == wrong


# ------------------------------------------------------------------------------------------------------------------ turns


def turns_script(section: Documents, **replies: Any) -> Script:
    def answer(text: str) -> Reply:
        return qa(A2, MEDITERRANEAN) if Q2 in text else qa(A1, FUNDY)

    return Script(section, **{"answer": answer, "followup": ok({"question": Q2}), **replies})


def test_each_turn_of_a_conversation_has_a_span() -> None:
    script = turns_script(Documents(questions=1, turns=2))
    row = script.one()
    assert (reason(row), said(row)) == (None, [Q1, A1, Q2, A2])
    assert [turn.role for turn in row.messages] == ["user", "assistant"] * 2
    assert span_texts(row, TEXT) == [FUNDY, MEDITERRANEAN]
    assert all(part in last(script.asked[-1]) for part in (Q1, A1, Q2, A2))  # the turns before it are checked with it


def test_of_a_conversation_that_goes_wrong_the_good_turns_stay() -> None:
    script = turns_script(Documents(questions=1, turns=3, repairs=0), followup=[ok({"question": Q2}), ok({"question": Q3})])
    script.replies = {**script.replies, "answer": [qa(A1, FUNDY), qa(A2, MEDITERRANEAN), qa("Because of 77 whales.", "")]}
    row = script.one()
    assert (reason(row), said(row)) == (None, [Q1, A1, Q2, A2])
    assert (len(row.spans), row.choices["ended_by"]) == (2, "not_grounded")


def test_a_conversation_whose_first_turn_is_bad_falls() -> None:
    script = turns_script(Documents(questions=1, turns=2, repairs=0), answer=qa("Because of 77 whales.", ""))
    assert reason(script.one()) == "not_grounded"
    assert "followup" not in script.counts


def test_a_question_that_was_asked_before_ends_the_conversation() -> None:
    row = turns_script(Documents(questions=1, turns=3, repairs=0), followup=ok({"question": Q1})).one()
    assert (said(row), row.choices["ended_by"]) == ([Q1, A1], "duplicate_question")


# ------------------------------------------------------------------------------------------------------------------ seeds


@pytest.mark.parametrize(("wanted", "questions"), [(0, 3), (1, 3), (3, 3), (4, 3), (5, 1)])
def test_there_are_as_many_chunks_as_the_wanted_rows_need(wanted: int, questions: int) -> None:
    bench = Bench(cells=[Cell()] * 9, pieces=[chunk_of(f"{TEXT} {n}") for n in range(9)])
    seeds = documents.seeds(bench, Documents(rows=wanted, questions=questions))
    assert [seed.chunk for seed in seeds] == bench.pieces[: math.ceil(wanted / questions)]


@pytest.mark.parametrize("section", [Documents(), Documents(turns=3), Documents(repairs=0)])
def test_calls_are_estimated_for_each_prompt_that_is_used(section: Documents) -> None:
    assert documents.calls(section).keys() == documents.prompts(section).keys()
    assert documents.calls(section)["documents_answer"] == section.questions * section.turns


def test_no_prompt_is_asked_that_is_not_named() -> None:
    assert "documents_followup" not in documents.prompts(Documents(turns=1))
    assert "documents_repair" not in documents.prompts(Documents(repairs=0))


# ------------------------------------------------------------------------------------------------------------------ spans


def test_spans_count_what_masks_hide() -> None:
    hidden = "jane@post.net"
    document = f"Write to {hidden} about otters. The otters sleep in the old mill by the weir."
    at = document.index(hidden)
    text = document.replace(hidden, "<EMAIL>")
    chunk = chunk_of(text, 0, masked=(at, at + len("<EMAIL>"), len(hidden)))._replace(stop=len(document))
    answer = "In the old mill by the weir."
    for quote in ("The otters sleep in the old mill by the weir.", "", "old mill"):
        script = Script(ONE, chunk, questions=ok({"questions": ["Where do they sleep?"]}), answer=qa(answer, quote))
        row = script.one()
        assert reason(row) is None
        assert span_texts(row, document, 0) == [row.spans[0].quote]
        assert "old mill" in row.spans[0].quote
        assert hidden not in row.spans[0].quote


def chunks_of(path: str) -> tuple[str, list[Chunk]]:
    """The text of a document of the corpus, and its chunks."""
    (document,) = read_file(CORPUS / "documents" / path, path)
    pieces, _ = split(document, 1500, 200)  # type: ignore[arg-type]
    text: str = document.text  # type: ignore[union-attr]
    return text, [
        Chunk(digest(f"{path}{p.start}".encode()), path, tuple(p.headings), p.start, p.stop, text[p.start : p.stop])
        for p in pieces
    ]


def quoting(sentence: str) -> Callable[[str], Reply]:
    return lambda text: qa(sentence, " ".join(sentence.split()))


@pytest.mark.parametrize("path", ["alice_in_wonderland_utf8.txt", "rust_book", "fastapi_docs_ja"])
def test_spans_point_at_the_quoted_sentence_in_real_documents(path: str) -> None:
    place = CORPUS / "documents" / path
    if not place.exists():
        pytest.skip(f"the corpus has no documents/{path} here")
    files = sorted(place.glob("**/*.md"))[:5] if place.is_dir() else [place]
    checked = 0
    for file in files:
        text, chunks = chunks_of(str(file.relative_to(CORPUS / "documents")))
        for chunk in chunks[:20]:
            start, stop = max(grounding.sentences(chunk.text), key=lambda span: span[1] - span[0])
            sentence = chunk.text[start:stop]
            if grounding.mention(sentence) or not grounding.words_of(sentence):
                continue
            question = "なぜ？" if path.endswith("ja") else "Why?"
            row = Script(ONE, chunk, questions=ok({"questions": [question]}), answer=quoting(sentence)).one()
            assert reason(row) is None, row.fell
            (span,) = row.spans
            assert text[span.start : span.stop] == span.quote
            assert span.quote.strip() in sentence
            assert len("".join(span.quote.split())) > len("".join(sentence.split())) / 2
            checked += 1
    assert checked > 10
