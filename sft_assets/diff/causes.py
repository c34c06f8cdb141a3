"""Why two versions differ: what was changed about the recipe, the code and the files, followed back to where it began.

    deduped@3 and deduped@4   <- combined differs <- raw differs <- source_files changed
                              <- deduped.threshold: 0.8 -> 0.7

Only what came out different is followed: a change that left an asset's data as they were is the cause of nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sft_assets.diff.result import Cause
from sft_assets.warehouse import Version

ABSENT = "(none)"
DEFAULTS = {"path": ABSENT, "weight": 1.0, "paths": "best", "priority": 0}  # of an entry of `sources` that are not empty
Known = Mapping[tuple[str, int], Version]


def causes(known: Known, before: Version, after: Version) -> list[Cause]:
    """The assets that differ, those first that others were made of, each with what was changed about itself (nothing, where it
    differs only because its parents do)."""
    found: dict[str, Cause] = {}
    names = {asset for asset, _ in known}

    def follow(old: Version, new: Version) -> None:
        if old.asset in found or old.number == new.number:
            return
        found[old.asset] = Cause(old.asset, old.number, new.number, [])  # an asset is looked at once, whichever way leads to it
        why = own_changes(old, new, names)
        for parent in sorted(old.inputs.keys() & new.inputs.keys()):
            pair = [known.get((parent, v.built_on.get(parent, 0))) for v in (old, new)]
            if old.inputs[parent] != new.inputs[parent] and pair[0] and pair[1]:
                follow(pair[0], pair[1])
        if not why and old.inputs == new.inputs:
            why = ["made again from the same"]
        del found[old.asset]
        found[old.asset] = Cause(old.asset, old.number, new.number, why)

    follow(before, after)
    return list(found.values())


def own_changes(old: Version, new: Version, others: Collection[str] = ()) -> list[str]:
    """What is different about how two versions were made, apart from their parents' data. others: the names of all assets."""
    why = []
    (code, _, digest), (new_code, _, new_digest) = old.code_version.partition("+"), new.code_version.partition("+")
    if code != new_code:
        same_number = code.partition(".")[0] == new_code.partition(".")[0]
        why.append("its rules or prompts changed" if same_number else f"its code changed: {code} -> {new_code}")
    if "recipe" in old.report and "recipe" in new.report:
        why += recipe_changes(old.asset, old.report["recipe"], new.report["recipe"], others)
    elif digest != new_digest:
        why.append("its section of the recipe changed; how is not known, as one was made before versions kept their recipe")
    for name in sorted(old.inputs.keys() | new.inputs.keys()):
        if name not in old.inputs or name not in new.inputs:
            why.append(f"{name} was {'added' if name in new.inputs else 'taken away'} as an input")
        elif name not in old.built_on and name not in new.built_on and old.inputs[name] != new.inputs[name]:
            what = "decisions of people about its rows" if name.endswith("_reviews") else name
            why.append(f"{what} changed")
    return why


def recipe_changes(asset: str, old: Mapping[str, Any], new: Mapping[str, Any], others: Collection[str] = ()) -> list[str]:
    """`deduped.threshold: 0.8 -> 0.7`, one for each value that differs. others: the names of all assets; asset "": these are
    whole recipes."""
    before, after = dict(flat(_by_name(old, new))), dict(flat(_by_name(new, old)))
    return [
        f"{_place(asset, key, others)}: {_said(key, before.get(key, ABSENT))} -> {_said(key, after.get(key, ABSENT))}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, ABSENT) != after.get(key, ABSENT)
    ]


def flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of a nested one with its place."""
    if isinstance(value, Mapping) and (value or not place):
        for key, below in value.items():
            yield from flat(below, f"{place}.{key}" if place else str(key))
    else:
        yield place, value


def _by_name(part: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A part of the recipe with its sources by name, in whatever order they stand. One that only the other part names is here
    with the defaults: that it is named is no difference, what is said of it is."""
    if "sources" not in part and "sources" not in other:
        return dict(part)
    own, others = ({entry.get("name") or entry.get("path"): entry for entry in p.get("sources") or []} for p in (part, other))
    missing = {
        name: {k: DEFAULTS.get(k) if v else v for k, v in entry.items()} for name, entry in others.items() if name not in own
    }
    named = {name: {k: v for k, v in entry.items() if k != "name"} for name, entry in {**missing, **own}.items()}
    return {**part, "sources": named}


def _place(asset: str, key: str, others: Collection[str]) -> str:
    """An asset's part of the recipe has its own section, and what it borrows from others under their names."""
    borrowed = key.partition(".")[0] in ("sources", *others)
    return key if not asset or borrowed else f"{asset}.{key}"


def _said(key: str, value: Any) -> str:
    """A value in short; of a URL, nothing that says who may read it."""
    text = str(value)
    if key.startswith("sources.") and key.endswith(".url") and text != ABSENT:
        from sft_assets.recipe import shown_url  # here: most differences need no recipe

        shown = shown_url(text)
        text = shown if shown == text else f"{shown} (query {hashlib.sha256(text.encode()).hexdigest()[:8]})"
    return text if len(text) <= 100 else text[:99] + "…"
