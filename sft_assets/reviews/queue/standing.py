"""The rows as they stand: what is kept, marked or dropped, and by what, as temporary tables that every kind of question reads.

    asked_rows     row_id, content_hash, source, kind, label, generated     every row, with its content as it is now
    asked_gone     ... state, reason, evidence, other_id, other_hash        dropped, and the row that stayed in its stead
    asked_marked   ... state, reasons                                       marked for review
    asked_kept     ... state                                                in the last state, and not marked
    asked_nearest  row_id, evidence                                         the test item that it may be in other words
    asked_settled  row_id, content_hash, decision                           people decided about it
    asked_mended   row_id                                                   its text is what people made of it
    asked_compared a, b                                                     contents that people compared, both ways round

A row whose content is another by now than the state saw is in none of them: nobody could apply what is said of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.errors import SftError
from sft_assets.reviews.decisions import CHANGING, Decision
from sft_assets.warehouse import Version
from sft_assets.warehouse.names import literal
from sft_assets.warehouse.versions import read_versions

PARENTS = {  # of the states that drop rows, and may take one back
    "deduped": "combined",
    "decontaminated": "deduped",
    "scored": "decontaminated",
    "clustered": "scored",
    "augmented": "generations",
}
LAST = ("exported", "augmented", "clustered", "scored", "decontaminated", "deduped")
OF_ANOTHER = (
    "exact_duplicate",
    "near_duplicate",
    "semantic_duplicate",
    "bloom_duplicate",
    "too_similar",
)  # of a row that stays
TEST_ITEM = ("possible_test_item", "judged_test_item")
NO_ROWS = "SELECT NULL::UUID AS row_id, NULL::UUID AS content_hash"
OPEN = ("review",)  # decided, but that somebody else is to look


@dataclass(frozen=True)
class Standing:
    """A read connection with these tables, the current version of each asset, and the seed of what is drawn."""

    con: duckdb.DuckDBPyConnection
    versions: Mapping[str, Version]
    seed: int

    @classmethod
    def of(cls, con: duckdb.DuckDBPyConnection, decisions: Iterable[Decision] = (), seed: int = 0) -> Standing:
        """decisions: those that count.

        Raises:
            SftError: no state has decided anything yet.
        """
        versions = {v.asset: v for v in read_versions(con)}
        if not any(name in versions for name in LAST) or "combined" not in versions:
            raise SftError(
                "there is nothing to ask people about: no state has dropped or kept a row yet; `sft run` builds them"
            )
        standing = cls(con, versions, seed)
        standing._rows()
        standing._settled(decisions)
        standing._gone()
        standing._kept()
        return standing

    def has(self, *assets: str) -> bool:
        return all(asset in self.versions for asset in assets)

    def table(self, asset: str) -> str:
        """The narrow table of an asset."""
        return self.versions[asset].table

    def part(self, asset: str) -> dict[str, Any]:
        """The part of the recipe that the asset was made with."""
        return (self.versions[asset].report.get("recipe") if asset in self.versions else None) or {}

    def drawn(self, *columns: str) -> str:
        """An expression that puts rows into an order of chance: by the seed, whatever the order of the rows."""
        return f"md5({' || '.join((*columns, literal(f' {self.seed}')))})"

    def keep(self, name: str, sql: str) -> None:
        """Keep what a query gives as a temporary table."""
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")

    # ------------------------------------------------------------------------------------------------------ the tables

    def _rows(self) -> None:
        made = ""
        if self.has("generations"):
            made = f"""
                UNION ALL
                SELECT row_id, content_hash, source, kind, NULL, true FROM {self.table("generations")}
                WHERE content_hash IS NOT NULL
            """
        rows = f"SELECT row_id, content_hash, source, kind, label, false AS generated FROM {self.table('combined')} {made}"
        self.keep("asked_rows", f"FROM ({rows}) SEMI JOIN store.contents USING (content_hash)")

    def _settled(self, decisions: Iterable[Decision]) -> None:
        settled = [d for d in decisions if d.decision not in OPEN]
        alone = [d for d in settled if d.other is None]
        pairs = [d for d in settled if d.other is not None]
        columns = {
            "row_id": uuids([d.row_id.bytes for d in alone]),
            "content_hash": uuids([d.content_hash.bytes for d in alone]),
            "decision": pa.array([d.decision for d in alone], pa.string()),
        }
        self._register("asked_settled", columns)
        mended = [d for d in alone if d.decision in CHANGING and d.state == "combined"]
        texts = {name: pa.array([getattr(d, name) for d in mended], pa.string()) for name in ("decision", "reviewer")}
        columns = {
            "row_id": uuids([d.row_id.bytes for d in mended]),
            "content_hash": uuids([d.content_hash.bytes for d in mended]),  # the text before
            "time": pa.array([d.at for d in mended], pa.string()),
            **texts,
        }
        applied = "FROM reviewed WHERE state = 'combined'"
        self._register(
            "asked_mended", columns, f"SELECT DISTINCT row_id FROM given SEMI JOIN ({applied}) USING ({', '.join(columns)})"
        )
        first = [d.content_hash.bytes for d in pairs]
        second = [d.other_hash.bytes for d in pairs if d.other_hash is not None]
        self._register("asked_compared", {"a": uuids(first + second), "b": uuids(second + first)})

    def _register(self, name: str, columns: Mapping[str, pa.Array], sql: str = "SELECT DISTINCT * FROM given") -> None:
        self.con.register("given", pa.table(dict(columns)))
        self.keep(name, sql)
        self.con.unregister("given")

    def _gone(self) -> None:
        parts = []
        for state, parent in PARENTS.items():
            if not self.has(state) or parent not in self.versions[state].built_on:
                continue
            version = self.versions[state]
            parts.append(f"""
                SELECT d.row_id, n.content_hash, '{state}' AS state, d.reason, d.evidence, o.row_id AS other_id,
                    o.content_hash AS other_hash, n.generated
                FROM (FROM store.dropped WHERE asset = '{state}' AND version = {version.number} AND reason != 'reviewed') AS d
                JOIN store.{parent}_{version.built_on[parent]} AS p USING (row_id)
                JOIN asked_rows AS n ON n.row_id = p.row_id AND n.content_hash = p.content_hash
                LEFT JOIN asked_rows AS o ON o.row_id = TRY_CAST(d.evidence ->> 'of' AS UUID)
                WHERE d.reason NOT IN {OF_ANOTHER} OR o.row_id IS NOT NULL
            """)
        nothing = f"""
            SELECT *, '' AS state, '' AS reason, NULL::JSON AS evidence, NULL::UUID AS other_id, NULL::UUID AS other_hash,
                false AS generated
            FROM ({NO_ROWS}) WHERE false
        """
        first = (
            f"row_number() OVER (PARTITION BY row_id ORDER BY list_position({[*PARENTS]}, state)) = 1"  # later states are old
        )
        self.keep("asked_gone", f"FROM ({' UNION ALL '.join(parts) or nothing}) QUALIFY {first}")

    def _kept(self) -> None:
        marked = [f"SELECT *, '' AS state, []::VARCHAR[] AS reasons FROM ({NO_ROWS}) WHERE false"]
        if self.has("scored"):
            marked.append(f"""
                SELECT row_id, content_hash, 'scored', review_reasons
                FROM {self.table("scored")} SEMI JOIN asked_rows USING (row_id, content_hash) WHERE verdict = 'review'
            """)
        if self.has("augmented"):
            marked.append(f"""
                SELECT row_id, content_hash, 'augmented', generated_review
                FROM {self.table("augmented")} SEMI JOIN asked_rows USING (row_id, content_hash)
                WHERE len(generated_review) > 0
            """)
        self.keep("asked_marked", f"FROM ({' UNION ALL '.join(marked)}) ANTI JOIN asked_gone USING (row_id)")
        last = next(name for name in LAST if self.has(name))
        self.keep(
            "asked_kept",
            f"""
            SELECT row_id, content_hash, if(generated, 'augmented', 'scored') AS state, source, kind, generated
            FROM {self.table(last)} JOIN asked_rows USING (row_id, content_hash)
            ANTI JOIN (SELECT row_id FROM asked_marked UNION ALL SELECT row_id FROM asked_gone) AS others USING (row_id)
            """,
        )
        nearest = "SELECT NULL::UUID AS row_id, NULL::JSON AS evidence WHERE false"
        if self.has("contamination_candidates"):
            nearest = f"""
                SELECT row_id, to_json(struct_pack(
                    benchmark := benchmark, item_id := item_id, score := round(score::DOUBLE, 4),
                    margin := round(margin::DOUBLE, 4), numbers := round(numbers::DOUBLE, 4),
                    embedding := round(embedding::DOUBLE, 4)
                )) AS evidence
                FROM {self.table("contamination_candidates")} WHERE rank = 1
            """
        self.keep("asked_nearest", nearest)
