"""Keywords of topics by class-based TF-IDF: what the texts of a topic have and those of the other topics have not.

    {0: ["blood pressure", "symptoms", "pain", ...], 1: ["python", "function", "list", ...], 2: ["健康", "饮食", ...]}

Words are taken together by their stem, and shown in the form that is usual in the topic. In scripts without spaces words cannot
be told without a dictionary: there, pieces of 2 to 4 characters are candidates, and one gives way to a longer one in which it
nearly always stands.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import regex

from sft_assets.clustered.topics.stop_words import stop_characters, stop_pieces, stop_words
from sft_assets.text.characters import NO_SPACES

TEXTS = 1000  # of a topic, that are read
CHARS = 1000  # of a text, that are read ...
UNSPACED = 200  # ... where it has a script without spaces, of which a character says as much as several letters
LONGEST = 4  # characters of a piece
CANDIDATES = 60  # terms of a topic that are looked at
NEARLY_ALWAYS = 0.6  # share of the texts with a part, that have the whole
IN_NAME = 3

Ints = npt.NDArray[np.int64]

# a word; else what stands between two words, but for blanks, hyphens, underscores and marks of emphasis
_MARKUP = r"https?://\S+|</?[a-z][^<>]*>|&\#?\w+;|\\[a-z]+"
ASCII_TOKEN = re.compile(rf"{_MARKUP}|[a-z]-[a-z]{{3,}}|[a-z]+(?:'[a-z]+)*|[0-9][a-z0-9]*|[^\sa-z_*'`-]+|\n\s*\n")
TOKEN = regex.compile(
    rf"""
      {_MARKUP}
    | [a-z]-[a-z]{{3,}}                                                   # x-ray
    | [\p{{Katakana}}ー]+
    | [\p{{L}}--[{NO_SPACES}]][[\p{{L}}\p{{M}}]--[{NO_SPACES}]]*(?:['’][\p{{L}}--[{NO_SPACES}]]+)*
    | \p{{N}}[\p{{L}}\p{{N}}]*                                            # 42nd
    | [^\s\p{{L}}\p{{M}}_*'`-]+
    | [{NO_SPACES}]+
    | \n\s*\n
    """,
    regex.V1 | regex.VERBOSE,
)
WORD = regex.compile(rf"(?:[a-z]-)?[[\p{{L}}\p{{M}}]--[{NO_SPACES}]]{{2,}}|[\p{{Katakana}}ー]{{2,}}", regex.V1)
# a character with its marks, and one that may stand in a piece: Hiragana is mostly grammar, Katakana are words
UNIT = regex.compile(r"\P{M}\p{M}*|\p{M}+")
OF_PIECE = regex.compile(rf"[{NO_SPACES}--[\p{{Katakana}}\p{{Hiragana}}\p{{M}}]]\p{{M}}*", regex.V1)
HAS_UNSPACED = regex.compile(rf"[{NO_SPACES}]", regex.V1)
HAS_MARKS = regex.compile(r"\p{M}")
HANGUL_PARTICLE = regex.compile(r"(?<=^\p{Hangul}{2,})(?:에서|으로|에게|까지|부터|[을를은는이가의에로와과도])$")


class Term(NamedTuple):
    """A candidate: how it is shown, its score, the texts of the topic that have it, and its parts (stems or characters)."""

    shown: str
    score: float
    texts: int
    parts: tuple[str, ...]
    unspaced: bool


def topic_keywords(
    texts: Sequence[str], topics: Sequence[int] | npt.NDArray[np.integer[Any]], most: int = 8
) -> dict[int, list[str]]:
    """The keywords of each topic, best first; a topic whose texts have no words has none.

    texts: in any language; of a topic the first 1,000 are read, and of each of them the first 1,000 characters (200
    where a script has no spaces). topics: as many; -1 is
    no topic, and its texts count nowhere.

    The score is c-TF-IDF (Grootendorst, BERTopic, https://arxiv.org/abs/2203.05794), tf * log(1 + A / f), with shares for
    counts, so that neither a long text nor a large topic weighs more: tf is the share of the topic's texts that have the term,
    f the sum of these shares over all topics, A the mean number of terms that a text has. What is said everywhere names
    nothing: of tf the mean over the *other* topics is taken away, and the more topics have half as much, the less it counts.
    """
    if len(texts) != len(topics):
        raise ValueError(f"{len(texts)} texts, {len(topics)} topics")
    names, read, topic = _read(np.asarray(topics, np.int64))
    chosen = [_beginning(texts[i]) for i in read]
    sizes = np.bincount(topic, minlength=len(names))
    words, pairs = _words(chosen)
    families = [family for family in (words, pairs, _pieces(chosen)) if len(family.term)]
    candidates: dict[int, list[Term]] = defaultdict(list)
    for family, cells in zip(families, _scored(families, topic, sizes), strict=True):
        for of, term in family.best(cells, topic):
            candidates[of].append(term)
    return {int(name): _selected(candidates[i], most) for i, name in enumerate(names)}


def topic_name(keywords: Sequence[str]) -> str:
    """What a topic is called where no model names it: "blood pressure, symptoms, pain"."""
    return ", ".join(keywords[:IN_NAME])


def _read(topics: Ints) -> tuple[Ints, Ints, Ints]:
    """(the topics, the texts that are read, the number of the topic of each)."""
    names, numbers = np.unique(topics[topics >= 0], return_inverse=True)
    places = np.flatnonzero(topics >= 0)
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(len(names)))
    rank = np.arange(len(order)) - starts[numbers[order]] if len(order) else order
    kept = np.sort(order[rank < TEXTS])
    return names, places[kept], numbers[kept]


def _beginning(text: str) -> str:
    """What is read of a text, in lower case."""
    text = text[:CHARS].lower()
    return text[:UNSPACED] if _has_unspaced(text) else text


def _has_unspaced(text: str) -> bool:
    return not text.isascii() and HAS_UNSPACED.search(text) is not None


# --------------------------------------------------------------------------------------------------------------- scores


class Cells(NamedTuple):
    """Topics by terms, where there is something: `texts` of the topic have the term."""

    topic: Ints
    term: Ints
    texts: Ints
    score: npt.NDArray[np.float64]


class Family(NamedTuple):
    """Where terms of one sort stand: the text, the term and the form of each occurrence.

    parts: the stems or characters of a term; form `f` is shown as `forms(f)`.
    """

    text: Ints
    term: Ints
    form: Ints
    terms: int
    vocabulary: Sequence[str]
    parts: npt.NDArray[np.int64]  # (terms, parts), numbers of `names`; -1: none
    names: Sequence[str]
    unspaced: bool

    def best(self, cells: Cells, topic: Ints) -> list[tuple[int, Term]]:
        """The candidates of each topic, as they are usually written in it."""
        order = np.lexsort((-cells.score, cells.topic))
        starts = np.searchsorted(cells.topic[order], np.arange(cells.topic.max() + 1 if len(order) else 0))
        rank = np.arange(len(order)) - starts[cells.topic[order]]
        chosen = order[(rank < CANDIDATES) & (cells.score[order] > 0)]
        forms = self._usual(np.unique(cells.topic[chosen] * self.terms + cells.term[chosen]), topic)
        joint = "" if self.unspaced else " "
        result = []
        for cell in chosen.tolist():
            of, term = int(cells.topic[cell]), int(cells.term[cell])
            parts = tuple(self.names[p] for p in self.parts[term].tolist() if p >= 0)
            form = forms[of * self.terms + term]
            shown = joint.join(self.vocabulary[f] for f in form) if form else joint.join(parts)
            result.append((of, Term(shown, float(cells.score[cell]), int(cells.texts[cell]), parts, self.unspaced)))
        return result

    def _usual(self, wanted: Ints, topic: Ints) -> dict[int, tuple[int, ...]]:
        """The most frequent form of each wanted cell."""
        if self.unspaced:
            return dict.fromkeys(wanted.tolist(), ())
        cell = topic[self.text] * self.terms + self.term
        here = np.isin(cell, wanted)
        size = len(self.vocabulary)
        pairs, counts = np.unique(np.stack([cell[here], self.form[here]]), axis=1, return_counts=True)
        best: dict[int, tuple[int, str, tuple[int, ...]]] = {}
        for of, form, n in zip(*pairs.tolist(), counts.tolist(), strict=True):
            numbers = (form,) if form < size else (form // size - 1, form % size)
            entry = (-n, " ".join(self.vocabulary[i] for i in numbers), numbers)
            best[of] = min(best.get(of, entry), entry)
        return {of: numbers for of, (_, _, numbers) in best.items()}


def _scored(families: Sequence[Family], topic: Ints, sizes: Ints) -> list[Cells]:
    """The cells of each family with their scores."""
    held = [_held(family, topic) for family in families]
    shares = [texts / sizes[of] for of, _, texts in held]
    a = sum(share.sum() for share in shares) / max(1, len(sizes))
    result = []
    for family, (of, term, texts), share in zip(families, held, shares, strict=True):
        f = np.bincount(term, share, family.terms)[term]
        elsewhere = (f - share) / max(1, len(sizes) - 1)
        own = np.log((len(sizes) + 1) / _as_much(term, share)) / np.log(len(sizes) + 1)
        result.append(Cells(of, term, texts, np.round((share - elsewhere) * own * np.log1p(a / f), 9)))
    return result


def _as_much(term: Ints, share: npt.NDArray[np.float64]) -> Ints:
    """Of each cell: the topics that have at least half as much of its term, itself among them."""
    keys = np.sort(2 * term + share)
    return np.searchsorted(keys, 2 * term + 1.5) - np.searchsorted(keys, 2 * term + share / 2)


def _held(family: Family, topic: Ints) -> tuple[Ints, Ints, Ints]:
    """(topic, term, texts of the topic that have the term), each pair once."""
    seen, _ = _counted(family.text * family.terms + family.term)
    cells, texts = _counted(topic[seen // family.terms] * family.terms + seen % family.terms)
    return cells // family.terms, cells % family.terms, texts


def _counted(values: Ints) -> tuple[Ints, Ints]:
    """The values in order, each once, and how often each is there (np.unique hashes: ten times as long)."""
    ordered = np.sort(values)
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))  # no value is negative
    return ordered[starts], np.diff(starts, append=len(ordered))


# ---------------------------------------------------------------------------------------------------- words and word pairs


def _words(texts: Sequence[str]) -> tuple[Family, Family]:
    """The words of lower-case texts, and the pairs of neighbouring words."""
    found = [ASCII_TOKEN.findall(text) if text.isascii() else TOKEN.findall(text) for text in texts]
    text = np.repeat(np.arange(len(texts)), [len(tokens) for tokens in found])
    encoded = pa.array(chain.from_iterable(found), pa.string()).dictionary_encode()
    token = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    vocabulary = [_bare(word) for word in encoded.dictionary.to_pylist()]
    numbers: dict[str, int] = {}
    of_token = np.array([numbers.setdefault(_stem(w), len(numbers)) if w else -1 for w in vocabulary] or [-1], np.int64)
    stems, size = list(numbers), len(vocabulary)
    stem = of_token[token] if len(token) else token
    is_word = stem >= 0
    parts = np.arange(len(stems))[:, None]
    words = Family(text[is_word], stem[is_word], token[is_word], len(stems), vocabulary, parts, stems, False)

    first = np.flatnonzero(is_word[:-1] & is_word[1:] & (text[:-1] == text[1:]) & (stem[:-1] != stem[1:]))
    pair, codes = _numbered(stem[first] * len(stems) + stem[first + 1])
    first, pair = first[pair >= 0], pair[pair >= 0]
    parts = np.stack([codes // max(1, len(stems)), codes % max(1, len(stems))], 1)
    forms = (token[first] + 1) * size + token[first + 1]
    return words, Family(text[first], pair, forms, len(codes), vocabulary, parts, stems, False)


def _bare(token: str) -> str:
    """A token without what an apostrophe ties to it; "" if it is no word, or one that names nothing."""
    if "'" in token or "’" in token:
        before, after = re.split("['’]", token)[:2]
        token = after if len(before) <= 2 < len(after) else before  # l'eau; king's
    return token if WORD.fullmatch(token) and token not in stop_words() else ""


@cache
def _stem(word: str) -> str:
    """What the forms of a word have in common: endings of English, particles of Korean."""
    if not word.isascii():
        bare: str = HANGUL_PARTICLE.sub("", word)
        return bare[:-1] if len(bare) > 4 and bare.endswith("s") else bare
    if len(word) > 3 and word.endswith("s") and word[-2] not in "siu":
        word = word[:-1]
        if len(word) > 4 and word.endswith("ie"):
            word = word[:-1]
    for ending, left in (("ing", 4), ("ed", 4), ("ion", 5)):
        if len(word) - len(ending) >= left and word.endswith(ending):
            word = word[: -len(ending)]
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    if len(word) > 3 and word[-1] == "e":
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 3 and word[-1] == "y" else word


# ------------------------------------------------------------------------------------------------- scripts without spaces


def _units(text: str, stops: re.Pattern[str]) -> list[str]:
    """The characters of a text with their marks, without words that name nothing; none where all scripts of it have spaces."""
    if not _has_unspaced(text):
        return []
    text = stops.sub(" ", text)
    return UNIT.findall(text) if HAS_MARKS.search(text) else list(text)


def _pieces(texts: Sequence[str]) -> Family:
    """The pieces of 2 to 4 characters between characters and words that name nothing."""
    stops = stop_pieces()
    units = [_units(text, stops) for text in texts]
    text = np.repeat(np.arange(len(texts)), [len(each) for each in units])
    encoded = pa.array(chain.from_iterable(units), pa.string()).dictionary_encode()
    names: list[str] = encoded.dictionary.to_pylist()
    unit = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    cuts = stop_characters()
    tells = np.array([OF_PIECE.fullmatch(name) is not None and name not in cuts for name in names] or [False])
    size = len(names) + 1
    longest = LONGEST if size**LONGEST < 2**62 else LONGEST - 1
    good = tells[unit] if len(unit) else np.zeros(0, bool)
    code, at = unit + 1, np.flatnonzero(good)
    codes, places = code[at], at
    found: list[tuple[Ints, Ints]] = []
    for n in range(2, longest + 1):
        follows = places + n - 1
        fits = follows < len(unit)
        fits[fits] = good[follows[fits]] & (text[follows[fits]] == text[places[fits]])
        places = places[fits]
        codes = codes[fits] * size + code[places + n - 1]
        found.append((text[places], codes))
    numbered = [_numbered(codes) for _, codes in found]
    where = np.concatenate([places[number >= 0] for (places, _), (number, _) in zip(found, numbered, strict=True)])
    starts = np.cumsum([0, *(len(keys) for _, keys in numbered)])
    term = np.concatenate([number[number >= 0] + start for (number, _), start in zip(numbered, starts, strict=False)])
    keys = np.concatenate([keys for _, keys in numbered])
    parts = np.stack([keys // size**n % size - 1 for n in reversed(range(longest))], 1)
    return Family(where, term, term, len(keys), names, parts, names, True)


def _numbered(codes: Ints) -> tuple[Ints, Ints]:
    """(the number of each code, the codes in the order of their numbers); those that are there once have -1."""
    keys, counts = _counted(codes)
    keys = keys[counts > 1]
    if not len(keys):
        return np.full(len(codes), -1), keys
    number = np.minimum(np.searchsorted(keys, codes), len(keys) - 1)
    return np.where(keys[number] == codes, number, -1), keys


# ------------------------------------------------------------------------------------------------------------- selection


def _selected(terms: Sequence[Term], most: int) -> list[str]:
    """The best terms, none of which says again what another says."""
    ordered = sorted(terms, key=lambda t: (-t.score, t.shown))
    wholes: dict[tuple[str, ...], int] = {}  # part: the most texts that have it in a longer term
    for term in ordered:
        for n in range(1, len(term.parts)):
            for i in range(len(term.parts) - n + 1):
                part = term.parts[i : i + n]
                wholes[part] = max(wholes.get(part, 0), term.texts)
    ordered = [term for term in ordered if wholes.get(term.parts, 0) < NEARLY_ALWAYS * term.texts]
    chosen: list[Term] = []
    for term in ordered:
        if len(chosen) == most:
            break
        if not any(_alike(term, other) for other in chosen):
            chosen.append(term)
    return [term.shown for term in chosen]


def _alike(term: Term, other: Term) -> bool:
    """Whether two terms have a part in common: a word, or two characters that follow each other."""
    if term.unspaced != other.unspaced:
        return False
    if not term.unspaced:
        return not set(term.parts).isdisjoint(other.parts)
    return any(_holds(other.parts, term.parts[i : i + 2]) for i in range(len(term.parts) - 1))


def _holds(parts: tuple[str, ...], piece: tuple[str, ...]) -> bool:
    return any(parts[i : i + len(piece)] == piece for i in range(len(parts) - len(piece) + 1))
