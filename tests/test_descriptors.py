"""How rows are put: length, turns, question type, code, maths, language and difficulty."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from sft_assets.arrow import messages_array, uuids
from sft_assets.clustered.descriptors.asset import descriptors
from sft_assets.clustered.descriptors.questions import languages
from sft_assets.clustered.descriptors.style import COLUMNS, count_words, describe
from sft_assets.folder import Folder
from sft_assets.record import Conversation, Message
from tests.conftest import CORPUS
from tests.made_rows import chat, fill, hash_of, make, query


def described(*conversations: Conversation) -> list[dict[str, Any]]:
    batch = pa.table(
        {
            "content_hash": uuids(map(hash_of, conversations)),
            "messages": messages_array([c.messages for c in conversations]),
            "tools": pa.array([c.tools for c in conversations], pa.string()),
        }
    )
    rows: list[dict[str, Any]] = describe(batch).to_pylist()
    return rows


def one(*turns: str, **more: Any) -> dict[str, Any]:
    return described(chat(*turns, **more))[0]


# ------------------------------------------------------------------------------------------------------- question types

ASKED = {
    "what": ["What is the capital of Peru?", "Tell me what photosynthesis is.", "what's the tallest mountain in Africa"],
    "why": ["Why is the sky blue?", "In winter, why do pipes burst?"],
    "how": ["How do I boil an egg?", "how to tie a tie"],
    "who": ["Who painted the Night Watch?"],
    "when": ["When did the Berlin Wall fall?"],
    "where": ["Where do penguins live?"],
    "which": ["Which of these rivers is longer, the Rhine or the Elbe?"],
    "how_many": ["How many moons has Mars?"],
    "yes_no": ["Is a tomato a fruit?"],
    "calculate": [
        "Ann has 3 apples and buys 5 more. How many apples does she have now?",
        "If a train covers 60 miles in 2 hours, what is its average speed, and how far does it come in 5 hours?",
        "Calculate 15 % of 240.",
    ],
    "write": ["Write a poem about rain.", "Could you please write a letter to my landlord?", "Tell me a story about a dragon."],
    "explain": ["Explain how vaccines work.", "I want you to describe the water cycle."],
    "classify": [
        "Classify these animals into mammals and birds: bat, robin, whale.",
        "Decide whether the review is positive: Great!",
    ],
    "summarize": ["Summarize the following article in two sentences.\nThe council met on Monday."],
    "translate": ["Translate to French: Where is the station?", "How do you say 'thank you' in Italian?"],
    "rewrite": ["Rewrite this sentence in the passive voice.\nThe dog bit the man."],
    "extract": ["Extract all names from the text.\nAnn met Bob in Rome."],
    "brainstorm": ["List five hobbies for rainy days.", "Give me some ideas for a birthday party."],
    "code": ["Write a Python function that reverses a string.", "Can you fix the bug in this code?\nprint(x"],
    "roleplay": ["You are a pirate. Greet the crew.", "Act as a job interviewer and ask me questions."],
    "other": ["Thanks, that helped a lot.", "The ship left the harbour."],
}  # fmt: skip
CASES = [(kind, text) for kind, texts in ASKED.items() for text in texts]


@pytest.mark.parametrize(("kind", "text"), CASES)
def test_a_turn_is_of_the_type_that_it_asks_for(kind: str, text: str) -> None:
    assert one(text, "Well.")["question"] == kind


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("why", "Warum ist der Himmel tagsüber blau und abends rot?"),
        ("write", "Schreibe bitte ein kurzes Gedicht über den Herbst im Wald."),
        ("translate", "Übersetze den folgenden Satz ins Englische: Der Zug kommt heute später."),
        ("how", "Comment est-ce que les avions peuvent voler aussi longtemps ?"),
        ("summarize", "Résume le texte suivant en deux phrases, s'il te plaît."),
        ("who", "¿Quién escribió la novela Don Quijote de la Mancha?"),
        ("explain", "Explica cómo funciona un motor eléctrico en un coche moderno."),
        ("write", "写一首关于秋天的诗，表达思乡之情。"),
        ("what", "请问光合作用是什么？它在哪些植物里发生？"),
        ("translate", "把下面的句子翻译成英文：今天天气很好。"),
        ("yes_no", "企鹅会飞吗？我一直很想知道。"),
        ("code", "用Python编写一个函数，计算两个数的最大公约数。"),
    ],
)
def test_other_languages_ask_in_their_own_words(kind: str, text: str) -> None:
    assert one(text, "Ja.")["question"] == kind


def test_the_last_turn_that_asks_something_counts() -> None:
    row = one("Why is the sky blue?", "Because of scattering.", "Where can I read more?", "In a library.", "Thanks!", "Bye.")
    assert row["question"] == "where"


def test_a_conjunction_at_the_beginning_is_no_question() -> None:
    assert one("When I was young I lived by the sea.", "I see.")["question"] == "other"
    assert one("When I start it, it crashes. Why does it do that?", "Look.")["question"] == "why"


def test_a_task_before_a_long_text_counts_and_not_what_the_text_asks() -> None:
    article = "The council met on Monday. " * 60 + "Who will pay for it?"
    assert one(f"Summarize this article.\n{article}", "They met.")["question"] == "summarize"


def test_a_question_after_a_long_text_counts() -> None:
    assert one("The council met on Monday. " * 60 + "Who will pay for it?", "The town.")["question"] == "who"


def test_every_language_has_the_same_types() -> None:
    types = [{*how.tasks.groupindex} | {*how.questions.groupindex} for how in languages().values()]
    assert all(each == types[0] for each in types)


# --------------------------------------------------------------------------------------------------------- code and maths


@pytest.mark.parametrize(
    "text",
    [
        "Use a fence:\n```python\nprint('hi')\n```",
        "def add(a, b):\n    return a + b",
        "SELECT name FROM users WHERE age > 30",
        "public class Main {\n    public static void main(String[] args) {\n    }\n}",
        "Run it with:\nnpm install express",
        "<div class='card'><span>Hi</span></div>",
        "const app = express();\napp.listen(3000);",
        "int[] numbers = new int[3];",
    ],
)
def test_code_is_seen_with_and_without_a_fence(text: str) -> None:
    assert one("How would that look?", text)["code"]


@pytest.mark.parametrize(
    "text",
    [
        "I would select a good book from the library; then I would read it (slowly), and return it on Monday.",
        "While you are here, let me introduce Ann: she is from France, and she has a class at nine.",
        "1. Preheat the oven (180 degrees).\n2. Mix flour, eggs and milk; stir well.\n3. Bake for 30 minutes.",
        "For Ann, import taxes were high. If so, print the form, else call.",
    ],
)
def test_prose_is_no_code(text: str) -> None:
    assert not one("What would you do?", text)["code"]


@pytest.mark.parametrize(
    "turns",
    [
        ("Ann has 3 apples and buys 5 more. How many has she?", "She has 8 apples."),
        ("And how much is left?", "There are 20 kg - 7 kg = 13 kg left."),
        ("Differentiate the function.", r"It is $\frac{1}{2} x^{2}$ then."),
        ("Solve 2x + 3 = 7 for x.", "x is 2"),
        ("What is the Pythagorean theorem?", "A law of right triangles."),
    ],
)
def test_maths_is_seen_in_exercises_equations_and_latex(turns: tuple[str, str]) -> None:
    assert one(*turns)["math"]


@pytest.mark.parametrize(
    "turns",
    [
        ("When was Bach born?", "In 1685, and he died in 1750; he had 20 children."),
        ("How many moons has Mars?", "Mars has two moons."),
        ("Call 555-1234 on 2024-05-01?", "Yes, from 9-17, room 12/3."),
        ("Print $a and $b in PHP.", "<?php\n$a = 1; $b_c = 2;\necho $a . $b_c;"),
    ],
)
def test_numbers_alone_are_no_maths(turns: tuple[str, str]) -> None:
    assert not one(*turns)["math"]


# ------------------------------------------------------------------------------------------------------- length and turns


def test_words_are_counted_by_side() -> None:
    row = one("Where is it?", "It's in Rome.", "Sure?", "Yes, quite sure.")
    assert (row["turns"], row["prompt_words"], row["answer_words"]) == (4, 4, 6)


def test_two_characters_of_a_script_without_spaces_are_a_word() -> None:
    counts = count_words(pa.array(["机器学习", "我用 Python 写代码", "größer als zwölf", "नमस्ते दुनिया", "", None]))
    assert counts.tolist() == [2, 4, 3, 2, 0, 0]


def test_length_is_of_one_answer_and_a_row_without_answers_has_none() -> None:
    short, medium, long = "word " * 49, "word " * 200, "word " * 201
    assert [one("Hi", text)["length"] for text in (short, medium, long)] == ["short", "medium", "long"]
    assert one("Hi", short, "More", short)["length"] == "short"
    assert one("Hi")["length"] is None


def test_system_prompts_and_tools_are_seen() -> None:
    plain = chat("Hi", "Hello")
    with_system = Conversation([Message("system", "Be brief."), *plain.messages])
    blank_system = Conversation([Message("system", "  "), *plain.messages])
    with_tools = chat("Hi", "Hello", tools='[{"name": "clock"}]')
    no_tools = chat("Hi", "Hello", tools="[]")
    call = Conversation([plain.messages[0], Message("assistant", "", tool_calls='[{"name": "clock"}]')])
    rows = described(plain, with_system, blank_system, with_tools, no_tools, call)
    assert [row["system"] for row in rows] == [False, True, False, False, False, False]
    assert [row["tools"] for row in rows] == [False, False, False, True, False, True]
    assert {row["turns"] for row in rows} == {2}


# -------------------------------------------------------------------------------------------------------------- language


@pytest.mark.parametrize(
    ("language", "turns"),
    [
        ("en", ("What is the best way to learn how to swim?", "Take lessons.")),
        ("de", ("Wie lerne ich am besten schwimmen, ohne Angst zu haben?", "In der Schule.")),
        ("zh", ("应对气候变化的四个步骤。", "第一，减少排放。")),
        ("ja", ("気候変動への対策を四つ挙げてください。", "はい。")),
        ("zh", ("找到并显示两个文本字符串之间的最长公共子串。\n字符串：This is the example of it", "好的。")),
        ("fr", ("Ok ?", "Oui, je viendrai demain matin avec les enfants et le chien.")),
        (None, ("Ok?", "Yes.")),
    ],
)
def test_language_is_of_the_prompt_and_of_the_answer_where_it_is_too_short(
    language: str | None, turns: tuple[str, str]
) -> None:
    assert one(*turns)["language"] == language


# ------------------------------------------------------------------------------------------------------------ difficulty


def test_difficulty_grows_with_the_requirements_of_a_prompt() -> None:
    rows = [
        one("Write a poem about rain.", "Drip."),
        one("Write a poem about rain in exactly 12 lines, without the letter e.", "Drip."),
        one(
            "Write a poem about rain. It must have exactly 12 lines, at least three rhymes, and avoid the letter e. "
            "Do not use the word rain.",
            "Drip.",
        ),
    ]
    assert [row["difficulty"] for row in rows] == ["easy", "medium", "hard"]


def test_difficulty_looks_at_the_prompt_alone() -> None:
    long_answer = "You must do at least ```code``` and 2 + 2 = 4. " * 100
    for prompt in ("Where is Rome?", "Ann has 3 apples and eats 2. How many are left?", "Sort this array: [3, 1]"):
        assert one(prompt, long_answer)["difficulty"] == one(prompt, "Well.")["difficulty"]


def test_chinese_requirements_count() -> None:
    assert one("写一首诗，必须至少十二行，不要使用“雨”字，以对话形式。", "好。")["difficulty"] in ("medium", "hard")
    assert one("写一首关于雨的诗。", "好。")["difficulty"] == "easy"


# ------------------------------------------------------------------------------------------------------------- the asset

ROWS = [
    chat("Why is the sky blue?", "Because of scattering."),
    chat("Why is the sky blue?", "Because of scattering.", path="again"),  # another row of equal content
    Conversation([Message("user", "Write a poem.")], kind="prompt"),
    Conversation([]),
]


def test_each_content_is_described_once_and_the_same_however_it_is_batched(folder: Folder) -> None:
    fill(folder, ROWS)
    make(folder, descriptors)
    stored = {str(row[0]): row[1:] for row in query(folder, f"SELECT {', '.join(COLUMNS)} FROM descriptors")}
    assert len(stored) == 3
    for row in ROWS:
        (alone,) = described(row)
        assert stored[str(alone.pop("content_hash"))] == tuple(alone.values())


def test_the_report_counts_contents_by_each_descriptor(folder: Folder) -> None:
    fill(folder, ROWS)
    (version,) = make(folder, descriptors)
    assert version.report["contents"] == 3
    assert version.report["by_question"] == {"other": 1, "why": 1, "write": 1}
    assert version.report["by_length"] == {"none": 2, "short": 1}


# ------------------------------------------------------------------------------------------------------------- the corpus


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public data is not here")
@pytest.mark.parametrize(
    ("name", "column", "value", "least", "most"),
    [
        ("gsm8k_train_alpaca.json.gz", "math", True, 0.97, 1.0),
        ("gsm8k_train_alpaca.json.gz", "code", True, 0.0, 0.01),
        ("gsm8k_train_alpaca.json.gz", "question", "calculate", 0.9, 1.0),
        ("gpteacher_codegen_instruct.json", "code", True, 0.97, 1.0),
        ("evol_teacher_code_2k.json", "code", True, 0.8, 1.0),
        ("mlx_wikisql_text_train.jsonl", "code", True, 0.97, 1.0),
        ("mlx_wikisql_text_train.jsonl", "math", True, 0.0, 0.01),
        ("chatdoctor5k.json.gz", "code", True, 0.0, 0.01),
        ("chatdoctor5k.json.gz", "math", True, 0.0, 0.01),
        ("alpaca_zh_demo.json", "language", "zh", 0.97, 1.0),
        ("gpteacher_roleplay_deduped.json", "question", "roleplay", 0.85, 1.0),
    ],
)
def test_public_data_is_described_as_what_it_is(name: str, column: str, value: Any, least: float, most: float) -> None:
    from tests.test_rule_hits_corpus import conversations

    rows = described(*conversations(f"instruct/{name}")[:400])
    assert least <= sum(row[column] == value for row in rows) / len(rows) <= most
