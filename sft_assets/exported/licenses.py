"""What the licences of the rows ask for, and which of them contradict each other. No legal advice.

    rows     source  licence             obligations
    120      wiki    cc-by-sa-4.0        attribution, share_alike
    80       alpaca  CC BY-NC 4.0        attribution, non_commercial
    3        made    cc-by-4.0 AND mit   attribution, notice

    cc-by-sa-4.0 with cc-by-nc-4.0: one wants the whole under itself with no restriction added, the other forbids commercial use

The licences are data (licenses.yaml), each rule with its source. A name that is not among them obliges to look it up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import combinations
from typing import Any

import yaml

UNKNOWN = "unknown"
NO_ADVICE = "This was read from the names of the licences by rules, and is no legal advice."
ELEMENTS = {  # of Creative Commons' names, in the order in which they stand
    "by": ("by", "attribution"),
    "nc": ("nc", "noncommercial", "non-commercial"),
    "nd": ("nd", "noderivatives", "noderivs", "no-derivatives", "no-derivs"),
    "sa": ("sa", "sharealike", "share-alike"),
}


@dataclass(frozen=True)
class License:
    """One licence. terms: what it asks for. whole: the licences that a dataset with it may be under; None: any.
    hub: whether the hub knows it by this id."""

    id: str
    name: str
    url: str
    terms: frozenset[str]
    whole: frozenset[str] | None = None
    hub: bool = True

    @property
    def is_known(self) -> bool:
        return UNKNOWN not in self.terms


@dataclass(frozen=True)
class Conflict:
    """Two licences that cannot be met together, why, and where that is written."""

    licenses: tuple[str, str]
    says: str
    source: str


Held = Mapping[str, Mapping[str, int]]  # licence -> source -> rows


@dataclass(frozen=True)
class Licensing:
    """What is to be said of the licences of a dataset. obligations: term -> licence -> source -> rows."""

    held: Held
    obligations: Mapping[str, Held]
    conflicts: tuple[Conflict, ...]

    def as_json(self) -> dict[str, Any]:
        """For the manifest and the report."""
        conflicts = [{"licenses": list(c.licenses), "why": c.says, "source": c.source} for c in self.conflicts]
        return {"obligations": self.obligations, "incompatible": conflicts, "note": NO_ADVICE}


def licensing(rows: Iterable[tuple[str, str | None, int]]) -> Licensing:
    """Obligations and contradictions of a dataset. rows: (source, licence, number of rows)."""
    held: dict[str, dict[str, int]] = {}
    found: dict[str, License] = {}
    for source, name, n in rows:
        for license in read(name):
            found[license.id] = license
            of_license = held.setdefault(license.id, {})
            of_license[source] = of_license.get(source, 0) + n
    by_term = {term: {i: held[i] for i in sorted(found) if term in found[i].terms} for term in terms()}
    return Licensing(held, {t: of for t, of in by_term.items() if of}, tuple(conflicts(found.values())))


def refusal(found: Licensing, recipe: object) -> str:
    """Why a dataset of these licences is not published, and what can be done. recipe: its path."""
    rows = {i: ", ".join(f"{n:,} of {source}" for source, n in of.items()) for i, of in found.held.items()}
    pairs = [
        f"{a} (rows: {rows[a]}) with {b} (rows: {rows[b]}): {conflict.says} ({conflict.source})"
        for conflict in found.conflicts
        for a, b in [conflict.licenses]
    ]
    return (
        f"{recipe}: exported.incompatible_licenses: these cannot be in one dataset: {'; '.join(pairs)}. Nothing was published. "
        "Leave a source out (weight: 0 in its entry of `sources`), or name the licences that may come in "
        f"(combined.allowed_licenses), or, if you know better, say exported.incompatible_licenses: allow. {NO_ADVICE}"
    )


def conflicts(licenses: Iterable[License]) -> Iterator[Conflict]:
    """Each two licences that contradict each other, by id."""
    data = _data()
    pairs = {frozenset(pair["licenses"]): pair for pair in data["pairs"]}
    for one, other in combinations(sorted((one for one in licenses if one.is_known), key=lambda license: license.id), 2):
        rule = pairs.get(frozenset((one.id, other.id))) or data["rules"].get(_broken(one, other) or _broken(other, one))
        if rule:
            yield Conflict((one.id, other.id), rule["says"], rule["source"])


def _broken(one: License, other: License) -> str | None:
    """The rule that these two break, looked at from the first."""
    if "no_derivatives" in one.terms:
        return "no_derivatives"
    if one.whole is None:
        return None
    if other.whole is not None:
        return None if one.whole & other.whole else "share_alike"
    for term in ("non_commercial", "pass_on_restrictions"):
        if term in other.terms and not any(term in known()[i].terms for i in one.whole):
            return term
    return None


# ------------------------------------------------------------------------------------------------------------- names


# a name of more than one licence, joined in a way of its own: whoever gave it is to say which
SEVERAL = re.compile(
    r"^(?!\w+://).*([;&+/]|\band\b|,(?=.*\b(cc|gpl|lgpl|agpl|mit|apache|bsd|odbl|odc|eupl|llama|gemma)))", re.I
)


def read(name: str | None) -> list[License]:
    """The licences of one row: all that AND joins; of those that OR joins, the one that asks for least."""
    return [
        min((_one(choice) for choice in re.split(r" OR ", part.strip(" ()"))), key=lambda c: (not c.is_known, len(c.terms)))
        for part in re.split(r" AND ", name or UNKNOWN)
    ]


def _one(name: str) -> License:
    plain = _plain(name)
    found = _names().get(plain) or (None if SEVERAL.search(name) else _names().get(_creative_commons(plain)))
    return found or License(" ".join(name.split()) or UNKNOWN, name, "", frozenset({UNKNOWN}), hub=False)


def _plain(name: str) -> str:
    """A name without what differs from writer to writer.

    "CC BY-NC 4.0" -> "cc-by-nc-4.0"    "https://www.apache.org/licenses/LICENSE-2.0.txt" -> "apache.org/licenses/license-2.0"
    """
    text = name.strip().lower()
    if "://" in text:
        text = re.sub(r"^\w+://(www\.)?((opensource|spdx)\.org/licenses?/)?", "", text)
        return re.sub(r"(/(legalcode|deed)[^/]*|\.(html?|txt|md))?/*$", "", text)
    words = re.sub(r"[\s_,()]+", "-", text).strip("-")
    return re.sub(r"^the-|-(licen[cs]e|agreement|international|unported|universal|generic)(?=-|$)", "", words)


def _creative_commons(plain: str) -> str:
    """The id of a Creative Commons licence by its elements and version: also of ports ("cc-by-sa-3.0-de") and full names."""
    if plain.startswith("creativecommons.org/licenses/"):  # of a port, .../by/3.0/de
        plain = "cc-" + plain.removeprefix("creativecommons.org/licenses/").replace("/", "-")
    if not re.match(r"(cc|creative-commons)-", plain):
        return ""
    elements = [e for e, names in ELEMENTS.items() if any(re.search(rf"-{n}(?=-|$)", plain) for n in names)]
    version = re.search(r"-v?(\d(\.\d)?)(?=-|$)", plain)
    return "-".join(["cc", *elements, *([version[1] if version[2] else f"{version[1]}.0"] if version else [])])


# ---------------------------------------------------------------------------------------------------------- the data


def terms() -> dict[str, str]:
    """What licences ask for, in words."""
    return _data()["terms"]  # type: ignore[no-any-return]


def data_digest() -> str:
    """Changes with what is known of licences."""
    return sha256(_text()).hexdigest()[:10]


@cache
def known() -> dict[str, License]:
    """Every licence by its id."""
    found = [license for entry in _data()["licenses"] for license in _licenses(entry)]
    return {license.id: license for license in found}


@cache
def _names() -> dict[str, License]:
    """Every licence by each of its names and addresses."""
    names = {_plain(id): license for id, license in known().items()}
    for entry in _data()["licenses"]:
        for license in _licenses(entry):
            for name in filter(None, (license.url, license.name, *entry.get("also", ()))):
                names.setdefault(_plain(name), license)
    return names


def _licenses(entry: Mapping[str, Any]) -> Iterator[License]:
    """The licences of an entry: one, or one for each version and one for the family."""
    asked, versions = frozenset(entry["terms"]), entry.get("versions")

    def whole(id: str, others: Iterable[str]) -> frozenset[str] | None:
        return frozenset((id, *others)) if "share_alike" in asked else None

    if not versions:
        yield License(
            entry["id"], entry["name"], entry["url"], asked, whole(entry["id"], entry.get("onward", ())), entry.get("hub", True)
        )
        return
    everything: set[str] = set()
    for version in versions:
        id, name, url = (str(entry[of]).format(version=version) for of in ("id", "name", "url"))
        later = [entry["id"].format(version=v) for v in versions if v > version >= entry.get("later", "9")]
        onward = whole(id, [*later, *entry.get("onward", {}).get(version, ())])
        everything |= onward or set()
        yield License(id, name, url, asked, onward, version in entry["hub"])
    anyone = f"{entry['name'].format(version='').strip()}, version not stated"
    yield License(entry["family"], anyone, "", asked, whole(entry["family"], everything), False)


@cache
def _data() -> dict[str, Any]:
    return yaml.safe_load(_text())  # type: ignore[no-any-return]


def _text() -> bytes:
    return (files(__package__) / "licenses.yaml").read_bytes()
