"""Where things are served: the addresses to open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sft_assets.show.console import out

if TYPE_CHECKING:
    from sft_assets.serve import Rules


def addresses(rules: Rules) -> str:
    """Print them; the one to begin with, which holds the token where one is wanted."""
    base = f"http://127.0.0.1:{rules.port}"
    key = f"?token={rules.token}" if rules.token else ""
    out.print(f"the Dagster UI is at {base}/{key}", soft_wrap=True)
    out.print(f"{base}/start has links to everything; /report, /map and /card are there too", soft_wrap=True)
    if rules.token:
        out.print("the address with the token opens it once in a browser, which keeps it; scripts send Authorization: Bearer")
    out.print(f"{'a viewer: nothing can be changed here; ' if rules.read_only else ''}Ctrl-C ends it")
    return f"{base}/start{key}"
