"""The gate of the rules: those of rule_hits and what the recipe has them do, decided on as `scored` decides.

"I'm sorry, but I cannot help with that."   refusal   drop     ->  falls for it
"The cafÃ© is closed."                      mojibake  review   ->  is marked with it
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.augmented.candidate import Fall
from sft_assets.augmented.gates.gate import Found, ids_of
from sft_assets.engine.local import Local
from sft_assets.recipe import RuleHits
from sft_assets.scored.decision import Policy, Signals, decide
from sft_assets.scored.rule_hits.asset import BATCH, search_all
from sft_assets.scored.rule_hits.rules import actions, check_names, chosen

Hit = dict[str, Any]  # rule, turn, start, stop, matched


class Rules:
    """The rules that the recipe has, and what they do. place: where the recipe is, for people.

    Raises:
        SftError: the recipe names a rule that there is not.
    """

    def __init__(self, section: RuleHits, place: str, threads: int | None = None):
        check_names(section.skip, f"{place}: rule_hits.skip")
        check_names(section.actions, f"{place}: rule_hits.actions")
        by_rule, self.rules = actions(section.actions), {rule.name: rule for rule in chosen(section.skip)}
        self.policy = Policy({name: by_rule[name] for name in self.rules})
        self.engine = Local(threads)  # generated rows are few: not worth a cluster's while

    def found(self, rows: pa.Table) -> Found:
        """What falls for the most telling of the rules that drop it; what rules want reviewed is marked with them."""
        falls: dict[bytes, Fall] = {}
        marks: dict[bytes, list[str]] = {}
        labels = rows["label"].to_pylist() if "label" in rows.column_names else [None] * len(rows)
        hits = self._hits(rows)
        for number, (row_id, label) in enumerate(zip(ids_of(rows), labels, strict=True)):
            own = [hit for hit in hits[number] if label is not False or not self.rules[hit["rule"]].about_answers]
            decision = decide(Signals(rules=tuple({hit["rule"] for hit in own})), self.policy)
            names = [reason.name for reason in decision.reasons]
            if decision.verdict == "drop":
                falls[row_id] = Fall(names[0], {"rules": self._shown(names, own)})
            elif decision.verdict == "review":
                marks[row_id] = names
        return Found(falls, marks)

    def _hits(self, rows: pa.Table) -> dict[int, list[Hit]]:
        """The hits of each row, by its number: that takes the place of the content's hash, which several rows may have."""
        found: dict[int, list[Hit]] = defaultdict(list)
        numbers = uuids([number.to_bytes(16, "big") for number in range(len(rows))])
        contents = pa.table({"content_hash": numbers, "messages": rows["messages"], "tools": rows["tools"]})
        batches = contents.combine_chunks().to_batches(BATCH)
        for _, hits in search_all(list(self.rules.values()), batches, len(rows), self.engine):
            by_row = zip(hits["content_hash"].combine_chunks().storage.to_pylist(), hits.to_pylist(), strict=True)
            for number, hit in by_row:
                found[int.from_bytes(number, "big")].append(hit)
        return found

    def _shown(self, names: Sequence[str], hits: Sequence[Hit]) -> list[dict[str, Any]]:
        """The hits of these rules as the ledger has them, in the order of the rules."""
        return [
            {
                "rule": hit["rule"],
                "turn": hit["turn"],
                "span": [hit["start"], hit["stop"]],
                "matched": hit["matched"],
                "why": self.rules[hit["rule"]].why,
            }
            for hit in sorted(hits, key=lambda hit: (list(self.rules).index(hit["rule"]), hit["turn"]))
            if hit["rule"] in names
        ]
