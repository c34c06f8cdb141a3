"""The database D/sft.duckdb: states in versions, each text once, and a ledger of every row that went or was changed.

Everything that people look at is a view of the schema `main`: `raw`, `combined` ... `exported` (whole rows), the evidence
tables, and `dropped`, `edits`, `quarantine`, `reviewed`. What lies behind them is in the schema `store`:

    store.records      raw records as read, each once          store.dropped      row_id, reason, evidence
    store.contents     messages, rejected, tools, each once    store.edits        what was repaired or masked
    store.deduped_7    who is in version 7, and what it adds   store.quarantine   what could not be read
    store.versions     each version's code, inputs, counts     store.reviewed     which decisions of people were applied
                                                               (the ledger's rows carry the version they belong to)

Who only looks imports nothing that writes: that is `build.py`, with Arrow.
"""

from sft_assets.warehouse.database import Warehouse
from sft_assets.warehouse.versions import Version

__all__ = ["Version", "Warehouse"]
