"""The one door to every language model: what was answered before comes from disk, the rest is asked within a budget.

    with Door(folder.calls, "judgements", "gpt-5-mini", recipe.models["gpt-5-mini"], recipe.judgements) as door:
        for call, reply in door.ask(Call(subject, prompt.sha256, messages, prompt.params, schema) for ...):
            ...     # reply.status "ok", reply.value {"reason": "Correct, but terse.", "score": 3}, reply.cached False
    door.spent      # Spent(calls=40, cached=960, failed=0, prompt_tokens=21_310, completion_tokens=1_904, cost=0.009)
    door.stopped    # None, or which cap ended the run: "judgements stopped at its cap of calls (40) ..."

A reply is committed to D/calls.sqlite before it is handed out, so a run that is killed has paid for nothing twice but what was
in flight, or not yet committed, at that moment.
"""

from sft_assets.models.door.call import Call, Reply
from sft_assets.models.door.calls import Calls
from sft_assets.models.door.caps import Cost, Spent, upper_bound
from sft_assets.models.door.door import Door
from sft_assets.models.door.retry import Patience

__all__ = ["Call", "Calls", "Cost", "Door", "Patience", "Reply", "Spent", "upper_bound"]
