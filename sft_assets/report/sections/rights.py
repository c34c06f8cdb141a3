"""Licences and languages of the exported rows, and what the licences ask for.

cc-by-4.0   1,204 rows   questions, chats      name the authors
"""

from __future__ import annotations

from sft_assets.exported.licenses import terms
from sft_assets.report.scope import Scope
from sft_assets.report.section import Figure, Section

SOURCES = 6
LANGUAGES = 15


def rights(scope: Scope) -> Section:
    licences = scope.dicts(f"""
        SELECT license, count(*) AS rows, count(DISTINCT source) AS sources,
            list_sort(list(DISTINCT source))[:{SOURCES}] AS names
        FROM ({_exported(scope)}) GROUP BY license ORDER BY rows DESC, license NULLS LAST
    """)
    languages = scope.rows(f"""
        SELECT coalesce(detected, language), count(*) FROM ({_exported(scope)}) GROUP BY ALL ORDER BY 2 DESC, 1 NULLS LAST
    """)
    told = scope.report("exported").get("licenses", {})
    meant = terms()
    owed = [(term, meant.get(term, ""), sorted(held)) for term, held in told.get("obligations", {}).items()]
    shown, rest = languages[:LANGUAGES], languages[LANGUAGES:]
    more = [("others", sum(n for _, n in rest))] if rest else []
    figures = [Figure("license", entry["license"] or "not stated", "rows", entry["rows"]) for entry in licences]
    figures += [Figure("language", name or "unknown", "rows", n) for name, n in languages]
    return Section(
        "rights",
        "Licences and languages",
        {
            "licences": licences,
            "owed": owed,
            "incompatible": told.get("incompatible", []),
            "note": told.get("note", ""),
            "languages": [*shown, *more],
        },
        figures,
    )


def _exported(scope: Scope) -> str:
    """The exported rows with source, licence and language, stated and detected."""
    return f"""
        SELECT e.row_id, coalesce(c.source, g.source) AS source, coalesce(c.license, g.license) AS license,
            coalesce(c.language, g.language) AS language, coalesce(s.style_language, d.style_language) AS detected
        FROM {scope.table("exported")} AS e
        LEFT JOIN {scope.table("combined")} AS c ON c.row_id = e.row_id
        LEFT JOIN {scope.made} AS g ON g.row_id = e.row_id
        LEFT JOIN {scope.table("clustered")} AS s ON s.row_id = e.row_id
        LEFT JOIN {scope.table("generation_scores")} AS d ON d.row_id = e.row_id
    """
