"""Topics: how many rows each had when the test items were out, how many are exported, and the map.

fractions, percent   before 412   exported 398 (31 of them generated)
"""

from __future__ import annotations

from sft_assets.report.charts import Piece, bar
from sft_assets.report.excerpts import clean
from sft_assets.report.scope import Scope
from sft_assets.report.section import Figure, Section

SHOWN = 25


def topics(scope: Scope) -> Section:
    found = scope.rows(f"""
        WITH before AS (
            SELECT topic AS topic_id, any_value(topic_name) AS name, count(*) AS n
            FROM {scope.table("topics")} JOIN {scope.table("decontaminated")} USING (content_hash) GROUP BY topic
        ),
        after AS (
            SELECT coalesce(c.topic_id, g.topic_id) AS topic_id, any_value(coalesce(c.topic_name, g.topic_name)) AS name,
                count(*) AS n, count(g.row_id) AS made
            FROM {scope.table("exported")} AS e
            LEFT JOIN {scope.table("clustered")} AS c ON c.row_id = e.row_id
            LEFT JOIN {scope.table("generation_scores")} AS g ON g.row_id = e.row_id
            GROUP BY ALL
        )
        SELECT topic_id, coalesce(b.name, a.name), coalesce(b.n, 0), coalesce(a.n, 0), coalesce(a.made, 0)
        FROM before AS b FULL JOIN after AS a USING (topic_id) ORDER BY 3 DESC, 4 DESC, 1
    """)
    named = [row for row in found if row[0] is not None]
    without = sum(row[3] for row in found if row[0] is None)
    most = max((max(before, after) for _, _, before, after, _ in named), default=0)
    lines = []
    for number, name, before, after, made in named[:SHOWN]:
        # the names are words of the data
        says = clean(name, 80) if scope.examples else f"topic {number}"
        pieces = [
            Piece(after - made, "s0", f"{says}: {after - made:,} rows of the sources"),
            Piece(made, "s5", f"{says}: {made:,} generated"),
            Piece(before - after, "gone", f"{says}: {before - after:,} left out"),
        ]
        lines.append({"name": says, "bar": bar(pieces, most), "says": f"{before:,} → {after:,}"})
    rest = named[SHOWN:]
    evenness = scope.report("clustered").get("topic_evenness", {})
    return Section(
        "topics",
        "Topics",
        {
            "lines": lines,
            "topics": len(named),
            "rest": (len(rest), sum(row[2] for row in rest), sum(row[3] for row in rest)),
            "without": without,
            "effective": [evenness[side].get("effective") for side in ("in", "kept") if evenness.get(side)],
            "picture": scope.report("map").get("picture", "") if scope.examples else "",
        },
        [
            Figure(f"topic {number}", "", name, n)
            for number, _, before, after, made in named
            for name, n in (("before", before), ("exported", after), ("generated", made))
        ],
    )
