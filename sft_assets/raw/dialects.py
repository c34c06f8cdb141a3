"""How a table's cells are written, seen from its first lines: delimiter, quoting, header.

sep=;
question;"best; answer"          ->   Dialect(delimiter=";", backslash=False), header question, best; answer
"Who ""swims""?";fish
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sft_assets.raw.containers import Refused

DELIMITERS = ",;\t|"
LOOKED_AT = 200  # records
SEP_LINE = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
ESCAPED = re.compile(r'\\([\\"])')
# a backslash and what it escapes are read as one of these, which no decoded text holds, and put right in the cells
QUOTE_SIGN, BACKSLASH_SIGN = "\ud800", "\ud801"
NAME = re.compile(r"[^\W\d][\w .:/()#-]{0,39}")
LONGER = 1.5  # times the length of the first line, on the average, make the other records data and it a header

csv.field_size_limit(2**31 - 1)  # the reader has a limit of its own


@dataclass(frozen=True)
class Dialect:
    """How cells are delimited. `backslash`: a quote within quotes is written \\\\" and not doubled."""

    delimiter: str
    backslash: bool = False

    def rows(self, lines: Sequence[str]) -> Rows:
        return Rows(self, lines)

    def quotes(self, line: str) -> int:
        """How many quotes a line has that open or close a cell."""
        return (_signed(line) if self.backslash else line).count('"')


class Rows:
    """The rows of some lines.

    Raises (from next):
        csv.Error: broken quoting, or the last line ends within quotes.
    """

    def __init__(self, dialect: Dialect, lines: Sequence[str]):
        self.backslash = dialect.backslash
        self.reader = csv.reader(map(_signed, lines) if dialect.backslash else lines, delimiter=dialect.delimiter, strict=True)

    @property
    def lines_read(self) -> int:
        return self.reader.line_num

    def __iter__(self) -> Iterator[list[str]]:
        return map(_unsigned, self.reader) if self.backslash else self.reader


def _signed(line: str) -> str:
    return ESCAPED.sub(lambda m: QUOTE_SIGN if m[1] == '"' else BACKSLASH_SIGN, line) if "\\" in line else line


def _unsigned(row: list[str]) -> list[str]:
    return [cell.replace(QUOTE_SIGN, '"').replace(BACKSLASH_SIGN, "\\") for cell in row]


def is_blank(row: list[str], width: int) -> bool:
    """Whether a row is an empty line, or one of white space in a table of several columns."""
    return not row or (len(row) == 1 < width and row[0].isspace())


def is_open_end(error: csv.Error, rows: Rows, lines: int) -> bool:
    """Whether the lines end within quotes."""
    return rows.lines_read == lines and "unexpected end" in str(error)


def seen_dialect(lines: Sequence[str], delimiter: str | None, expected: str) -> Dialect:
    """The dialect of a table's first lines. `delimiter`: where somebody says it; `expected`: the likelier one."""
    given = [delimiter] if delimiter else [expected, *(d for d in DELIMITERS if d != expected)]
    escapes = [False, True] if any('\\"' in line for line in lines) else [False]
    found = [(_share_alike(Dialect(d, b), lines, delimiter is not None), Dialect(d, b)) for d in given for b in escapes]
    # the first of the best; none has two cells in a row: a table of one column
    return max(found, key=lambda pair: pair[0])[1]


def sample(dialect: Dialect, lines: Sequence[str]) -> tuple[list[list[str]], int]:
    """The first rows that can be read, blank ones left out, and how many lines could not be."""
    rows: list[list[str]] = []
    start = faults = 0
    while start < len(lines) and len(rows) < LOOKED_AT:
        found = dialect.rows(lines[start:])
        done = 0
        try:
            for row in found:
                done = found.lines_read
                if not is_blank(row, 2):
                    rows.append(row)
                if len(rows) == LOOKED_AT:
                    break
            break
        except csv.Error as error:
            if is_open_end(error, found, len(lines) - start):  # the sample ends within a record
                break
            faults += 1
            start += done + 1
    return rows, faults


def _share_alike(dialect: Dialect, lines: Sequence[str], is_given: bool) -> float:
    """The share of rows with as many cells as the first; 0 where that has one cell."""
    rows, faults = sample(dialect, lines)
    if not rows or (len(rows[0]) < 2 and not is_given):
        return 0.0
    width = len(rows[0])
    return sum(len(row) in (width, width + 1) for row in rows) / (len(rows) + faults)


def looks_like_a_table(lines: Sequence[str], known: Collection[str]) -> bool:
    """Whether lines of no certain kind are a table: a header with a known name over rows that all have its cells."""
    dialect = seen_dialect(lines, None, ",")
    rows, faults = sample(dialect, lines)
    if faults or len(rows) < 2 or len(rows[0]) < 2 or {len(row) for row in rows} != {len(rows[0])}:
        return False
    return _has_known_name(rows[0], known)


# --------------------------------------------------------------------------------------------------------------- header


def names(rows: Sequence[list[str]], header: bool | list[str] | None, known: Collection[str]) -> tuple[list[str], bool]:
    """The names of the columns, and whether they stand in the first row. `rows`: the first ones.

    Raises:
        Refused: a name is missing or stands twice.
    """
    if isinstance(header, list):
        return _checked(header), False
    if header is None:
        header = is_header(rows, known)
    if header:
        return _checked([name.strip() for name in rows[0]]), True
    width = max((len(row) for row in rows[:2]), default=0)
    return (["prompt", "completion"] if width == 2 else [f"column_{i}" for i in range(1, width + 1)]), False


def is_header(rows: Sequence[list[str]], known: Collection[str]) -> bool:
    """Whether the first row names the columns: by a known name, or as short names above longer or numeric cells."""
    first = [cell.strip() for cell in rows[0]]
    if _has_known_name(first, known):
        return True
    named = [cell for cell in first if cell]
    if not named or len(set(named)) < len(named) or not all(NAME.fullmatch(cell) for cell in named):
        return False
    data = [row for row in rows[1:] if len(row) == len(first)]
    if not data:
        return True
    if any(all(_is_number(row[i]) for row in data) for i in range(len(first))):
        return True
    return sum(len("".join(row)) for row in data) / len(data) >= LONGER * len("".join(first))


def _has_known_name(row: list[str], known: Collection[str]) -> bool:
    """A single letter, which may be the answer to a question with choices, is a name only where all cells are names."""
    if any(len(cell) > 80 or "\n" in cell for cell in row):
        return False
    found = [name for cell in row if (name := cell.strip()) in known or name.lower() in known]
    return len(found) == len(row) or any(len(name) > 1 for name in found)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _checked(found: list[str]) -> list[str]:
    remedy = "name each column once, or say the names in its recipe entry: `header: [...]`"
    if len(found) > 1 and not found[-1]:  # a delimiter at the end of every line
        found = found[:-1]
    if found and not found[0] and len(found) > 1:  # as pandas writes its index
        found = ["index", *found[1:]]
    if "" in found:
        raise Refused("header", f"has no name for column {found.index('') + 1} in its first line; {remedy}")
    if twice := next((name for i, name in enumerate(found) if name in found[:i]), None):
        raise Refused("header", f"names a column twice in its first line ({twice!r}); {remedy}")
    return found
