"""documents: questions about chunks of documents, and answers that rest on them (the idea of Augmentoolkit).

    chunk      "... In the Bay of Fundy in Canada the difference between low and high water can exceed 15 metres. ..."
    generated  [user "How large can the tidal range in the Bay of Fundy be?", assistant "It can exceed 15 metres."]
    span       tides.txt, characters 1893 to 1982: "In the Bay of Fundy in Canada the difference ... 15 metres."
    fell       not_grounded, {"problem": "the text does not have these: 150", ...}

Every answer is held against the chunk, first without a model (grounding.py), then by the model that checks. What they find is
told to the model that writes, which may mend it; what is still wrong then falls. Several turns are made one after another, each
held against the chunk like the first; of a conversation that goes wrong the turns before it stay.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, NamedTuple

from sft_assets import text as texts
from sft_assets.augmented.candidate import Candidate, Cell, Chunk, Fall, Seed, Span
from sft_assets.augmented.methods import grounding
from sft_assets.augmented.methods.kit import Ask, Kit, Steps, fallen, together
from sft_assets.augmented.methods.material import Material
from sft_assets.models.door import Reply
from sft_assets.recipe import EMBEDDED, Documents
from sft_assets.record import Message

NAME = "documents"
CHECKED = frozenset({"documents_check"})  # prompts for the model that checks
TEXT = frozenset({"heading", "text"})
MENDED = 0.5  # of the answers, about, that are mended and checked once more; for estimates
# what the checker says "no" to -> why the answer falls, and what the writer is told
VERDICTS = {
    "answerable": ("not_answerable", "The text does not answer this question. Ask one that it does answer."),
    "faithful": ("not_faithful", "The answer says something that the text does not say."),
    "self_contained": ("not_self_contained", "The question cannot be understood by someone who does not see the text."),
}
SILENT = 'Nobody else sees the text, so do not speak of it: "{}" must go.'
Part = Generator[Sequence[Ask], Sequence[Reply], "Turn"]


class Draft(NamedTuple):
    """What a model wrote. quote: what it says that its answer rests on."""

    question: str
    answer: str
    quote: str


@dataclass(frozen=True)
class Turn:
    """A question and its answer. fell: why they are no good. complaint: the same for the model that may mend it; empty: it
    cannot be mended."""

    draft: Draft
    span: Span | None = None
    fell: Fall | None = None
    complaint: str = ""
    repairs: int = 0

    @property
    def messages(self) -> list[Message]:
        """What there is of it."""
        answer = [Message("assistant", self.draft.answer)] if self.draft.answer else []
        return [Message("user", self.draft.question), *answer]


def prompts(section: Documents) -> Mapping[str, frozenset[str]]:
    """The prompt files: questions, answers, checks, repairs, and follow-up questions where there are several turns."""
    return {
        "documents_questions": TEXT | {"number"},
        "documents_answer": TEXT | {"conversation"},
        "documents_check": TEXT | {"conversation", "answer"},
        **({"documents_repair": TEXT | {"conversation", "answer", "complaint"}} if section.repairs else {}),
        **({"documents_followup": TEXT | {"conversation"}} if section.turns > 1 else {}),
    }


def seeds(material: Material, section: Documents) -> list[Seed]:
    """As many chunks as give the rows that are wanted, if every question about them is a good one."""
    number = -(-len(material.wanted(section.rows)) // section.questions)
    turns = "multi" if section.turns > 1 else "single"
    return [Seed(chunk=chunk, cell=Cell(language=chunk.language, turns=turns)) for chunk in material.chunks(number)]


def data_version() -> str:
    """Ten hex digits over what grounding goes by."""
    return grounding.data_version()


def calls(section: Documents) -> Mapping[str, float]:
    """About a chunk."""
    turns = section.questions * section.turns
    mended = turns * MENDED if section.repairs else 0.0
    asked = {
        "documents_questions": 1.0,
        "documents_answer": turns,
        "documents_check": turns + mended,
        "documents_repair": mended,
        "documents_followup": section.questions * (section.turns - 1),
    }
    return {name: float(asked[name]) for name in prompts(section)}


def generate(seed: Seed, kit: Kit, section: Documents) -> Steps:
    """A candidate for each question."""
    assert seed.chunk is not None
    source = Source(seed, seed.chunk, kit)
    (reply,) = yield [source.ask("documents_questions", number=section.questions)]
    if fell := fallen(reply):
        return [Candidate([], fell=fell)]
    questions = [question.strip() for question in reply.value["questions"]][: section.questions]
    if not questions:
        return [Candidate([], fell=Fall("empty"))]
    fresh = [n for n, question in enumerate(questions) if _key(question) not in map(_key, questions[:n])]
    made = yield from together([conversation(source, questions[n], section) for n in fresh])
    candidates = dict(zip(fresh, made, strict=True))
    for n in set(range(len(questions))) - set(fresh):
        candidates[n] = Candidate([Message("user", questions[n])], fell=Fall("duplicate_question"))
    return without_copies([candidates[n] for n in range(len(questions))])


def without_copies(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates; one whose first question was mended into another's falls."""
    seen: set[str] = set()
    for candidate in candidates:
        key = _key(candidate.messages[0].content)
        if candidate.fell is None and key in seen:
            candidate.fell = Fall("duplicate_question", {"question": candidate.messages[0].content})
        if candidate.fell is None:
            seen.add(key)
    return candidates


def _key(question: str) -> str:
    """What two copies of a question have in common; the question itself where it has no words."""
    return " ".join(texts.tokens(question)) or question


@dataclass(frozen=True)
class Source:
    """The chunk that everything is about, and the models that are asked about it."""

    seed: Seed
    chunk: Chunk
    kit: Kit

    @property
    def heading(self) -> str:
        """Where the chunk stands: its headings, or the name of its document."""
        return " > ".join(self.chunk.headings) or PurePath(self.chunk.document).stem

    def ask(self, name: str, **data: str | int | Sequence[Message]) -> Ask:
        return self.kit.ask(name, self.seed, {"heading": self.heading, "text": self.chunk.text, **data})

    def check(self, name: str, **data: str | int | Sequence[Message]) -> Ask:
        return self.kit.check(name, self.seed, {"heading": self.heading, "text": self.chunk.text, **data})

    def uncut(self, name: str, text: str) -> str:
        """A text of the writer; where the embedded model was cut off, its whole sentences."""
        text = text.strip()
        cut = self.kit.model == EMBEDDED and len(text) >= self.kit.prompts[name].header.embedded_chars - 1
        return grounding.whole(text) if cut else text


# ---------------------------------------------------------------------------------------------------------- one row


def conversation(source: Source, question: str, section: Documents) -> Generator[Sequence[Ask], Sequence[Reply], Candidate]:
    """The candidate that begins with a question."""
    turns: list[Turn] = []
    failed: Turn | None = None
    while True:
        turn = yield from good_turn(source, question, turns, section.repairs)
        if turn.fell:
            failed = turn
            break
        turns.append(turn)
        if len(turns) == section.turns:
            break
        (reply,) = yield [source.ask("documents_followup", conversation=_said(turns))]
        if fell := fallen(reply):
            failed = Turn(Draft("", "", ""), fell=fell)
            break
        question = reply.value["question"].strip()
    choices: dict[str, Any] = {"repairs": sum(turn.repairs for turn in [*turns, *([failed] if failed else [])])}
    if not turns:
        assert failed is not None
        return Candidate(failed.messages, fell=failed.fell, choices=choices)
    if failed is not None and failed.fell is not None:
        choices["ended_by"] = failed.fell.reason
    return Candidate(_said(turns), spans=tuple(turn.span for turn in turns if turn.span), choices=choices)


def _said(turns: Sequence[Turn]) -> list[Message]:
    return [message for turn in turns for message in turn.messages]


def good_turn(source: Source, question: str, before: Sequence[Turn], repairs: int) -> Part:
    """An answer to a question, held against the chunk and mended where that finds something."""
    turn = questioned(Draft(question, "", ""), before)
    if not turn.fell:
        (reply,) = yield [source.ask("documents_answer", conversation=[*_said(before), Message("user", question)])]
        if fell := fallen(reply):
            return Turn(Draft(question, "", ""), fell=fell)
        answer = source.uncut("documents_answer", reply.value["answer"])
        turn = yield from held(source, Draft(question, answer, reply.value["quote"]), before)
    for repair in range(1, repairs + 1):
        if not turn.complaint:
            break
        asked = [*_said(before), Message("user", turn.draft.question)]
        answer = turn.draft.answer
        (reply,) = yield [source.ask("documents_repair", conversation=asked, answer=answer, complaint=turn.complaint)]
        if fell := fallen(reply):
            return replace(turn, fell=fell, repairs=repair)
        said = reply.value
        answer = source.uncut("documents_repair", said["answer"])
        turn = yield from held(source, Draft(said["question"].strip(), answer, said["quote"]), before)
        turn = replace(turn, repairs=repair)
    return turn


def held(source: Source, draft: Draft, before: Sequence[Turn]) -> Part:
    """A draft, held against the chunk: first without a model, then by the one that checks."""
    turn = examined(source, draft, before)
    if turn.fell:
        return turn
    asked = [*_said(before), Message("user", draft.question)]
    (reply,) = yield [source.check("documents_check", conversation=asked, answer=draft.answer)]
    if fell := fallen(reply):
        return replace(turn, fell=fell)
    for name, (reason, complaint) in VERDICTS.items():
        if reply.value[name] != "yes":
            why = str(reply.value["reason"])
            return replace(turn, fell=Fall(reason, {"checker": why, **_shown(draft)}), complaint=f"{complaint} {why}".strip())
    return turn


def questioned(draft: Draft, before: Sequence[Turn]) -> Turn:
    """What can be told of the question alone: it is not answered before it is a good one."""
    question = draft.question
    if not question:
        return _wrong(draft, "empty", "There is no question.")
    if grounding.is_cut(question):
        return _wrong(draft, "truncated", "The question is not complete: it has no question mark or full stop at its end.")
    if _key(question) in {_key(turn.draft.question) for turn in before}:
        return _wrong(draft, "duplicate_question", "The question was asked before. Ask another one.")
    if said := grounding.mention(question):
        return _wrong(draft, "mentions_text", SILENT.format(said))
    return Turn(draft)


def examined(source: Source, draft: Draft, before: Sequence[Turn]) -> Turn:
    """What can be told of a question and its answer without a model."""
    turn = questioned(draft, before)
    question, answer, quote = draft
    if turn.fell:
        return turn
    if not answer or _key(answer) == _key(question):
        return _wrong(draft, "not_answerable", VERDICTS["answerable"][1])
    if said := grounding.mention(answer):
        return _wrong(draft, "mentions_text", SILENT.format(said))
    if numbers := grounding.unsupported(answer, [source.chunk.text, source.heading, question]):
        return _wrong(draft, "not_grounded", f"The text does not have these: {', '.join(numbers)}.")
    span = grounding.span_for(answer, question, quote, source.chunk)
    if span is None:
        return _wrong(draft, "not_grounded", "The quote does not stand in the text, or has nothing to do with the answer.")
    return Turn(draft, span)


def _wrong(draft: Draft, reason: str, problem: str) -> Turn:
    """A draft that falls, unless it is mended."""
    return Turn(draft, fell=Fall(reason, {"problem": problem, **_shown(draft)}), complaint=problem)


def _shown(draft: Draft) -> dict[str, str]:
    """A draft, for the evidence."""
    return {name: value for name, value in draft._asdict().items() if value}
