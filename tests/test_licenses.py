"""What licences ask for, and which of them cannot be met together."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import orjson
import pytest
import yaml

from sft_assets.errors import SftError
from sft_assets.exported import licenses
from sft_assets.exported.licenses import conflicts, known, licensing, read, terms
from tests.test_exported import Row, augmented, chat, export, parquet, version_of


def in_one_dataset(*names: str | None) -> bool:
    """Whether rows under these licences can be mixed."""
    return not licensing((f"source {n}", name, 1) for n, name in enumerate(names)).conflicts


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("MIT", "mit"),
        ("The MIT License", "mit"),
        ("https://opensource.org/licenses/MIT", "mit"),
        ("Apache License, Version 2.0", "apache-2.0"),
        ("https://www.apache.org/licenses/LICENSE-2.0.txt", "apache-2.0"),
        ("CC BY-NC 4.0", "cc-by-nc-4.0"),
        ("CC-BY-SA-3.0-DE", "cc-by-sa-3.0"),
        ("https://creativecommons.org/licenses/by-sa/3.0/de/", "cc-by-sa-3.0"),
        ("http://creativecommons.org/licenses/by/4.0/legalcode.en", "cc-by-4.0"),
        ("Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International", "cc-by-nc-sa-4.0"),
        ("CC0 1.0 Universal", "cc0-1.0"),
        ("GPL-3.0-only", "gpl-3.0"),
        ("ODbL-1.0", "odbl"),
        ("cc by", "cc-by"),
    ],
)
def test_a_licence_is_known_by_the_names_that_people_give_it(name: str, id: str) -> None:
    assert [license.id for license in read(name)] == [id]
    assert id in known()


def test_and_joins_licences_and_or_leaves_the_choice() -> None:
    assert [license.id for license in read("cc-by-4.0 AND mit")] == ["cc-by-4.0", "mit"]
    assert [license.id for license in read("GPL-3.0-only OR MIT")] == ["mit"]
    assert in_one_dataset("(GPL-3.0-only OR MIT) AND cc-by-4.0", "cc-by-nc-4.0")


def test_what_nobody_knows_obliges_to_look_it_up_and_is_never_refused() -> None:
    names = [None, "unknown", "other", "Our own terms", ""]
    found = licensing((f"source {n}", name, 2) for n, name in enumerate(names))
    assert found.obligations["unknown"].keys() == {"unknown", "other", "Our own terms"}
    for name in names:
        assert all(in_one_dataset(name, id) for id in known())


@pytest.mark.parametrize(
    ("names", "mix"),
    [
        (("mit", "apache-2.0", "cc-by-4.0", "cc0-1.0", "bsd-3-clause", "odc-by"), True),
        (("mit", "apache-2.0", "cc-by-4.0", "cc-by-nc-4.0"), True),
        (("mit", "cc-by-4.0", "cc-by-sa-4.0"), True),
        (("cc-by-sa-3.0", "cc-by-sa-4.0"), True),
        (("cc-by-sa-4.0", "gpl-3.0"), True),
        (("cc-by-nc-4.0", "cc-by-nc-sa-4.0"), True),
        (("lgpl-2.1", "gpl-3.0", "agpl-3.0"), True),
        (("gpl-2.0-or-later", "gpl-3.0"), True),
        (("apache-2.0", "gpl-3.0"), True),
        (("cc-by-sa", "cc-by-sa-4.0"), True),
        (("openrail", "mit"), True),
        (("cc-by-sa-4.0", "cc-by-nc-4.0"), False),
        (("cc-by-sa-4.0", "cc-by-nc-sa-4.0"), False),
        (("cc-by-sa-3.0", "gpl-3.0"), False),
        (("cc-by-sa-1.0", "cc-by-sa-4.0"), False),
        (("cc-by-sa-4.0", "odbl"), False),
        (("cc-by-sa-4.0", "cdla-sharing-1.0"), False),
        (("gfdl", "cc-by-sa-4.0"), False),
        (("gpl-3.0", "cc-by-nc-4.0"), False),
        (("gpl-2.0", "gpl-3.0"), False),
        (("apache-2.0", "gpl-2.0"), False),
        (("gpl-3.0", "openrail"), False),
        (("cc-by-nd-4.0", "mit"), False),
        (("cc-by-nc-nd-4.0", "cc-by-nc-4.0"), False),
        (("llama2", "llama3"), False),
        (("cc-by-sa-4.0 AND cc-by-nc-4.0",), False),
    ],
)
def test_which_licences_can_be_mixed(names: tuple[str, ...], mix: bool) -> None:
    assert in_one_dataset(*names) is mix
    assert in_one_dataset(*reversed(names)) is mix
    assert in_one_dataset(*names, *names) is mix


def test_every_licence_goes_with_itself_and_with_those_that_ask_for_nothing() -> None:
    for license in known().values():
        assert not list(conflicts([license]))
        if "no_derivatives" not in license.terms:
            assert not list(conflicts([license, known()["cc0-1.0"]]))


def test_two_share_alike_licences_go_together_only_where_a_third_may_hold_both() -> None:
    whole = [license for license in known().values() if license.whole is not None]
    assert len(whole) > 20
    for one, other in combinations(whole, 2):
        mixed = not list(conflicts([one, other]))
        assert mixed <= bool((one.whole or frozenset()) & (other.whole or frozenset()))


def test_the_data_name_only_what_is_there_and_where_it_is_written() -> None:
    data = yaml.safe_load((Path(licenses.__file__).parent / "licenses.yaml").read_text())
    for license in known().values():
        assert license.terms <= terms().keys()
        assert (license.whole or frozenset()) <= known().keys()
        assert read(license.id) == [license]
    for entry in data["licenses"]:
        assert entry["url"].startswith("http") or "unknown" in entry["terms"]
    for rule in (*data["rules"].values(), *data["pairs"]):
        assert rule["source"].startswith("https://")
    assert all(id in known() for pair in data["pairs"] for id in pair["licenses"])


# ---------------------------------------------------------------------------------------------------------- in an export


def rows_of(**by_source: str | None) -> list[Row]:
    return [
        Row(chat(f"{source} {n}?", "Yes, it is.", license=license), source=source)
        for source, license in by_source.items()
        for n in range(3)
    ]


def test_licences_that_contradict_each_other_are_refused_before_anything_is_published(tmp_path: Path) -> None:
    folder = augmented(tmp_path, rows_of(wiki="CC BY-SA 4.0", alpaca="cc-by-nc-4.0", free="mit"))
    with pytest.raises(SftError) as error:
        export(folder)
    said = str(error.value)
    for part in (
        "cc-by-sa-4.0 (rows: 3 of wiki)",
        "cc-by-nc-4.0 (rows: 3 of alpaca)",
        "weight: 0",
        "combined.allowed_licenses",
    ):
        assert part in said
    assert "exported.incompatible_licenses: allow" in said
    assert "no legal advice" in said
    assert "free" not in said
    assert not folder.exports.exists()


def test_a_recipe_may_allow_them_and_the_card_says_so(tmp_path: Path) -> None:
    folder = augmented(tmp_path, rows_of(wiki="cc-by-sa-4.0", alpaca="cc-by-nc-4.0"))
    out = export(folder, incompatible_licenses="allow", test_share=0)
    assert len(parquet(out)) == 6
    said = orjson.loads((out / "MANIFEST.json").read_bytes())["licenses"]
    assert [pair["licenses"] for pair in said["incompatible"]] == [["cc-by-nc-4.0", "cc-by-sa-4.0"]]
    assert "contradict each other" in (out / "README.md").read_text()


def test_the_licence_of_a_row_that_is_not_exported_plays_no_part(tmp_path: Path) -> None:
    rows = rows_of(wiki="cc-by-sa-4.0", alpaca="cc-by-nc-4.0")
    for row in rows[3:]:
        row.verdict = "review"
    assert len(parquet(export(augmented(tmp_path, rows), without_review=True, test_share=0))) == 3


def test_obligations_are_listed_with_the_sources_that_they_come_from(tmp_path: Path) -> None:
    rows = rows_of(wiki="cc-by-4.0", made="cc-by-4.0 AND mit", own=None)
    folder = augmented(tmp_path, rows)
    out = export(folder, test_share=0)
    asked = orjson.loads((out / "MANIFEST.json").read_bytes())["licenses"]["obligations"]
    assert asked == {
        "attribution": {"cc-by-4.0": {"made": 3, "wiki": 3}},
        "notice": {"mit": {"made": 3}},
        "unknown": {"unknown": {"own": 3}},
    }
    assert version_of(folder).report["licenses"]["obligations"] == asked
    text = (out / "README.md").read_text()
    assert "no legal advice" in text
    assert f"| {terms()['attribution']} | cc-by-4.0 | made 3, wiki 3 |" in text
    assert "| look it up | unknown | own 3 |" in text


@pytest.mark.parametrize(
    "name", ["CC-BY-4.0, GPL-3.0", "cc-by-4.0;mit", "cc-by-nc-4.0 & mit", "cc-by-sa-4.0/cc-by-nc-4.0", "CC BY 4.0 and Apache"]
)
def test_of_licences_that_are_joined_in_another_way_none_is_lost(name: str) -> None:
    (found,) = read(name)
    assert not found.is_known and found.id == name


def test_many_names_that_nobody_knows_are_no_pairs() -> None:
    found = licensing((f"source {n}", f"my own licence {n}", 1) for n in range(3000))
    assert found.conflicts == () and len(found.held) == 3000
