"""Whether a text has code or maths in it; patterns of RE2, which Arrow looks for in whole columns at 2 ns a character.

"SELECT name FROM users WHERE age > 3"   ->  code
"27 - 7 = 20 kg"                         ->  maths
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_HTML = "html|head|body|div|span|script|style|table|form|input|button|svg|section|nav|header|footer|textarea|select|link|meta"
# a fence; or lines, and parts of lines, that are nothing but code. No single sign of it is common in prose.
CODE = "|".join(
    (
        r"(?m:^\s*(?:`{3,}|~{3,}))",
        r"(?m:^\s*(?:(?:async )?def \w+\([^\n]*\)[^\n]*:|class \w+(?:\([^\n]*\))?:|class \w+[^\n.,]*\{"
        r"|import [\w.{}, ]+(?: from ['\"].*|;)"
        r"|from [\w.]+ import |import (?:numpy|pandas|re|os|sys|json|math|random|time|datetime|java|torch)\b|\#include ?[<\"]"
        r"|using (?:namespace )?[\w.]+;|package [\w.]+;?$|<\?php|func(?:tion)? \w*\([^\n]*\)[^\n]*\{|fn \w+\("
        r"|elif .*:$|#!/))",
        r"(?m:^\s*(?:(?:public|private|protected|static)(?: (?:static|final|class|void|int|String|boolean|async))+ \w+))",
        r"(?m:^\s*(?:const|let|var|int|float|double|char|bool|string|String|auto) \w+(?:\[\d*\])? ?= ?[^\n]+;)",
        r"(?m:^\s*(?:if|while|for|else if|switch) ?\([^\n]*\) ?\{)",
        r"(?m:^\s*(?:for \w+(?:, ?\w+)* in [^\n]+|while [^\n.]+|if [^\n.]*[=<>(][^\n]*|else|try|except[^\n.]*):\s*\n\s+\w)",
        r"(?m:^\s*[\w.\[\]]+ ?[-+*]?= ?[\w.]+\([^\n]*\);?\s*$|^\s*[a-zA-Z_]\w[\w.]* = (?:\(.*\)|\[.*\]|\{.*\}"
        r"|['\"].*['\"]|\d+);?\s*$)",
        r"(?m:^\s*(?:return|print|puts|echo|println!?|assert)[ (][^\n]*[)\];\"'] *;?$|^\s*return [\w.+*/ -]+;)",
        r"console\.log\(|System\.out\.print|std::|cout ?<<|printf\(\"|document\.getElement|range\(len\(|__init__"
        r"|=> ?\{|\$\(['\"]",
        r"\b[a-z_]\w*\.(?:append|push|pop|sort|join|split|format|map|filter|reduce|forEach|length\b|add|get|set"
        r"|replace|read|write|open"
        r"|find|index|keys|values|items|connect|execute|send|listen|use|create|log|sqrt|random\w*|array|head|read_csv"
        r"|fit|predict)\(",
        r"(?m:^\s*(?:\$ ?)?(?:pip3? install|npm (?:install|run|start)|sudo \w|git (?:clone|commit|push|pull|checkout"
        r"|add)|docker run|cd \w+/|chmod ))",
        r"(?s:\bSELECT\b.{1,400}?\bFROM\b)|\bINSERT INTO \w|\bCREATE (?:TABLE|DATABASE|INDEX|VIEW|FUNCTION"
        r"|PROCEDURE) |\bUPDATE \w+ SET\b"
        r"|\bDELETE FROM \w|\bALTER TABLE \w|(?m:(?i:^\s*select (?:\*|[\w.]+(?:\([\w*.]*\))?(?:, ?[\w.]+)*) from \w+))",
        rf"<(?:{_HTML})(?: [a-z-]+=[^<>]*)?/?>|</(?:{_HTML})>|<!DOCTYPE",
        r"(?m:^\s*[.#]?[\w-]+(?: ?[,>:] ?[\w.#-]+)* ?\{\s*\n?\s*[a-z-]+: ?[^;{}\n]+;)",
        r"\blambda \w+(?:, ?\w+)*: |\bdef \w+\([^)\n]*\): |\[\w+(?:\([^)\n]*\))? for \w+ in [^\]\n]+\]"
        r"|\bfunction ?\w*\([^)\n]*\) ?\{",
        r"(?m:^[^\n]*[\w)\]'\"];\s*\n[^\n]*[\w)\]'\"];\s*\n)|(?m:^[^\n]*[=(][^\n]*[\w)\]'\"];\s*$)|(?m:^\s*(?:int"
        r"|double|float|char|bool|string|var|let) \w+;)",
        r"<(?:h[1-6]|ul|ol|li|a|p|td|tr)\b[^<>]*>[^<]*</(?:h[1-6]|ul|ol|li|a|p|td|tr)>|(?m:^\s*[.#]?[a-z][\w.#-]* ?\{\s*$)",
    )
)

_N = r"[$€£¥]?\d[\d,]*(?:\.\d+)?%?"
_UNIT = r"(?: ?[a-zA-Z]{1,12})?"
# a op b = c; LaTeX; terms of algebra
MATH = "|".join(
    (
        rf"{_N}{_UNIT} ?(?:[-+*/×÷−–]| x ) ?\(?{_N}{_UNIT}(?: ?(?:[-+*/×÷−–]| x ) ?{_N}{_UNIT})*\)? ?= ?(?:<<)?[-−]?{_N}",
        r"\\(?:frac|sqrt|sum|int|cdot|times|boxed|leq|geq|neq|infty|pmod|binom|begin\{(?:align|equation|bmatrix"
        r"|pmatrix|cases|array))\b",
        r"\$[^$\s][^$\n]{0,100}?(?:\\[a-zA-Z]{2,}|\^|_\{)[^$\n]{0,200}\$|\$\$[^$]{1,400}\$\$",
        r"\b\d+[a-z] ?[-+=] ?\d+|\b[xyzn] ?\^ ?\(?[2-9n]|\b\d*[xyzab][²³]|\d ?[²³√] ?[-+=]|√ ?\d|\b[fg]\(x\) ?="
        r"|\b(?:sin|cos|tan|log|ln)\([\dxθπ]",
    )
)
# what an exercise is about, where it has no signs of maths
MATH_WORDS = (
    r"(?i:\b(?:derivative of|integral of|quadratic|pythagor\w+|trigonometr\w+|prime factor\w*|solve (?:the |this "
    r"|for )(?:[\w ]{0,20})?"
    r"(?:equation|inequality|x\b|y\b)|square root of|cube root|(?:area|perimeter|circumference|hypotenuse|volume"
    r"|radius) of (?:a|an|the) "
    r"(?:right |equilateral )?(?:circle|triangle|rectangle|square|sphere|cylinder|cone|cube|trapezoid|parallelogram)"
    r"|greatest common"
    r"|least common multiple|arithmetic sequence|geometric (?:sequence|series)|matrix multiplication"
    r"|probability (?:of|that)|factori[sz]e"
    r"|ableitung von|quadratische|satz des pythagoras|dérivée de|derivada de|ecuación)\b)"
    r"|équation|方程|求导|导数|积分|平方根|三角形|圆的面积|周长|概率|因式分解|勾股"
)


def has(column: Any, pattern: str) -> npt.NDArray[np.bool_]:
    """Which texts of a string array have a match."""
    found: npt.NDArray[np.bool_] = pc.match_substring_regex(column, pattern).to_numpy(zero_copy_only=False)
    return found.astype(bool)


def code_in(texts: pa.Array) -> npt.NDArray[np.bool_]:
    """Which texts have code in them, in a fence or not, SQL, HTML and commands of a shell too."""
    return has(texts, CODE)


def math_in(texts: pa.Array) -> npt.NDArray[np.bool_]:
    """Which texts calculate: "a + b = c", LaTeX, terms of algebra."""
    return has(texts, MATH)
