"""The one door to every language model: what was answered before comes from disk, the rest is asked within a budget.

    with Door(folder.calls, "judgements", "gpt-5-mini", recipe.models["gpt-5-mini"], recipe.judgements) as door:
        for call, reply in door.ask(Call(subject, prompt.sha256, messages, prompt.params, schema) for ...):
            ...     # reply.status "ok", reply.value {"reason": "Correct, but terse.", "score": 3}, reply.cached False
    door.spent      # Spent(calls=40, cached=960, failed=0, prompt_tokens=21_310, completion_tokens=1_904, cost=0.009)
    door.stopped    # None, or which cap ended the run: "judgements stopped at its cap of calls (40) ..."

A reply is committed to D/calls.sqlite before it is handed out, so a run that is killed has paid for nothing twice but what was
in flight, or not yet committed, at that moment.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sft_assets.models.door.call import Call, Reply
    from sft_assets.models.door.calls import Calls
    from sft_assets.models.door.caps import Cost, Spent, upper_bound
    from sft_assets.models.door.door import Door
    from sft_assets.models.door.retry import Patience

__all__ = ["Call", "Calls", "Cost", "Door", "Patience", "Reply", "Spent", "upper_bound"]
HOMES = {"Calls": "calls", "Door": "door", "Patience": "retry", "Cost": "caps", "Spent": "caps", "upper_bound": "caps"}


def __getattr__(name: str) -> Any:
    """The client's library takes a second to load: it is loaded with the first door, not by whoever plans."""
    if name not in __all__:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{HOMES.get(name, 'call')}"), name)
