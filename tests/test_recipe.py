"""recipe.yaml: errors that name file, line and remedy, and which asset each line makes stale."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import sft_assets
from sft_assets.errors import SftError
from sft_assets.recipe import BORROWED, CAPS, Recipe, Source, shown_url, source_name

ASSETS = [name for name in Recipe.model_fields if name not in ("sources", "engine", "models")]


def load(tmp_path: Path, text: str | bytes) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Recipe.load(path)


def error(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(SftError) as caught:
        load(tmp_path, text)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("dedupe:\n  threshold: 0.8\n", 1, ["dedupe", "did you mean 'deduped'?"]),
        ("raw:\n  other_files: read\n\n  max_quarantine: 5\n", 4, ["raw.max_quarantine", "did you mean 'max_quarantined'"]),
        ("deduped:\n  zzz: 1\n", 2, ["deduped.zzz", "known here: near, threshold"]),
        ("sources:\n  - path: a.json\n    licence: mit\n", 3, ["sources.0.licence", "did you mean 'license'?"]),
        ("sources:\n  - path: a.json\n  - license: mit\n", 3, ["sources.1", "one of path", "hub", "url"]),
        ("sources:\n  - a.json\n", 2, ["sources.0", "'a.json'"]),
        ("sources: a.json\n", 1, ["sources", "list"]),
        ("benchmarks:\n  files:\n    - pth: x\n", 3, ["benchmarks.files.0.pth", "did you mean 'path'?"]),
        ("benchmarks:\n  files:\n    - name: x\n", 3, ["benchmarks.files.0", "one of path", "hub", "package"]),
        ("benchmarks:\n  files:\n    - hub: a/b\n      path: x\n", 3, ["benchmarks.files.0", "one of path", "hub", "package"]),
        (
            "benchmarks:\n  files:\n    - hub: a/b\n      package: x\n",
            3,
            ["benchmarks.files.0", "one of path", "hub", "package"],
        ),
        ("benchmarks:\n  files:\n    - path: x\n      split: test\n", 3, ["revision, config and split are of hub datasets"]),
        ("benchmarks:\n  files:\n    - hub: a/b\n    - hub: a/b\n      config: c\n", 2, ["two entries have the name 'a/b'"]),
        ("benchmarks:\n  files:\n    - package: a b\n", 3, ["benchmarks.files.0.package", "'a b'"]),
        ("deduped:\n  threshold: 1.5\n", 2, ["deduped.threshold", "less than or equal to 1", "1.5"]),
        ("deduped:\n  threshold: .nan\n", 2, ["deduped.threshold"]),
        ("deduped:\n  threshold: high\n", 2, ["deduped.threshold", "number", "'high'"]),
        ("deduped:\n  near: true\n  threshold:\n", 3, ["deduped.threshold", "number"]),
        ("deduped:\n  compare: promt\n", 2, ["deduped.compare", "'all', 'prompt' or 'answer'", "'promt'"]),
        ("raw:\n  max_quarantined: 101\n", 2, ["raw.max_quarantined", "100"]),
        ("combined:\n  masks: [email, fone]\n", 2, ["combined.masks", "'phone'", "'fone'"]),
        ("sources:\n  - path: a\n    columns:\n      promt: q\n", 4, ["columns.promt", "'prompt'"]),
        ("sources:\n  - path: a\n    format: alpacca\n", 3, ["sources.0.format", "'alpaca'"]),
        ("sources:\n  - path: a\n    weight: 2\n", 3, ["sources.0.weight", "less than or equal to 1"]),
        ("sources:\n  - path: a\n    cap: -1\n", 3, ["sources.0.cap", "greater than or equal to 0"]),
        ("raw:\nsources:\n  - path: a.json\n  - path: a.json\n", 2, ["sources", "two entries have the path 'a.json'"]),
        ("sources:\n  - path: a.json\n  - path: ./a.json\n", 1, ["two entries have the path 'a.json'"]),
        ("sources:\n  - path: a.json\n  - path: a.jsonl\n", 1, ["two entries have the name 'a'"]),
        ("raw:\n  max_quarantined: 5\nraw:\n  other_files: read\n", 3, ["'raw' stands here and in line 1"]),
        ("sources:\n  - path: a\n    cap: 1\n    cap: 2\n", 4, ["'cap' stands here and in line 3"]),
        ("raw: [1\n", 2, ["not YAML"]),
        ("raw:\n\tmax_quarantined: 5\n", 2, ["not YAML"]),
        ("a: b: c\n", 1, ["not YAML"]),
        ("- path: a.json\n", 1, ["mapping of sections", "sources, raw"]),
        ("just text\n", 1, ["mapping of sections"]),
        ("raw: 5\n", 1, ["raw", "it says 5"]),
        ("raw: 0\n", 1, ["raw", "it says 0"]),
    ],
)
def test_an_error_names_the_file_the_line_and_what_would_be_right(
    tmp_path: Path, text: str, line: int, says: list[str]
) -> None:
    message = error(tmp_path, text)
    assert message.startswith(f"{tmp_path / 'recipe.yaml'}:{line}: ")
    for part in says:
        assert part in message


def test_every_error_of_a_recipe_is_told_at_once(tmp_path: Path) -> None:
    message = error(tmp_path, "raww: {}\ndeduped:\n  threshold: 7\nsources:\n  - path: a\n    weight: x\n")
    assert sorted(line.split(": ")[0].rsplit(":", 1)[1] for line in message.splitlines()) == ["1", "3", "6"]


@pytest.mark.parametrize(
    "text",
    [
        "a: 2024-13-45\n",
        "a: !!int x\n",
        "a: !!bool x\n",
        "a: !!timestamp x\n",
        "a: !!python/object/apply:os.system ['true']\n",
        "{[1, 2]: 3}\n",
        "? {a: b}\n: c\n",
        "a: &x [*x]\n",
        "a: \x00\n",
        "[" * 5000,
        "a: *nowhere\n",
        "---\nraw: {}\n---\nraw: {}\n",
        b"raw: caf\xe9\n",
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_recipe_is_an_error_of_one_sentence_not_a_crash(tmp_path: Path, text: str | bytes) -> None:
    assert str(tmp_path / "recipe.yaml") in error(tmp_path, text)


def test_an_alias_may_be_used_and_a_thousand_of_them_take_no_time(tmp_path: Path) -> None:
    recipe = load(
        tmp_path, "raw: &r\n  max_quarantined: 5\nsources:\n  - {path: a, license: &l mit}\n  - {path: b, license: *l}\n"
    )
    assert [s.license for s in recipe.sources] == ["mit", "mit"]
    bomb = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 30))
    assert "unknown name" in error(tmp_path, bomb)


def test_a_recipe_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").mkdir()
    with pytest.raises(SftError, match="cannot be read"):
        Recipe.load(tmp_path / "recipe.yaml")


KEYS = ["path", "name", "columns", "files", "actions", "skip", "x"]
yaml_scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.text(max_size=5) | st.sampled_from(KEYS)
yaml_value = st.recursive(
    yaml_scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted({f for name in ASSETS for f in Recipe.model_fields[name].annotation.model_fields} | set(Source.model_fields))  # type: ignore[union-attr]
section = st.dictionaries(st.sampled_from(FIELDS), yaml_value, max_size=4)
sections = st.one_of(yaml_value, section, st.lists(section, max_size=2))


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from([*Recipe.model_fields, "x"]) | st.integers(), sections, max_size=4))
def test_any_yaml_is_a_recipe_or_an_error_with_a_line(tmp_path_factory: pytest.TempPathFactory, data: dict[Any, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), "utf-8")
    try:
        assert isinstance(Recipe.load(path), Recipe)
    except SftError as said:
        assert all(line.startswith(f"{path}:") or not line.startswith("/") for line in str(said).splitlines())


WORDS = [
    "raw",
    "sources",
    ":",
    " ",
    "\n",
    "- ",
    "path",
    "{",
    "}",
    "[",
    "]",
    "&a",
    "*a",
    "|",
    "'",
    '"',
    "!!int",
    "#",
    "\t",
    "0x",
    "~",
    "<<",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from([*WORDS, "2024-13-01"])).map("".join))
def test_any_text_is_a_recipe_or_an_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(text, "utf-8")
    try:
        assert isinstance(Recipe.load(path), Recipe)
    except SftError as said:
        assert str(path) in str(said)


# ------------------------------------------------------------------------------------------------- defaults


@pytest.mark.parametrize(
    "text",
    ["", "\n# only a comment\n", "\ufeff", "sources:\n", "sources: []\nraw:\nengine: {}\ndeduped: {}\n", "---\n", "{}"],
)
def test_an_empty_recipe_equals_no_recipe(tmp_path: Path, text: str) -> None:
    recipe = load(tmp_path, text)
    assert recipe == Recipe.load(tmp_path / "nothing.yaml") == Recipe()
    assert [recipe.digest(a) for a in ASSETS] == [Recipe().digest(a) for a in ASSETS]


def test_a_default_that_is_written_down_changes_nothing() -> None:
    said = Recipe.model_validate(orjson.loads(Recipe().model_dump_json()))
    assert [said.digest(a) for a in ASSETS] == [Recipe().digest(a) for a in ASSETS]


def test_the_template_is_a_recipe_of_all_defaults_and_what_it_proposes_is_known(tmp_path: Path) -> None:
    text = (Path(sft_assets.__file__).parent / "recipe_template.yaml").read_text("utf-8")
    assert load(tmp_path, text) == Recipe()
    proposed = "\n".join(line.removeprefix("# ") for line in text.split("\n\n", 1)[1].splitlines() if line.startswith("# "))
    recipe = load(tmp_path, proposed)
    assert recipe.sources[0].weight == 0.5
    assert recipe.rule_hits.actions and recipe.scored.thresholds and recipe.models["some-model"].price.output == 2


def test_a_recipe_is_not_changed_by_whoever_uses_it() -> None:
    recipe = Recipe()
    with pytest.raises(ValueError, match="frozen"):
        recipe.raw.max_quarantined = 50  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("q.json", "q"), ("q.jsonl.gz", "q"), ("a/b/q.JSON", "a/b/q"), ("folder", "folder"), ("folder/", "folder"),
        ("q.json.json", "q"),
        ("q.tar.xz", "q"), ("q.csv.zst", "q"), ("q.parquet", "q"), ("./q.json", "q"), ("a//b.ndjson", "a/b"), ("v1.5", "v1.5"),
    ],
)  # fmt: skip
def test_a_source_is_called_by_its_path_without_the_endings_that_say_how_it_is_packed(path: str, name: str) -> None:
    assert Source(path=path).name == name


def test_a_file_that_only_has_endings_keeps_a_name() -> None:
    assert source_name(".json") == ".json"
    assert source_name("a/.json") == "a/.json"


def test_the_entry_of_a_source_is_found_by_name_and_for_others_there_are_defaults() -> None:
    recipe = Recipe(sources=[Source(path="q.json", cap=3)])
    assert recipe.source("q").cap == 3
    assert recipe.source("other") == Source(path="other", name="other")


# ------------------------------------------------------------------------------------------------- what a line makes stale


def another(annotation: Any, value: Any) -> Any:
    """A value that a field may have and that is not the one it has."""
    options = get_args(annotation)
    if get_origin(annotation) is Literal:
        return next(o for o in options if o != value)
    if get_origin(annotation) is Annotated or type(None) in options:
        return another(options[0], value)
    if get_origin(annotation) is list:
        if value:
            return value[:-1]
        inner = options[0]
        return [{"path": "x"}] if isinstance(inner, type) and issubclass(inner, BaseModel) else [another(inner, None)]
    if get_origin(annotation) is dict:
        return {another(options[0], None): another(options[1], None)}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if value is None:
            return {}
        name, info = next(iter(annotation.model_fields.items()))
        return {name: another(info.annotation, getattr(value, name))}
    if annotation is bool:
        return not value
    if annotation is int:
        return 3 if value is None else value + 1
    if annotation is float:
        return 1.0 if value is None else value / 2 or 0.5
    if annotation is str:
        return "3GB" if value == "2GB" else f"{value or ''}x"
    raise NotImplementedError(f"how a {annotation} may be changed")


def fields() -> list[tuple[str, str, FieldInfo]]:
    sections = {name: info.annotation for name, info in Recipe.model_fields.items() if name not in ("sources", "models")}
    return [(s, name, info) for s, model in sections.items() for name, info in model.model_fields.items()]  # type: ignore[union-attr]


GENERATING: dict[str, Any] = {"generations": {"methods": {"answers": {}}}, "rewards": {"model": "a-model"}}


def changed(before: Recipe, after: Recipe) -> set[str]:
    return {asset for asset in ASSETS if before.digest(asset) != after.digest(asset)}


@pytest.mark.parametrize(("section", "name", "info"), fields(), ids=lambda value: value if isinstance(value, str) else "")
def test_each_field_changes_its_own_assets_digest_only(section: str, name: str, info: FieldInfo) -> None:
    before = Recipe.model_validate(GENERATING)
    default = getattr(getattr(before, section), name)
    after = Recipe.model_validate(
        {**GENERATING, section: {**GENERATING.get(section, {}), name: another(info.annotation, default)}}
    )
    assert getattr(getattr(after, section), name) != default
    expected = {section} if section != "engine" and name not in CAPS else set()
    if (section, name) == ("raw", "max_quarantined"):  # the limit of combined too
        expected = {"raw", "combined"}
    expected |= {asset for asset, borrowed in BORROWED.items() if name in borrowed.get(section, ())}
    assert changed(before, after) == expected


def test_without_a_method_no_section_matters_to_what_is_generated() -> None:
    after = Recipe.model_validate({"deduped": {"threshold": 0.5}, "generations": {"seed": 4}, "likelihoods": {"model": "x"}})
    assert changed(Recipe(), after) == {"deduped", "likelihoods"}


SOURCE_FIELDS = {
    "path": {"raw"}, "hub": {"raw"}, "url": {"raw"}, "revision": {"raw"}, "config": {"raw"}, "split": {"raw"},
    "format": {"raw"}, "encoding": {"raw"}, "delimiter": {"raw"}, "header": {"raw"}, "columns": {"raw"}, "tags": {"raw"},
    "roles": {"raw"}, "template": {"raw"}, "continuation": {"raw"}, "paths": {"raw"}, "max_quarantined": {"raw", "combined"},
    "license": {"combined"}, "language": {"combined"}, "system": {"combined"}, "weight": {"combined"}, "cap": {"combined"},
    "repairs": {"combined"}, "priority": {"deduped"},
}  # fmt: skip


def test_every_field_of_a_source_belongs_to_an_asset() -> None:
    assert set(SOURCE_FIELDS) == set(Source.model_fields) - {"name"}


@pytest.mark.parametrize(("name", "expected"), SOURCE_FIELDS.items())
def test_each_field_of_a_source_changes_the_digest_of_the_assets_that_use_it(name: str, expected: set[str]) -> None:
    entry = {"path": "q.json", "name": "q", "format": "alpaca"}
    if name in ("hub", "url", "revision", "config", "split"):
        entry = {"url" if name == "url" else "hub": "https://host/q" if name == "url" else "owner/q", "name": "q"}
    info = Source.model_fields[name]
    before = Recipe.model_validate({"sources": [entry]})
    value = {"format": "messages", "template": "Q: {prompt} A: {response}"}.get(name) or another(
        info.annotation, getattr(before.sources[0], name)
    )
    after = Recipe.model_validate({"sources": [entry | {name: value}]})
    assert changed(before, after) == expected


def test_a_column_mapping_is_part_of_how_raw_reads() -> None:
    before = Recipe.model_validate({"sources": [{"path": "q.json"}]})
    after = Recipe.model_validate({"sources": [{"path": "q.json", "columns": {"prompt": "q"}}]})
    assert changed(before, after) == {"raw"}


def test_the_order_of_the_entries_changes_nothing() -> None:
    entries = [{"path": "a.json", "cap": 1, "priority": 1}, {"path": "b.json", "license": "mit"}, {"path": "c.json"}]
    before, after = (Recipe.model_validate({"sources": e}) for e in (entries, entries[::-1]))
    assert changed(before, after) == set()


def test_what_belongs_to_another_source_is_no_part_of_the_digest_of_deduped() -> None:
    before = Recipe.model_validate({"sources": [{"path": "a.json", "priority": 1}]})
    after = Recipe.model_validate({"sources": [{"path": "a.json", "priority": 1}, {"path": "b.json", "cap": 5}]})
    assert changed(before, after) == {"raw", "combined"}


AXOLOTL = {
    "path": "a.jsonl", "type": "chat_template", "field_messages": "chat",
    "message_property_mappings": {"role": "who", "content": "said"},
    "roles": {"user": ["customer", "client"], "assistant": ["agent"]},
}  # fmt: skip


def test_axolotls_names_are_read_as_ours() -> None:
    entry = Source.model_validate(AXOLOTL)
    assert entry.columns == {"messages": "chat"}
    assert entry.tags == {"role_tag": "who", "content_tag": "said"}
    assert entry.roles == {"customer": "user", "client": "user", "agent": "assistant"}
    assert entry.format == "messages"


def test_axolotls_fields_of_an_alpaca_dialect_are_read_as_columns() -> None:
    entry = Source.model_validate({"path": "a.jsonl", "type": "alpaca", "field_instruction": "ask", "field_output": "output"})
    assert (entry.columns, entry.format) == ({"prompt": "ask"}, "alpaca")


def test_a_type_of_axolotl_that_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    message = error(tmp_path, "sources:\n  - path: a\n    type: pygmalion\n")
    assert message.startswith(f"{tmp_path / 'recipe.yaml'}:2: sources.0: type: 'pygmalion' is not known")


@pytest.mark.parametrize(
    "entry",
    [{"path": "a", "hub": "o/a"}, {"hub": "o/a", "url": "s3://a/b"}, {"license": "mit"}, {"path": "a", "split": "train"}],
)
def test_an_entry_names_one_place_and_says_of_it_what_it_can_have(entry: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"one of path|are of hub datasets"):
        Source.model_validate(entry)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models:\n  m:\n    concurency: 4\n", ":3: models.m.concurency: unknown name; did you mean 'concurrency'"),
        ("models:\n  m: {price: {input: -1}}\n", ":2: models.m.price.input: "),
        (
            "scored:\n  thresholds:\n    ifd: {drop_over: 1}\n",
            ":3: scored.thresholds.ifd.drop_over: unknown name; did you mean",
        ),
        ("likelihoods:\n  trust_remote_code: true\n", ":2: likelihoods.trust_remote_code: unknown name"),
        ("rewards: {model: x, trust_remote_code: true}\n", ":1: rewards.trust_remote_code: unknown name"),
        ("judgements: {rows: -1}\n", ":1: judgements.rows: "),
        ("judgements: {minutes: 0}\n", ":1: judgements.minutes: "),
        ("scored: {actions: {refusal: drop}}\n", ":1: scored.actions: unknown name"),
        ("judgements: {model: m, money: 5}\n", "judgements.money is a cap, but there is no price"),
    ],
)
def test_what_is_wrong_within_a_mapping_is_found_there(tmp_path: Path, text: str, said: str) -> None:
    assert said in error(tmp_path, text)


def test_caps_prices_and_concurrency_change_no_result() -> None:
    settings = {"judgements": {"calls": 5, "tokens": 6, "money": 7, "minutes": 8}, "models": {"m": {"concurrency": 3}}}
    assert [Recipe.model_validate(settings).digest(a) for a in ASSETS] == [Recipe().digest(a) for a in ASSETS]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@host/x.jsonl?token=S", "https://host/x.jsonl"),
        ("https://me:p/w@host/x.jsonl#part", "https://host/x.jsonl"),
        ("https://host:8080/a@b/x.jsonl", "https://host:8080/a@b/x.jsonl"),
        ("s3://bucket/a@b/x.jsonl", "s3://bucket/a@b/x.jsonl"),
        ("https://host/x.jsonl?mail=a@b.org", "https://host/x.jsonl"),
    ],
)
def test_a_url_is_told_without_what_says_who_may_read_it(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    recipe = Recipe.model_validate({"sources": [{"url": url}]})
    assert recipe.shown()["sources"][0]["url"] == recipe.shown("raw")["sources"][0]["url"] == shown
    assert recipe.sources[0].name == source_name(shown.rpartition("://")[2])
    assert recipe.sources[0].url == url


def test_another_token_is_another_place_to_read() -> None:
    one, other = (Recipe.model_validate({"sources": [{"url": f"https://host/x.jsonl?key={key}"}]}) for key in "ab")
    assert one.digest("raw") != other.digest("raw")
