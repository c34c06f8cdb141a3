"""How much a prompt asks for, by the prompt alone.

    "What is the capital of Peru?"                                                                   0  easy
    "Write a poem about rain in exactly 12 lines, without the letter e."                             2  medium
    "Implement an LRU cache. It must be thread-safe, without locks on reads, and must ... at most"   5  hard

It follows two ideas: requirements that can be checked one by one (IFEval, https://arxiv.org/abs/2311.07911), and the ways in
which evolved instructions become harder (WizardLM's "add constraints", "deepening", "increase reasoning steps",
https://arxiv.org/abs/2304.12244). Points:

    requirements    1 each, 4 at most: must, at least, exactly, without, in N words, a format ..., and each item of a list from
                    the third on
    code or maths   2
    length          1 from 60 words on, 2 from 200 on
    reasoning       1 where it is asked to compare, prove, optimize, give reasons, or go step by step
    conversation    1 where three or more user turns build on each other

0 and 1 are easy, 2 and 3 medium, 4 and more hard. No point looks at the answer or at other rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from sft_assets.clustered.descriptors.code_and_math import has

Ints = npt.NDArray[np.int64]

MOST_REQUIREMENTS = 4
LONG, VERY_LONG = 60, 200  # words
MANY_TURNS = 3  # of the user
MEDIUM, HARD = 2, 4  # points
FREE_ITEMS = 2

_UNITS = "words?|sentences?|paragraphs?|lines?|characters?|letters|bullet points?|points|steps|syllables|pages|items|examples"
REQUIREMENTS = {
    "en": r"\b(?:must(?: not)?|should(?: not)?|at least|at most|exactly|no (?:more|less|fewer) than|more than \d+"
    r"|less than \d+|up to \d+"
    r"|without|avoid|do not|don['’]t|does not|cannot|can['’]t|only|ensure|make sure|be sure to|need(?:s)? to|has to"
    r"|have to|required?|unless"
    r"|except|instead of|in the (?:style|form|format|tone) of|in (?:json|xml|yaml|csv|markdown|html|latex|table) ?(?:format)?"
    rf"|(?:\d+|two|three|four|five|six|seven|eight|ten|twelve)[- ](?:{_UNITS})|(?:start|begin|end|finish)(?:s|ing)? with"
    r"|(?:in )?(?:lowercase|uppercase|capital letters|alphabetical order|ascending order|descending order)|each of"
    r"|including|include"
    r"|(?:between|from) \d+ (?:and|to) \d+)\b",
    "de": r"\b(?:muss|müssen|soll(?:te|en)?|mindestens|höchstens|maximal|genau \d+|ohne|vermeide\w*|nicht mehr als"
    r"|nur|achte darauf"
    r"|stelle sicher|(?:\d+|zwei|drei|vier|fünf|zehn) (?:wörter|wörtern|sätze\w*|absätze\w*|zeilen|punkte\w*)|im stil"
    r"|als tabelle)\b",
    "fr": r"évite[rz]?\b|\b(?:doit|doivent|dois|devez|devrait|au moins|au plus|au maximum|exactement|sans|pas plus de"
    r"|uniquement|seulement"
    r"|assure[rz]?-(?:toi|vous)|(?:\d+|deux|trois|quatre|cinq|dix) (?:mots|phrases|paragraphes|lignes|points)"
    r"|sous forme de|dans le style)\b",
    "es": r"\b(?:debe[ns]?|debería[ns]?|tiene que|al menos|como máximo|como mínimo|exactamente|sin|evita[r]?"
    r"|no más de|solo|sólo|únicamente"
    r"|asegúrate|(?:\d+|dos|tres|cuatro|cinco|diez) (?:palabras|oraciones|frases|párrafos|líneas|puntos)|en forma de"
    r"|al estilo)\b",
    "zh": r"必须|至少|最多|不超过|不少于|不得|不要|不能|不可|避免|只能|仅限|应该|需要|要求|确保|恰好|正好"
    r"|(?:\d+|[两三四五六七八九十百]+)(?:个)?(?:字|词|句|段|行|点|步|例|条)|以[^，。]{1,10}(?:格式|形式|风格)|其中(?:包括|包含)|按照|除了",
    "ja": r"しなければ|必ず|以上|以内|以下|ちょうど|使わずに|避けて|だけ|\d+(?:文字|語|文|行)|形式で",
    "ru": r"(?:должн|обязательно|не менее|не более|ровно|без |избега|только|убедитесь)",
}
REQUIREMENT = "(?i:" + "|".join(REQUIREMENTS.values()) + ")"
LIST_ITEM = r"(?m:^[ \t]*(?:[-*•]|\(?\d{1,2}[.)、]|[a-zA-Z][.)])[ \t]+\S)"
REASONING = (
    r"(?i:\b(?:compare|contrast|pros and cons|advantages and disadvantages|prove|derive|justify|step[- ]by[- ]step"
    r"|trade-?offs?|optimi[sz]e"
    r"|critically|in[- ]depth|in detail|detailed|comprehensive|analy[sz]e|evaluate|implications?|complexity"
    r"|hypothes[ie]s|explain (?:your|why)"
    r"|reasoning|vergleich\w*|beweis\w*|ausführlich|schritt für schritt|begründ\w*|compare[rz]|démontre\w*"
    r"|étape par étape|justifie\w*"
    r"|compara\w*|demuestra|paso a paso|justifica)\b)|比较|对比|证明|推导|逐步|一步一步|详细|分析|优缺点|论证|比較|証明"
)


def requirements(prompts: Any) -> Ints:
    """How many requirements each prompt has (string array)."""
    found: Ints = pc.count_substring_regex(prompts, REQUIREMENT).to_numpy(zero_copy_only=False).astype(np.int64)
    items: Ints = pc.count_substring_regex(prompts, LIST_ITEM).to_numpy(zero_copy_only=False).astype(np.int64)
    return found + np.maximum(items - FREE_ITEMS, 0)


def difficulty(prompts: Any, words: Ints, turns: Ints, technical: npt.NDArray[np.bool_]) -> list[str]:
    """'easy', 'medium' or 'hard' of each prompt.

    prompts: what the user says, a string array; words: of it; turns: of the user; technical: it is about code or maths.
    """
    points = np.minimum(requirements(prompts), MOST_REQUIREMENTS)
    points += 2 * technical
    points += (words >= LONG).astype(np.int64) + (words >= VERY_LONG)
    points += has(prompts, REASONING)
    points += turns >= MANY_TURNS
    return [("easy", "medium", "hard")[level] for level in ((points >= MEDIUM).astype(np.int64) + (points >= HARD)).tolist()]
