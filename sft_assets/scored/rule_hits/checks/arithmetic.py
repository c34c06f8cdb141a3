"""Wrong arithmetic in plain statements "a op b = c", by the exact value of what they say.

    "That makes 12 + 30 = 43 apples."   ->   (11, 31)

Only what is certainly a statement about numbers: no algebra, no units that change, no part of a longer expression. A result may
be rounded, or cut at its last digit; a chain (2 + 3 + 4 = 9) is worked out as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from typing import TypeVar

from sft_assets.scored.rule_hits.checks.turn import Span, Turn

N = TypeVar("N", float, Fraction)

CURRENCY = "$€£¥₹"
NO_SIGNS = str.maketrans("", "", f"{CURRENCY}%")
NUMBER = rf"[{CURRENCY}]?(?!0[xbo\d])\d{{1,15}}(?:,\d{{3}})*(?:\.\d{{1,12}})?%?"
UNIT = r"(?:[ ]?(?!(?:x|div|mod|and|or|to|then|so|is|are)\b)[a-zA-Z]{2,15}(?![\w(^]))?"
OPERATOR = r"[ ]?(?:[-+*/×÷−–]|(?<=[\d ])x(?=[\d $]))[ ]?"
STATEMENT = re.compile(
    rf"(?P<left>-?{NUMBER}{UNIT}(?:{OPERATOR}{NUMBER}{UNIT}){{1,12}})[ ]?=[ ]?(?P<right>[-−]?{NUMBER})(?P<unit>{UNIT})"
)
TERM = re.compile(rf"(?P<number>-?{NUMBER})(?P<unit>{UNIT})(?P<operator>(?:{OPERATOR})?)")

BULLET = re.compile(r"\s*(?:[-*•·]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+")
# what makes a longer expression of it: "4 times 5 + 3", "x - 5 + 3", "f(2) + 5"
NOT_BEFORE = re.compile(
    r"""
      [\w.,^_\\/&'$€£-]\Z
    | [-+*/×÷−–^%)\]}!²³√<>≈≠]\s*\Z
    | \d[.,:;]?\s*\Z
    | (?:^|[^a-zA-Z])[a-zA-Z]\s\Z
    | \d\sand\s\Z
    | \b(?:times|plus|minus|by|of|squared|cubed|over|sqrt|log|ln|sin|cos|tan|mod|div|than|per|power|root|base|negative)\s\Z
    """,
    re.IGNORECASE | re.VERBOSE,
)
NOT_AFTER = re.compile(
    r"""
      \d | [.,:/]\d | [a-zA-Z_(] | \.\. | …
    | \s?[-+*/×÷−–^([{!²³√°_%≠]\s?[\w($\\]
    | [ ]?[\dx×^!²³√°/%(]
    | [ ]?(?:million|billion|trillion|thousand|hundred|dozen|lakh|crore|remainder|squared|cubed)
    | [ ]?(?:[kmbr]|mod|rem|or|and)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


def wrong_arithmetic(turn: Turn, longest: int) -> Span | None:
    """The first statement that is not true, in the first `longest` characters."""
    for found in STATEMENT.finditer(turn.text, 0, longest):
        if _stands_alone(turn.text, found) and not _may_hold(found["left"], found["right"], found["unit"]):
            return found.span()
    return None


def _stands_alone(text: str, found: re.Match[str]) -> bool:
    line = text[max(text.rfind("\n", 0, found.start()) + 1, found.start() - 40) : found.start()]
    bullet = BULLET.match(line)
    before = line[bullet.end() :] if bullet else line
    ends = found.end("right"), found.end()  # without its unit, and with it
    return not NOT_BEFORE.search(before) and not any(NOT_AFTER.match(text, end) for end in ends)


def _may_hold(left: str, right: str, unit: str) -> bool:
    """Whether a statement is true, in any reading, or says what no numbers can: of other units, of n/0, of 6/2*3."""
    terms = list(TERM.finditer(left))
    operators = [term["operator"].strip() for term in terms[:-1]]
    units = {_unit(term["number"], term["unit"]) for term in terms} | {_unit(right, unit)}
    if len(units - {""}) > 1 or _is_ambiguous(operators) or ("%" in left and set(operators) & set("+-−–")):
        return True
    if _plainly_holds([term["number"] for term in terms], operators, right):
        return True
    for values in product(*(_readings(term["number"]) for term in terms)):
        value = _value([value for value, _ in values], operators)
        if value is None or any(_rounds_to(value, stated, decimals) for stated, decimals in _readings(right)):
            return True
        if value * 1000 == _readings(right)[0][0]:  # 5 (thousand) x 3 = 15,000
            return True
    return False


PRECISION = 1e-12


def _plainly_holds(numbers: list[str], operators: list[str], right: str) -> bool:
    """Most statements are true as they stand, and to see it without exact fractions is cheap."""
    value, stated = _value([_float(number) for number in numbers], operators), _float(right)
    return value is not None and abs(value - stated) <= PRECISION * abs(stated)


def _float(number: str) -> float:
    return float(number.replace("−", "-").replace(",", "").translate(NO_SIGNS))


def _unit(number: str, unit: str) -> str:
    return unit.strip().lower().rstrip("s") or next((sign for sign in number if sign in CURRENCY), "")


def _is_ambiguous(operators: list[str]) -> bool:
    """Whether something is multiplied or divided by after a division."""
    divided = [number for number, operator in enumerate(operators) if operator in "/÷"]
    return bool(divided) and any(operator in "*×x/÷" for operator in operators[divided[0] + 1 :])


THOUSANDS = re.compile(r"\d{1,3}\.\d{3}")


def _readings(number: str) -> list[tuple[Fraction, int]]:
    """What a number may mean, each with its decimals: 5% is 5 or 0.05, 1.500 is 1.5 or 1500."""
    text = number.replace("−", "-").replace(",", "")
    sign, bare = (-1 if "-" in text else 1), text.strip(CURRENCY + "%-")
    decimals = len(bare.partition(".")[2])
    readings = [(sign * Fraction(bare), decimals)]
    if THOUSANDS.fullmatch(bare):
        readings.append((sign * Fraction(bare.replace(".", "")), 0))
    if text.endswith("%"):
        readings.append((sign * Fraction(bare) / 100, decimals + 2))
    return readings


def _value(numbers: Sequence[N], operators: list[str]) -> N | None:
    """The value of a chain, products first; None where it divides by zero."""
    terms = [numbers[0]]
    for operator, number in zip(operators, numbers[1:], strict=True):
        if operator in "/÷" and not number:
            return None
        if operator in "*×x":
            terms[-1] *= number
        elif operator in "/÷":
            terms[-1] /= number
        else:
            terms.append(number if operator == "+" else -number)
    return sum(terms[1:], terms[0])


def _rounds_to(value: Fraction, stated: Fraction, decimals: int) -> bool:
    """Whether `stated` is the value, or the value rounded or cut after so many decimals."""
    if value == stated:
        return True
    scale = 10**decimals
    return (value * scale).denominator != 1 and bool(abs(value - stated) * scale < 1)
