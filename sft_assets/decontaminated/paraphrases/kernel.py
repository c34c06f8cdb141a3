"""The nearest items of rows, compiled: for each stretch of a turn the inverted index finds a few, those are compared exactly.

The score is the TF-IDF cosine of an item's question, alone or with its choices, with that stretch of a turn, about as long,
which is most like it; the other fields of the item add to it where they are in the row too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from sft_assets.decontaminated.benchmarks.items import FIELDS
from sft_assets.decontaminated.paraphrases.index import PAIR, WHOLE, Lookup
from sft_assets.decontaminated.paraphrases.terms import place_of, read
from sft_assets.text.kernel import STATS

QUESTION, CHOICES, CONTEXT = (FIELDS.index(name) for name in ("question", "choices", "context"))
RANKS = 3  # items told of each row
NOMINATED = 8  # items compared exactly for each stretch of a row
KEPT = 5  # of a row, until the other fields are compared
STRETCH = 128  # tokens of a turn that are looked up together
SUPPORT = 0.5  # what the other fields of an item may add to the score
SPARE = 24  # tokens that a stretch may have more than an item and a quarter: of a shorter one something always fits by chance
LEAST_TOKENS = 3  # of a field that is to add to the score
LEAST_SHARE = 0.1  # of an item's weight that a turn must have to be compared
LEAST_REPLY = 12  # tokens of an answer in which questions are looked for: "It is a bank." is like some by chance
WEAK = 0.15  # cosine of the question under which the other fields are not looked at
_ZERO = np.uint64(0)


@numba.njit(cache=True, nogil=True, inline="always")
def merged(question, support):  # type: ignore[no-untyped-def]
    """The score of an item: its question's cosine, and up to half of what it lacks by the cosine of the best other field.

    The less the less there is of the question, as an answer alone may be that of many; by the root, as it tells most where the
    question is in quite other words (with it 76 %, else 73 % of rephrased GSM8K, and 2.2 or 2.0 % of other rows, are flagged).
    """
    return question + (1.0 - question) * SUPPORT * support * np.sqrt(question)


class Room(NamedTuple):
    """What a thread works in. A row's terms get numbers of their own, the local ones, in the order in which they come."""

    hashes: Any  # of the tokens of one text
    begins: Any
    ends: Any
    stats: Any
    word_key: Any  # of each token of the row: hash of its term ...
    pair_key: Any  # ... and of that which it makes with the one before
    figure: Any
    whole: Any
    words: Any  # of each token of the row: local number of its term, -1 if no item has it
    pairs: Any
    word_square: Any
    pair_square: Any
    bounds: Any  # turn t has the tokens bounds[t] to bounds[t + 1]
    asks: Any  # whether turn t is none that replies
    local: Any  # of each term of the items: its local number, or -1
    term: Any  # of each local number: the term
    stretch: Any  # ... the last stretch that had it
    turn: Any  # ... the stamp of the last turn that had it
    count: Any  # ... how often it is in the window
    marked: Any  # ... whether the document in question has it, 1 or 0
    dots: Any  # of each document
    touched: Any
    top: Any  # the documents that a stretch found
    top_score: Any
    item: Any  # the nearest items so far, best first
    score: Any
    asked: Any  # ... the cosine of what they ask, with or without choices
    document: Any  # ... which of the two it was
    question: Any  # ... the cosine of their questions alone
    at_turn: Any
    at: Any
    fields: Any


def room_for(longest: int, most: int, lookup: Lookup) -> Room:
    """longest: bytes of a row; most: turns of a row, and one."""
    documents, empty, zeros = len(lookup.item), np.empty, np.zeros
    return Room(
        hashes=empty(longest, np.uint64), begins=empty(longest, np.int64), ends=empty(longest, np.int64),
        stats=zeros(STATS, np.uint64), word_key=empty(longest, np.uint64), pair_key=empty(longest, np.uint64),
        figure=empty(longest, np.bool_), whole=empty(longest, np.bool_), words=empty(longest, np.int32),
        pairs=empty(longest, np.int32), word_square=empty(longest), pair_square=empty(longest), bounds=zeros(most, np.int64),
        asks=empty(most, np.bool_), local=np.full(len(lookup.squares), -1, np.int32), term=empty(2 * longest, np.int32),
        stretch=empty(2 * longest, np.int32), turn=empty(2 * longest, np.int32), count=zeros(2 * longest, np.int32),
        marked=zeros(2 * longest), dots=zeros(documents, np.float32), touched=empty(documents + 1, np.int32),
        top=empty(NOMINATED, np.int32), top_score=empty(NOMINATED), item=empty(KEPT, np.int32), score=empty(KEPT),
        asked=empty(KEPT), document=empty(KEPT, np.int32), question=empty(KEPT), at_turn=empty(KEPT, np.int64),
        at=empty(KEPT, np.int64), fields=empty((KEPT, len(FIELDS))),
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def compare_rows(first, stop, messages, rejected, classes, lowers, known, kinds, values, lookup, room, out):  # type: ignore[no-untyped-def]
    for row in range(first, stop):
        turns, n = np.int64(0), np.int64(0)
        for side in (messages, rejected):
            for turn in range(side.bounds[row], side.bounds[row + 1]):
                n = read(
                    side.data, side.offsets[turn], side.offsets[turn + 1], classes, lowers, known, kinds, values,
                    room.hashes, room.begins, room.ends, room.stats, room.word_key, room.pair_key, room.figure, room.whole, n,
                )  # fmt: skip
                room.asks[turns] = side.asks[turn]
                turns += 1
                room.bounds[turns] = n
        locals_ = _look_up(n, lookup, room)
        size, stretch = np.int64(0), np.int32(0)
        for turn in range(turns):
            if not room.asks[turn] and room.bounds[turn + 1] - room.bounds[turn] < LEAST_REPLY:
                continue
            norm = _enter_turn(turn, turn, room)
            for begin in range(room.bounds[turn], room.bounds[turn + 1], STRETCH):
                end = min(begin + STRETCH, room.bounds[turn + 1])
                held = _find(begin, end, stretch, lookup, room)
                size = _compare(turn, begin, end, held, norm, size, lookup, room)
                stretch += np.int32(1)
        room.fields[:size] = 0.0
        room.fields[:size, 0] = room.question[:size]
        if size and room.score[0] >= WEAK:
            _support(turns, size, lookup, room)
        _tell(row, size, lookup, room, out)
        for i in range(locals_):
            room.local[room.term[i]] = -1


@numba.njit(cache=True, nogil=True)
def _look_up(n, lookup, room):  # type: ignore[no-untyped-def]
    """Give the row's terms local numbers and squares; returns how many numbers there are."""
    locals_ = np.int32(0)
    for p in range(n):
        for of_pair in range(2):
            key = room.pair_key[p] if of_pair else room.word_key[p]
            number, square = np.int32(-1), lookup.unknown
            if of_pair and not room.whole[p]:
                square *= PAIR * PAIR
            if key == _ZERO:
                square = 0.0
            else:
                term = lookup.numbers[place_of(lookup.keys, key)]
                if term >= 0:
                    square, number = lookup.squares[term], room.local[term]
                    if number < 0:
                        number = locals_
                        room.local[term], room.term[number] = number, term
                        room.stretch[number], room.turn[number] = -1, -1
                        locals_ += np.int32(1)
            if of_pair:
                room.pairs[p], room.pair_square[p] = number, square
            else:
                room.words[p], room.word_square[p] = number, square
    return locals_


@numba.njit(cache=True, nogil=True)
def _enter_turn(turn, stamp, room):  # type: ignore[no-untyped-def]
    """Mark the terms of a turn with a stamp of its own; returns the sum of their squares."""
    norm = 0.0
    for p in range(room.bounds[turn], room.bounds[turn + 1]):
        word, pair = room.words[p], room.pairs[p]
        if word < 0 or room.turn[word] != stamp:
            norm += room.word_square[p]
        if word >= 0:
            room.turn[word] = stamp
        if pair < 0 or room.turn[pair] != stamp:
            norm += room.pair_square[p]
        if pair >= 0:
            room.turn[pair] = stamp
    return norm


@numba.njit(cache=True, nogil=True)
def _find(begin, end, stretch, lookup, room):  # type: ignore[no-untyped-def]
    """The documents with the highest dot products over their norms: into room.top; returns how many."""
    many = np.uint64(0)
    for p in range(begin, end):
        for of_pair in range(2):
            local = room.pairs[p] if of_pair else room.words[p]
            if local < 0 or room.stretch[local] == stretch:
                continue
            room.stretch[local] = stretch
            term = room.term[local]
            add = np.float32(lookup.squares[term])
            for i in range(lookup.starts[term], lookup.starts[term + 1]):
                document = np.uint32(lookup.found[i])
                dot = room.dots[document]
                room.touched[many] = document
                many += np.uint64(dot == 0)  # no branch: none could be foretold
                room.dots[document] = dot + add
    held = 0
    for i in range(many):
        document = room.touched[np.uint64(i)]
        dot = np.float64(room.dots[document])
        room.dots[document] = 0
        square = lookup.square[document]
        if dot < LEAST_SHARE * square or (held == NOMINATED and dot * dot < room.top_score[held - 1] * square * 0.999):
            continue
        score = dot * dot / square
        if held == NOMINATED and not _before(score, document, room.top_score[held - 1], room.top[held - 1]):
            continue
        k = held if held < NOMINATED else held - 1
        while k and _before(score, document, room.top_score[k - 1], room.top[k - 1]):
            room.top[k], room.top_score[k] = room.top[k - 1], room.top_score[k - 1]
            k -= 1
        room.top[k], room.top_score[k] = document, score
        held = min(held + 1, NOMINATED)
    return held


@numba.njit(cache=True, nogil=True, inline="always")
def _before(score, number, other_score, other):  # type: ignore[no-untyped-def]
    """The order of items: the higher score first, of equals the lower number."""
    return score > other_score or (score == other_score and number < other)


@numba.njit(cache=True, nogil=True)
def _compare(turn, begin, end, held, norm, size, lookup, room):  # type: ignore[no-untyped-def]
    """Compare a stretch of a turn with the items found: into room.item; returns how many there are now.

    An item that its choices found is compared by its question alone, and by both together: the better of the two counts.
    """
    for i in range(held):
        found = room.top[i]
        item = lookup.item[found]
        document = lookup.documents[item, QUESTION]
        if document < 0:
            document = found
        other = document != found  # found by another field than the question, which can raise the score
        floor = room.score[size - 1] ** 2 if size == KEPT and not other else 0.0
        squared, at = _cosine(document, turn, turn, begin, end, norm, floor, lookup, room)
        question = np.sqrt(squared)
        asked = question
        if other and question > 0 and found == lookup.documents[item, CHOICES]:
            whole = lookup.documents[item, WHOLE]
            more, start = _cosine(whole, turn, turn, begin, end, norm, squared, lookup, room)
            if more > squared:
                asked, document, at = np.sqrt(more), whole, start
        score = asked
        if other and question > 0 and found == lookup.documents[item, CONTEXT]:
            squared, _ = _cosine(found, turn, turn, begin, end, norm, 0.0, lookup, room)
            score = merged(asked, np.sqrt(squared))
        k = np.int64(0)
        while k < size and room.item[k] != item:
            k += 1
        if k < size and room.score[k] >= score:
            continue
        if k == size and size < KEPT:
            size += 1
        elif k == size:
            k -= 1
            if not _before(score, item, room.score[k], room.item[k]):
                continue
        while k and _before(score, item, room.score[k - 1], room.item[k - 1]):
            room.item[k], room.score[k] = room.item[k - 1], room.score[k - 1]
            room.asked[k], room.question[k], room.document[k] = room.asked[k - 1], room.question[k - 1], room.document[k - 1]
            room.at_turn[k], room.at[k] = room.at_turn[k - 1], room.at[k - 1]
            k -= 1
        room.item[k], room.score[k], room.asked[k], room.question[k] = item, score, asked, question
        room.document[k], room.at_turn[k], room.at[k] = document, turn, at
    return size


@numba.njit(cache=True, nogil=True, inline="always")
def _width(length):  # type: ignore[no-untyped-def]
    return length + length // 4 + SPARE


@numba.njit(cache=True, nogil=True)
def _cosine(document, turn, stamp, begin, end, norm, floor, lookup, room):  # type: ignore[no-untyped-def]
    """(squared cosine, where it begins) of a document and the best stretch of its width at begin to end of the turn.

    0 where it cannot be above `floor`: a stretch holds no more of the document than the turn does.
    """
    first, stop = room.bounds[turn], room.bounds[turn + 1]
    dot = 0.0
    for t in range(lookup.firsts[document], lookup.firsts[document + 1]):
        local = room.local[lookup.terms[t]]
        if local >= 0 and room.turn[local] == stamp:
            dot += lookup.squares[lookup.terms[t]]
    square, width = lookup.square[document], _width(lookup.length[document])
    if dot < LEAST_SHARE * square or dot <= floor * square:
        return 0.0, first
    if stop - first <= width:
        return dot * dot / (norm * square), first
    for t in range(lookup.firsts[document], lookup.firsts[document + 1]):
        local = room.local[lookup.terms[t]]
        if local >= 0:
            room.marked[local] = 1.0
    best, at = _window(max(first, begin - width), min(stop, end + width), width, room)
    for t in range(lookup.firsts[document], lookup.firsts[document + 1]):
        local = room.local[lookup.terms[t]]
        if local >= 0:
            room.marked[local] = 0.0
    return best / square, at


@numba.njit(cache=True, nogil=True)
def _window(first, stop, width, room):  # type: ignore[no-untyped-def]
    """(squared dot product over the window's norm, its first token) of the best window of so many tokens in first to stop."""
    count, marked, words, pairs = room.count, room.marked, room.words, room.pairs
    dot, norm, best, at, begin = 0.0, 0.0, 0.0, first, first
    for p in range(first, stop):
        if p - begin == width:
            word_norm, word_dot = _leaves(words[begin], room.word_square[begin], count, marked)
            begin += 1
            pair_norm, pair_dot = _leaves(pairs[begin], room.pair_square[begin], count, marked)
            norm, dot = norm - (word_norm + pair_norm), dot - (word_dot + pair_dot)
        word_norm, word_dot = _enters(words[p], room.word_square[p], count, marked)
        pair_norm, pair_dot = 0.0, 0.0
        if p > begin:
            pair_norm, pair_dot = _enters(pairs[p], room.pair_square[p], count, marked)
        norm, dot = norm + (word_norm + pair_norm), dot + (word_dot + pair_dot)
        if (p - begin + 1 == width or p == stop - 1) and dot * dot > best * norm:
            best, at = dot * dot / norm, begin
    for p in range(begin, stop):
        if words[p] >= 0:
            count[words[p]] = 0
        if pairs[p] >= 0:
            count[pairs[p]] = 0
    return best, at


@numba.njit(cache=True, nogil=True, inline="always")
def _enters(local, square, count, marked):  # type: ignore[no-untyped-def]
    """What a term adds to (the norm, the dot product) of a window: a term counts once."""
    if local < 0:
        return square, 0.0
    count[local] += 1
    new = square if count[local] == 1 else 0.0
    return new, new * marked[local]


@numba.njit(cache=True, nogil=True, inline="always")
def _leaves(local, square, count, marked):  # type: ignore[no-untyped-def]
    """What goes of the two with a term."""
    if local < 0:
        return square, 0.0
    count[local] -= 1
    gone = square if count[local] == 0 else 0.0
    return gone, gone * marked[local]


@numba.njit(cache=True, nogil=True)
def _support(turns, size, lookup, room):  # type: ignore[no-untyped-def]
    """Compare the other fields of the nearest items with every turn, and add them to the scores."""
    fields = room.fields.shape[1]
    for turn in range(turns):
        stamp = turns + turn
        norm = _enter_turn(turn, stamp, room)
        begin, end = room.bounds[turn], room.bounds[turn + 1]
        for k in range(size):
            for field in range(1, fields):
                document = lookup.documents[room.item[k], field]
                if document >= 0 and lookup.length[document] >= LEAST_TOKENS:
                    floor = room.fields[k, field] ** 2
                    squared, _ = _cosine(document, turn, stamp, begin, end, norm, floor, lookup, room)
                    room.fields[k, field] = max(room.fields[k, field], np.sqrt(squared))
    for k in range(size):
        room.score[k] = merged(room.asked[k], room.fields[k, 1:].max())


@numba.njit(cache=True, nogil=True)
def _tell(row, size, lookup, room, out):  # type: ignore[no-untyped-def]
    """The best of the items compared, by their scores."""
    for rank in range(min(size, RANKS)):
        best = -1
        for k in range(size):
            if room.score[k] >= 0 and (best < 0 or _before(room.score[k], room.item[k], room.score[best], room.item[best])):
                best = k
        item, score, other = room.item[best], room.score[best], 0.0
        room.score[best] = -1.0  # told
        for k in range(size):
            if lookup.group[room.item[k]] != lookup.group[item]:
                other = max(other, room.score[k])
        out.item[row, rank], out.score[row, rank], out.turn[row, rank] = item, score, room.at_turn[best]
        out.margin[row, rank] = score - other
        for field in range(room.fields.shape[1]):
            out.fields[row, rank, field] = room.fields[best, field]
        stop = room.bounds[room.at_turn[best] + 1]
        _figures(room.document[best], room.at[best], stop, lookup, room, out.figures[row, rank])


@numba.njit(cache=True, nogil=True)
def _figures(document, begin, stop, lookup, room, out):  # type: ignore[no-untyped-def]
    """Count the different numbers of a document, those of the stretch that begins there, and those of both."""
    end = min(begin + _width(lookup.length[document]), stop)
    for t in range(lookup.firsts[document], lookup.firsts[document + 1]):
        term = lookup.terms[t]
        if lookup.figure[term]:
            out[0] += 1
            if room.local[term] >= 0:
                room.marked[room.local[term]] = 1.0
    for p in range(begin, end):
        if not room.figure[p]:
            continue
        q = begin
        while not (room.figure[q] and room.word_key[q] == room.word_key[p]):
            q += 1
        if q == p:  # for the first time
            out[1] += 1
            if room.words[p] >= 0 and room.marked[room.words[p]] > 0:
                out[2] += 1
    for t in range(lookup.firsts[document], lookup.firsts[document + 1]):
        local = room.local[lookup.terms[t]]
        if local >= 0:
            room.marked[local] = 0.0
