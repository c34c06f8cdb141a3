"""The sections of the report, in the order in which they stand on the page: each a function from the scope to what it shows."""

from __future__ import annotations

from collections.abc import Callable

from sft_assets.report.scope import Scope
from sft_assets.report.section import Section
from sft_assets.report.sections.contamination import contamination
from sft_assets.report.sections.cost import cost
from sft_assets.report.sections.decisions import decisions
from sft_assets.report.sections.duplicates import duplicates
from sft_assets.report.sections.funnel import funnel
from sft_assets.report.sections.generated import generated
from sft_assets.report.sections.reasons import reasons
from sft_assets.report.sections.recipe import recipe
from sft_assets.report.sections.rights import rights
from sft_assets.report.sections.scores import scores
from sft_assets.report.sections.splits import splits
from sft_assets.report.sections.topics import topics
from sft_assets.report.sections.unread import unread
from sft_assets.report.sections.versions import versions

SECTIONS: tuple[Callable[[Scope], Section], ...] = (
    funnel,
    splits,
    reasons,
    duplicates,
    contamination,
    scores,
    topics,
    generated,
    unread,
    decisions,
    rights,
    cost,
    recipe,
    versions,
)
