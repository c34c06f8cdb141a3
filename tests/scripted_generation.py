"""A scripted language model that plays every prompt of the methods of generation, and the data for which it knows its part.

    row         "Explain why the salty crane of Dover lifts ..."        evol_instruct, Dover: the checker finds no gain
    request     schema {instruction}, data {instruction: that row}      {"instruction": "Say which ..."}
    request     schema {reason, equal}, data {first, second}            {"reason": "Scripted.", "equal": "yes"}
    end         ENDS["evol_instruct"][that row] == ("method", "no_gain")

What it says is a function of the request's body alone. Requests are told apart by the properties of their schema and the names
of their data, so that prompt files may be reworded. What no case is made of gets good replies, each another.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from sft_assets.folder import Folder
from tests.conftest import put
from tests.made_rows import REFUSAL
from tests.model_server import Answer, Request, chat

MODEL = "scripted"
End = tuple[str, str]  # gate and reason; of an accepted row both are empty
ACCEPTED: End = ("", "")
EMAIL = "jan.visser@harbour-post.net"
PERSONA = "A harbour pilot who has seen every storm. Says what matters and no more."
DECLINED = "I cannot help with that request."  # says no word of being sorry: only the rules know it for a refusal
CUT = '{"instruction": "Explain why the'  # JSON without an end
TEMPERATURES = (0.2, 1.0)  # at which preferences asks; nothing else does
# fmt: off
NOUNS = (
    "crane", "barrel", "lantern", "anchor", "customs", "ferry", "ledger", "captain", "tower", "market", "bridge", "cellar",
    "sail", "net", "rope", "tide", "quay", "kitchen", "baker", "clock", "bell", "orchard", "mill", "cart", "lamp", "pilot",
    "harvest", "winter", "storm", "garden", "library", "window", "shutter", "copper", "timber", "salt", "herring", "wool",
    "glass", "violin", "parcel", "stair", "chapel", "school", "doctor", "tailor", "miner", "canal", "lock", "dike",
)
ADJECTIVES = (
    "salty", "narrow", "ancient", "quiet", "heavy", "golden", "crooked", "hollow", "bright", "patient", "rusty", "gentle",
    "clever", "frozen", "distant", "wooden", "proud", "muddy", "hidden", "broad", "stubborn", "weary", "silver", "humble",
)
VERBS = (
    "lifts", "guards", "feeds", "repairs", "carries", "replaces", "follows", "protects", "measures", "warms", "cleans",
    "supports", "hides", "paints", "outlives", "shelters", "delays", "orders", "lights", "crosses",
)
REQUIREMENTS = (
    "It must name the {n}.", "Avoid every {n}.", "Use at most six lines.", "Do not praise the {n}.", "Include a {n}.",
    "Compare it with the {n}.", "Write without the {n}.", "Only the {n} counts.", "Be sure to mention a {n}.",
    "Say it in the style of a {n}.", "End with the {n}.", "Begin with a {n}.",
)
TOWNS = (
    "Aarhus", "Bergen", "Cadiz", "Dover", "Emden", "Faro", "Genoa", "Hull", "Izmir", "Jaffa", "Kiel", "Lisbon", "Malaga",
    "Naples", "Ostend", "Porto", "Quimper", "Riga", "Split", "Trieste", "Uddevalla", "Varna", "Wismar", "York", "Zadar",
)
# fmt: on


def prose(salt: str, sentences: int = 2) -> str:
    """Sentences that no other salt gives."""
    draw = random.Random(salt)

    def one() -> str:
        a, b, c, d = draw.sample(NOUNS, 4)
        x, y, z = draw.sample(ADJECTIVES, 3)
        return f"The {x} {a} {draw.choice(VERBS)} the {y} {b}, and one {c} of the town {draw.choice(VERBS)} the {z} {d}."

    return " ".join(one() for _ in range(sentences))


def question(salt: str, of: str = "") -> str:
    """An instruction that no other salt gives, with four requirements: it is a hard one."""
    draw = random.Random(salt)
    a, b, c, *others = draw.sample(NOUNS, 7)
    x, y = draw.sample(ADJECTIVES, 2)
    begin = draw.choice(("Tell", "Describe", "Work out", "Report", "Discuss"))
    asked = [line.format(n=other) for line, other in zip(draw.sample(REQUIREMENTS, 4), others, strict=True)]
    return f"{begin} how the {x} {a}{of} {draw.choice(VERBS)} the {b} where the {y} {c} stands. {' '.join(asked)}"


def source(town: str) -> str:
    """What the source row of a town asks: an easy question."""
    draw = random.Random(f"source {town}")
    a, b, c, d = draw.sample(NOUNS, 4)
    x, y = draw.sample(ADJECTIVES, 2)
    since = " since 1840" if town == "Genoa" else ""
    return f"Why does the {x} {a} of {town} serve the {b}{since}, and what has the {y} {c} to do with the {d}?"


def output(town: str) -> str:
    return prose(f"output {town}")


def nearly(text: str) -> str:
    """The text with another last word: of some fifty 3-grams one or two differ."""
    return f"{text.rstrip('.').rpartition(' ')[0]} harpoon."


# ---------------------------------------------------------------------------------------------------- what is there already

ITEMS = tuple(question(f"exam {n}", f" of the {n} exam") for n in ("May", "June", "July", "August", "autumn", "winter"))
LEAKED = ITEMS[0]  # a source row has it too, and is dropped for it
RIGA = source("Riga"), f"First, {prose('one Riga')}", f"Perhaps {prose('another Riga')}"  # one prompt, two answers
PAIRS = [(source(town), prose(f"won {town}"), prose(f"lost {town}")) for town in ("Genoa", "Izmir")]
TWIN = question("twin", " of both twins"), prose("twin")  # what two methods make
SAME = question("same")  # what self_instruct makes of two seeds

TIDES = """---
title: Tides
license: CC-BY-4.0
---
# The tides of Fundy

The tide in the Bay of Fundy can exceed 15 metres. The harbour of Parrsboro falls dry twice a day, and its ships then lie on
wooden cradles. A lighthouse keeper counts 38 steps to the lantern. The ferry to Saint John needs 3 hours for the crossing.
Salt marshes behind the dikes give hay for 200 cattle. The old mill was driven by the water that the ebb left in its pond.
Fishermen hang nets on poles, and they pick the herring out by hand when the water is gone. The customs house has a roof of
Welsh slate, which was brought as ballast. In winter the ice cakes on the flats are as high as a man.
"""
LETTERS = f"""The harbour office of Ostend keeps all letters of the pilots in 12 oak chests. Write to {EMAIL} for a visit.
Each chest has two locks, and two people hold the keys. The oldest letter was written by a pilot who had lost his boat in fog.
The office shows it on the first Sunday of each month, and it lends nothing to other museums, since the ink fades in the light.
"""
SECRETS = """The private notes of the shipyard say that its keels are laid on blocks of elm. The yard has 9 slipways, of which
two are under a roof. Its carpenters season the oak in sea water for a whole year before it is sawn, and what is crooked is
sold.
"""
BROKEN = """The rope walk of the town is a shed of 300 metres. Spinners walk backwards in it with hemp around their waists. A
boy turns the wheel, and at noon everybody eats under the lime trees. What they spin in a week is enough for the rigging of
a sloop.
"""


@dataclass(frozen=True)
class Grounded:
    """A question about a document, what is answered, checked and mended, and where it ends. None of the latter: not asked."""

    question: str
    end: End
    answer: str = ""
    quote: str = ""
    raw: str | None = None
    no_to: str = ""  # what the checker says no to
    mended: tuple[str, str, str] | None = None  # question, answer, quote


FUNDY = "The tide in the Bay of Fundy can exceed 15 metres."
STEPS = "A lighthouse keeper counts 38 steps to the lantern."
HAY = "Salt marshes behind the dikes give hay for 200 cattle."
DRY = "The harbour of Parrsboro falls dry twice a day"
ROOF = "The customs house has a roof of"
QA = ("How do the fishermen of Fundy take the herring from their nets?", "They pick the herring out by hand.")  # a source row
ITEM = "What does the customs house of the old harbour town near Fundy have for a roof above its heavy walls?"
GROUNDED = {
    "tides.md": (
        Grounded("How large can the tide in the Bay of Fundy be?", ACCEPTED, "The tide there can exceed 15 metres.", FUNDY),
        Grounded("How far does the tide rise in Fundy, in words?", ("method", "not_grounded"), "It rises by 150 metres.", FUNDY,
                 mended=("How far does the tide rise in Fundy, in words?", "It rises by 150 kilometres.", FUNDY)),
        Grounded("What happens to the harbour of Parrsboro?", ACCEPTED, "According to the text, it falls dry twice a day.", DRY,
                 mended=("What happens to the harbour of Parrsboro?", "It falls dry twice a day.", DRY)),
        Grounded("How many steps lead to the lantern?", ("method", "not_faithful"), "The keeper counts 38 steps.", STEPS,
                 no_to="faithful", mended=("How many steps lead to the lantern?", "There are 38 steps to the lantern.", STEPS)),
        Grounded("Who feeds the cattle of Fundy?", ("method", "not_answerable"), "The salt marshes give hay for them.", HAY,
                 no_to="answerable", mended=("Who feeds the cattle of Fundy?", "The marshes give hay for 200 cattle.", HAY)),
        Grounded("How large can the tide in the bay of fundy be?", ("method", "duplicate_question")),
        Grounded("What does the author say about the ice?", ("method", "mentions_text"),
                 mended=("What does the author say about the ice?", "It is as high as a man.", "")),
        Grounded("How long is the ferry under way?", ("method", "unparsed"), raw='{"answer": "It needs 3 hou'),
        Grounded("What drove the old mill?", ("method", "not_grounded"), REFUSAL,
                 mended=("What drove the old mill?", REFUSAL, "")),
        Grounded(QA[0], ("exact_duplicates", "exact_duplicate"), QA[1], "they pick the herring out by hand"),
        Grounded(ITEM, ("benchmarks", "benchmark_item"), "It has a roof of Welsh slate.", ROOF),
    ),
    "letters.txt": (
        Grounded("In what does the office of Ostend keep letters?", ACCEPTED, "It keeps them in 12 oak chests.",
                 "keeps all letters of the pilots in 12 oak chests"),
    ),
}  # fmt: skip
QUESTIONS = {case.question: case for cases in GROUNDED.values() for case in cases}
MARKS = {"Parrsboro": "tides.md", "oak chests": "letters.txt"}  # words that tell documents


# --------------------------------------------------------------------------------------------- what is said of which row


@dataclass(frozen=True)
class Case:
    """What is said for one seed, and where it ends. raw: in place of JSON with the instruction. answer: to the instruction."""

    end: End
    instruction: str = ""
    raw: str | None = None
    finish: str = "stop"
    answer: str | None = None
    cut: bool = False  # the answer
    equal: str = "no"


def _method(reason: str, *args: Any, **kwargs: Any) -> Case:
    return Case(("method", reason), *args, **kwargs)


EXACT, NEAR, ITEM_END = (
    ("exact_duplicates", "exact_duplicate"), ("near_duplicates", "near_duplicate"), ("benchmarks", "benchmark_item"),
)  # fmt: skip
RULES = ("rules", "refusal")
EITHER = ("", "either")  # of two that are the same one stays, whichever it is
MADE: dict[str, dict[str, Case]] = {  # by method and town
    "self_instruct": {
        "Aarhus": _method("rouge", nearly(source("Bergen"))),
        "Bergen": _method("copies_example", source("Bergen")),
        "Cadiz": _method("too_short", "Sail away."),
        "Dover": _method("too_long", f"Explain this at length. {prose('long', 12)}"),
        "Emden": _method("blacklisted", "Describe the picture of the harbour that hangs in the hall."),
        "Faro": _method("bad_start", "- explain the rigging of a sloop"),
        "Genoa": _method("unparsed", raw=CUT, finish="length"),
        "Hull": Case(RULES, question("self refusal"), answer=REFUSAL),
        "Izmir": Case(ITEM_END, ITEMS[1]),
        "Jaffa": Case(EXACT, LEAKED, answer=prose("leaked")),  # of a row that decontaminated dropped
        "Malaga": _method("truncated", question("self cut"), answer=prose("self cut"), cut=True),
        "Naples": _method("empty", question("self empty"), answer=" "),
        "Kiel": Case(EITHER, SAME),
        "Lisbon": Case(EITHER, SAME),
    },
    "evol_instruct": {
        "Aarhus": _method("unchanged", source("Aarhus").upper()),
        "Bergen": _method("too_short", "Why the crane?"),
        "Cadiz": _method("copied_prompt_words", f"#Rewritten Prompt#: {question('evol copied')}"),
        "Dover": _method("no_gain", question("evol equal"), equal="yes"),
        "Emden": _method("refusal", question("evol sorry"), answer=REFUSAL),
        "Faro": _method("empty_answer", question("evol nothing"), answer="It is, and it was."),
        "Genoa": _method("unparsed", raw=CUT),
        "Hull": _method("unparsed", question("evol unchecked"), equal="perhaps"),
        "Izmir": _method("truncated", question("evol cut"), answer=prose("evol cut"), cut=True),
        "Jaffa": Case(EXACT, source("Kiel"), answer=output("Kiel")),
        "Lisbon": Case(NEAR, source("Malaga"), answer=nearly(output("Malaga"))),
        "Naples": Case(ITEM_END, ITEMS[2]),
        "Ostend": Case(EITHER, TWIN[0], answer=TWIN[1]),
        "Porto": Case(RULES, question("evol declined"), answer=DECLINED),
    },
    "personas": {
        "Aarhus": _method("unchanged", source("Aarhus")),
        "Bergen": _method("copied_prompt_words", f"A harbour pilot who has seen every storm asks: {source('Bergen')}"),
        "Dover": _method("unparsed", raw='Sure! {"instruction": 7}'),
        "Emden": Case(RULES, question("persona declined"), answer=REFUSAL),
        "Faro": _method("truncated", question("persona cut"), answer=prose("persona cut"), cut=True),
        "Genoa": _method("changed_facts", source("Genoa").replace("1840", "1841")),
        "Hull": Case(EXACT, source("Trieste"), answer=output("Trieste")),
        "Izmir": Case(NEAR, source("Split"), answer=nearly(output("Split"))),
        "Jaffa": Case(ITEM_END, ITEMS[3]),
        "Ostend": Case(EITHER, TWIN[0], answer=TWIN[1]),
    },
}


@dataclass(frozen=True)
class Answers:
    """The two answers that preferences gets to a row, and where the pair ends."""

    end: End
    cool: str
    warm: str
    cut: bool = False


GOOD, BAD, UNRATED = "First,", "Perhaps", "Mumble:"  # how answers begin that are rated 5, 2 and not at all; others: 3
ANSWERED: dict[str, Answers] = {
    "Aarhus": Answers(("method", "tie"), prose("tie 1"), prose("tie 2")),
    "Bergen": Answers(("method", "margin"), f"{BAD} {prose('margin 1')}", prose("margin 2")),
    "Cadiz": Answers(("method", "unrated"), f"{UNRATED} {prose('unrated 1')}", f"{UNRATED} {prose('unrated 2')}"),
    "Dover": Answers(("method", "equal_answers"), output("Dover"), f" {output('Dover')}\n"),
    "Emden": Answers(("method", "truncated"), prose("cut 1"), prose("cut 2"), cut=True),
    "Faro": Answers(RULES, REFUSAL, f"{BAD} {prose('refused')}"),
    "Genoa": Answers(EXACT, f"{GOOD} {PAIRS[0][1]}", f"{BAD} {PAIRS[0][2]}"),
    "Hull": Answers(ITEM_END, f"{GOOD} {prose('item')}", f"{BAD} {ITEMS[4]}"),
    "Izmir": Answers(NEAR, nearly(f"{GOOD} {PAIRS[1][1]}"), f"{BAD} {PAIRS[1][2]}"),
}
BY_ROW = {
    "preferences": {source(town): case for town, case in ANSWERED.items()},
    **{method: {source(town): case for town, case in cases.items()} for method, cases in MADE.items()},
}
PROMPTS: dict[str, tuple[End, Answer]] = {  # rows without an answer, and the answer
    question("prompt good"): (ACCEPTED, chat(prose("prompt good"))),
    question("prompt mumble"): (ACCEPTED, chat(f"{UNRATED} {prose('prompt mumble')}")),
    question("prompt email"): (ACCEPTED, chat(f"{prose('prompt email')} Write to {EMAIL} before you come.")),
    question("prompt refusal"): (RULES, chat(REFUSAL)),
    question("prompt cut"): (("method", "truncated"), chat(f"It was cut off at {EMAIL}, and", finish="length")),
    question("prompt empty"): (("method", "empty"), chat("\n")),
    question("prompt declined"): (("method", "unparsed"), chat(None, refusal="No.")),
    question("prompt filtered"): (("method", "refused"), chat("", finish="content_filter")),
    source("York"): (EXACT, chat(output("York"))),
    source("Zadar"): (NEAR, chat(nearly(output("Zadar")))),
    question("prompt item"): (ITEM_END, chat(f"It asks: {ITEMS[5]}")),
}
ANSWERS = {
    case.instruction: chat(case.answer, finish="length" if case.cut else "stop")
    for cases in MADE.values()
    for case in cases.values()
    if case.answer is not None
}
EQUAL = {case.instruction: case.equal for case in MADE["evol_instruct"].values()}
ENDS: dict[str, dict[str, End]] = {
    **{method: {row: case.end for row, case in cases.items()} for method, cases in BY_ROW.items()},
    "answers": {prompt: end for prompt, (end, _) in PROMPTS.items()},
    "documents": {case.question: case.end for case in QUESTIONS.values()},
}


# ------------------------------------------------------------------------------------------------------------ the script


def script(request: Request) -> Answer:
    """What the model says to a request."""
    body = request.body
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    wanted, data, salt = set(schema.get("properties", {})), pieces(body), orjson.dumps(body).decode()
    match sorted(wanted):
        case []:
            return _answered(body, salt)
        case ["instruction"]:
            return _instructed(body, data, salt)
        case ["equal", "reason"]:
            return _json(equal=EQUAL.get(data["second"], "no"), reason="Scripted.")
        case ["reason", "score"]:
            return _rated(data["assistant"], len(schema["properties"]["score"]["enum"]))
        case _:
            return _about_a_document(wanted, data)


def pieces(body: Mapping[str, Any]) -> dict[str, str]:
    """The data in a request, by its names; the last of those that have one."""
    said = "\n".join(str(turn["content"]) for turn in body["messages"] if turn["role"] == "user")
    found: dict[str, str] = {}
    for nonce, name, text in re.findall(r"^\[([0-9a-f]{6}) (?!end\])(\w+)\]\n(.*?)(?=\n\[\1 )", said, re.MULTILINE | re.DOTALL):
        assert nonce
        found[name] = text
    return found


def _answered(body: Mapping[str, Any], salt: str) -> Answer:
    asked = body["messages"][-1]["content"]
    if body["temperature"] in TEMPERATURES:
        cool = body["temperature"] == TEMPERATURES[0]
        if case := BY_ROW["preferences"].get(asked):
            assert isinstance(case, Answers)
            return chat(case.cool if cool else case.warm, finish="length" if case.cut else "stop")
        return chat(f"{GOOD if cool else BAD} {prose(salt)}")
    if asked in PROMPTS:
        return PROMPTS[asked][1]
    return ANSWERS.get(asked) or chat(prose(salt))


def _instructed(body: Mapping[str, Any], data: Mapping[str, str], salt: str) -> Answer:
    if "wanted" in data:
        method = "self_instruct"
        shown = [json.loads(turn["content"])["instruction"] for turn in body["messages"] if turn["role"] == "assistant"]
        row = shown[0]
    else:
        method, row = "personas" if "persona" in data else "evol_instruct", data["instruction"]
    case = BY_ROW[method].get(row)
    if case is None:
        since = " since 1840" if "1840" in row else ""
        return _json(instruction=question(salt, since))
    assert isinstance(case, Case)
    return _json(instruction=case.instruction) if case.raw is None else chat(case.raw, finish=case.finish)


def _rated(answer: str, highest: int) -> Answer:
    if answer.startswith(UNRATED):
        return chat("I would rather not.")
    score = highest if answer.startswith((GOOD, REFUSAL)) else 2 if answer.startswith(BAD) else 3
    return _json(reason="Scripted.", score=score)


def _about_a_document(wanted: set[str], data: Mapping[str, str]) -> Answer:
    if wanted == {"questions"}:
        document = next((name for mark, name in MARKS.items() if mark in data["text"]), None)
        return (
            chat('{"questions": ["What is') if document is None else _json(questions=[c.question for c in GROUNDED[document]])
        )
    case = QUESTIONS.get(data["user"])
    if wanted == {"answer", "quote"}:
        assert case is not None
        return _json(answer=case.answer, quote=case.quote) if case.raw is None else chat(case.raw)
    if wanted == {"question", "answer", "quote"}:
        assert case is not None and case.mended is not None
        return _json(**dict(zip(("question", "answer", "quote"), case.mended, strict=True)))
    assert "faithful" in wanted, f"a request that nothing is scripted for: {wanted}"
    verdicts = {name: "no" if case and name == case.no_to else "yes" for name in ("answerable", "faithful", "self_contained")}
    return _json(reason="Scripted.", **verdicts)


def _json(**values: Any) -> Answer:
    return chat(json.dumps(values))


# ------------------------------------------------------------------------------------------------------------- the folder


def row(instruction: str, output: str) -> dict[str, str]:
    return {"instruction": instruction, "output": output}


ROWS = len(TOWNS) + 2  # with an answer, that come through to clustered: Riga has two, and one is about herring
UNLICENSED = question("unlicensed")


def fill(folder: Folder, towns: tuple[str, ...] = TOWNS) -> None:
    """Sources under two licences (and one that is not allowed), prompts, pairs, a benchmark and documents."""
    half = len(towns) // 2
    put(folder, "a.jsonl", [
        row(RIGA[0], RIGA[1]), row(LEAKED, prose("leaked")), row(*QA),
        *(row(source(town), output(town)) for town in towns[:half] if town != "Riga"),
    ])  # fmt: skip
    rest = [row(source(town), output(town)) for town in towns[half:] if town != "Riga"]
    put(folder, "b.jsonl", [row(RIGA[0], RIGA[2]), *rest])
    put(folder, "closed.jsonl", [row(UNLICENSED, prose("unlicensed")), row(question("unlicensed 2"), prose("unlicensed 2"))])
    put(folder, "prompts.jsonl", [{"prompt": prompt} for prompt in PROMPTS])
    pairs = [(p, f"{GOOD} {won}", f"{BAD} {lost}") for p, won, lost in PAIRS]
    put(folder, "pairs.jsonl", [{"prompt": p, "chosen": won, "rejected": lost} for p, won, lost in pairs])
    items = [{"question": item, "answer": "Nobody knows."} for item in (*ITEMS, ITEM)]
    (folder.benchmarks / "exam.jsonl").write_bytes(b"".join(orjson.dumps(item) + b"\n" for item in items))
    folder.documents.mkdir(exist_ok=True)
    for name, text in {"tides.md": TIDES, "letters.txt": LETTERS, "secrets.txt": SECRETS, "broken.txt": BROKEN}.items():
        (folder.documents / name).write_text(text)


SOURCES = [
    {"path": "a.jsonl", "license": "mit"},
    {"path": "b.jsonl", "license": "apache-2.0"},
    {"path": "closed.jsonl", "license": "cc-by-nc-4.0"},
    {"path": "prompts.jsonl", "license": "mit"},
    {"path": "pairs.jsonl", "license": "mit"},
]
METHODS = {
    "documents": {"rows": 48, "questions": 12},
    "answers": {},
    "self_instruct": {"rows": ROWS, "examples": 1},
    "evol_instruct": {"rows": ROWS, "operators": ["constraints", "deepening"]},
    "personas": {"rows": ROWS, "personas": [PERSONA]},
    "preferences": {
        "rows": None, "temperatures": list(TEMPERATURES), "margin": 1.5,
        "aspects": ["ultrafeedback_honesty", "ultrafeedback_helpfulness"],
    },
}  # fmt: skip


def recipe(**sections: Any) -> dict[str, Any]:
    """The recipe: all methods, one topic, and nothing else that takes long. sections: in place of its own."""
    return {
        "sources": SOURCES,
        "combined": {"allowed_licenses": ["mit", "apache-2.0", "cc-by-4.0"]},
        "raw": {"max_quarantined": 100},
        "likelihoods": {"rows": 0},
        "judgements": {"rows": 0, "model": MODEL},
        "embeddings": {"model": "static"},
        "topics": {"min_size": 100},
        "chunks": {"smallest": 50, "license": "mit", "licenses": {"secrets.txt": "cc-by-nc-4.0"}},
        "gaps": {"targets": {"difficulty": {"hard": 0.5}}, "share": 1.0},
        "generations": {"model": MODEL, "methods": METHODS},
        "generation_scores": {"likelihood": False},
        "exported": {"test_share": 0.3},
        "models": {MODEL: {"price": {"input": 1000, "output": 2000}}},
        **sections,
    }
