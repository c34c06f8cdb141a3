'''Names that come from people, as SQL takes them.

>>> literal("it's"), identifier('a "b"')
("'it''s'", '"a ""b"""')
'''

from __future__ import annotations


def literal(text: str) -> str:
    """A text as a string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name of a column or a table."""
    return '"' + name.replace('"', '""') + '"'
