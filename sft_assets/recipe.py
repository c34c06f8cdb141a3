"""recipe.yaml: what is to be done with the data, one section per asset.

    sources:
      - path: questions.json
        license: cc-by-4.0
        weight: 0.5
    deduped:
      threshold: 0.85

Everything has a default; a folder without a recipe is a recipe. A section's hash is part of its asset's code version, so an
edit makes stale just the assets that use the section. `engine`, `models` and the caps of one run (money, minutes ...) enter no
hash: they change speed and progress, never results.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sft_assets import strict_yaml
from sft_assets.errors import SftError, did_you_mean

if TYPE_CHECKING:
    from sft_assets.formats.hints import Hints

Percent = Annotated[float, Field(ge=0, le=100)]
Share = Annotated[float, Field(ge=0, le=1)]
ColumnName = Literal[
    "prompt", "query", "response", "system", "history", "messages", "conversations", "tools", "chosen", "rejected", "kto_tag",
    "language", "license",
]  # fmt: skip
COLUMN_NAMES = frozenset(get_args(ColumnName))
Tag = Literal[
    "role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag",
]  # fmt: skip
Repair = Literal["mojibake", "crlf", "zero_width", "bidi", "html_entities", "escaped_newlines"]
MaskKind = Literal["secret", "email", "phone", "card", "iban"]
ExportFormat = Literal["messages", "alpaca", "preference", "sharegpt", "openai", "prompt_completion", "kto"]
Dimension = Literal["topic", "difficulty", "length", "language", "turns"]
EMBEDDED = "embedded"  # the model that comes with the package, of each kind


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Source(Section):
    """One entry of `sources`: a file of D/sources, a folder there and every file in it, a hub dataset, or a URL.

    The names that Axolotl gives to columns, tags and roles are read as well.
    """

    path: str = Field(default="", description="file or folder, relative to D/sources")
    hub: str = Field(default="", pattern=r"^([\w.-]+(/[\w.-]+)?)?$", description="instead of path: a hub dataset, owner/name")
    url: str = Field(default="", pattern=r"^(\w[\w+.-]*://.+)?$", description="instead of path: a file at an fsspec URL")
    revision: str | None = Field(default=None, description="of the hub dataset: branch, tag or commit")
    config: str | None = Field(default=None, description="of the hub dataset; default: its only one, or `default`")
    split: str | None = Field(default=None, description="of the hub dataset; default: all but its test and validation splits")
    name: str = Field(default="", description="what the ledger and the reports call it; default: the path without its ending")
    format: str | None = Field(default=None, description="default: seen from the records")
    columns: dict[ColumnName, str] = Field(default={}, description="our name of a column (LLaMA-Factory's): theirs")
    tags: dict[Tag, str] = Field(default={}, description="our name of a key or role of turns (LLaMA-Factory's): theirs")
    roles: dict[str, Literal["system", "user", "assistant", "tool"]] = Field(default={}, description="their role: ours")
    template: str | None = Field(default=None, description="of a text: where {system}, {prompt} and {response} stand in it")
    continuation: bool = Field(default=False, description="of a text with no turns: its beginning is prompt, the rest answer")
    paths: Literal["best", "all"] = Field(default="best", description="of message trees: the best-ranked path or every one")
    encoding: str | None = Field(default=None, description="default: by byte order mark, else UTF-8")
    delimiter: str | None = Field(default=None, min_length=1, max_length=1, description="of CSV; default: seen from the lines")
    header: bool | list[str] | None = Field(default=None, description="of CSV: whether it has one, or the names of its columns")
    max_quarantined: Percent | None = Field(default=None, description="percent; default: raw.max_quarantined")
    license: str | None = None
    language: str | None = None
    system: str | None = Field(default=None, description="system prompt for conversations that have none")
    weight: Share = Field(default=1.0, description="share of the rows to keep, chosen by row_id")
    cap: int | None = Field(default=None, ge=0, description="most rows to keep")
    priority: int = Field(default=0, description="of two duplicates the one with the higher priority stays")
    repairs: list[Repair] | None = Field(default=None, description="faults of its texts to repair; default: combined.repairs")

    @model_validator(mode="before")
    @classmethod
    def _from_axolotl(cls, data: Any) -> Any:
        return _of_axolotl(dict(data)) if isinstance(data, dict) else data

    @field_validator("format")
    @classmethod
    def _known_format(cls, name: str | None) -> str | None:
        from sft_assets.formats import FORMATS

        if name is not None and name not in FORMATS:
            raise ValueError(f"no format is called that; {did_you_mean(name, FORMATS)}")
        return name

    @field_validator("template")
    @classmethod
    def _usable_template(cls, template: str | None) -> str | None:
        if template is not None:
            from sft_assets.formats.text import parts_of_template

            parts_of_template(template)
        return template

    @model_validator(mode="after")
    def _complete(self) -> Source:
        values = self.__dict__
        if sum(map(bool, (self.path, self.hub, self.url))) != 1:
            raise ValueError("say one of path (in D/sources), hub (owner/name) or url")
        if not self.hub and (self.revision or self.config or self.split):
            raise ValueError("revision, config and split are of hub datasets")
        if self.path:
            values["path"] = PurePosixPath(self.path).as_posix()  # ./q.json is q.json
        if not self.name:
            values["name"] = source_name(self.path or shown_url(self.url).rpartition("://")[2]) or self.hub
        if not self.format:
            if self.template or self.continuation:
                values["format"] = "text"
            elif self.columns:
                from sft_assets.formats import format_of_columns

                values["format"] = format_of_columns(self.columns)
        return self

    @property
    def hints(self) -> Hints:
        """What the formats are told of its records."""
        from sft_assets.formats.hints import Hints

        return Hints(
            dict(self.columns.items()), dict(self.tags.items()), self.roles, self.template, self.continuation, self.paths
        )


def _of_axolotl(data: dict[str, Any]) -> dict[str, Any]:
    """An entry with Axolotl's names as one with ours.

    field_messages: chat, message_property_mappings: {role: who, content: said}, roles: {user: [customer]}
    -> columns: {messages: chat}, tags: {role_tag: who, content_tag: said}, roles: {customer: user}
    """
    columns, tags = dict(data.get("columns") or {}), dict(data.get("tags") or {})
    fields = {"messages": "messages", "instruction": "prompt", "input": "query", "output": "response", "system": "system",
              "tools": "tools", "chosen": "chosen", "rejected": "rejected", "prompt": "prompt"}  # fmt: skip
    for theirs, ours in fields.items():
        if isinstance(name := data.get(f"field_{theirs}"), str):
            del data[f"field_{theirs}"]
            if name != {"prompt": "instruction", "query": "input", "response": "output"}.get(ours, ours):
                columns.setdefault(ours, name)
    mappings = data.pop("message_property_mappings", None) or {}
    for key in ("role", "content"):
        name = data.pop(f"message_field_{key}", None) or (mappings.get(key) if isinstance(mappings, dict) else None)
        if name and name != key:
            tags.setdefault(f"{key}_tag", name)
    roles = data.get("roles")
    if isinstance(roles, dict) and any(isinstance(names, list) for names in roles.values()):
        data["roles"] = {theirs: ours for ours, names in roles.items() for theirs in names}
    kind = data.pop("type", None)
    if isinstance(kind, str) and "format" not in data:
        known = {"alpaca": "alpaca", "chat_template": None, "sharegpt": "sharegpt", "completion": "text"}
        if kind not in known:
            raise ValueError(f"type: {kind!r} is not known; {', '.join(known)} are, or say `format:`")
        if known[kind]:
            data["format"] = known[kind]
    for name, value in (("columns", columns), ("tags", tags)):
        if value:
            data[name] = value
    return data


ENDINGS = {
    ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".tab", ".txt", ".md", ".parquet", ".arrow", ".feather",
    ".gz", ".zst", ".zstd", ".bz2", ".xz", ".zip", ".tar", ".tgz", ".tbz2", ".txz",
}  # fmt: skip


def shown_url(url: str) -> str:
    """A URL as it may be shown: without user, password, query and fragment, which may say who may read it."""
    scheme, there, rest = url.partition("://")
    place = rest.partition("?")[0].partition("#")[0]
    host, slash, path = place.partition("/")
    name, _, port = host.rpartition(":")
    if "@" not in host and name and not port.isdigit() and "@" in path:  # a slash in a password
        return f"{scheme}{there}{path.rpartition('@')[2]}"
    return f"{scheme}{there}{host.rpartition('@')[2]}{slash}{path}"


def source_name(path: str) -> str:
    """A file's source name: its path in D/sources without the endings that say how it is packed."""
    name = path.strip("/")
    while Path(name).suffix.lower() in ENDINGS:
        name = name[: -len(Path(name).suffix)]
    return name


class Raw(Section):
    """Reading D/sources."""

    other_files: Literal["read", "ignore"] = Field(default="read", description="files of D/sources that no entry names")
    max_quarantined: Percent = Field(default=20.0, description="percent of a source's records; more stops raw or combined")
    max_record_bytes: int = Field(default=32 << 20, ge=1 << 10, description="a larger record is quarantined")
    max_unpacked_ratio: float = Field(default=200.0, gt=1, description="a packed file that unpacks to more is refused ...")
    max_unpacked_bytes: int = Field(default=256 << 20, ge=1, description="... once it has given this many bytes")


class Combined(Section):
    """Records to conversations: mixture, repairs, masks, licences."""

    seed: int = Field(default=0, ge=0, lt=2**63, description="chooses the rows that weight and cap keep")
    masks: list[MaskKind] = Field(
        default=["secret", "email", "phone", "card", "iban"], description="personal data and secrets that are masked"
    )
    repairs: list[Repair] = Field(default=[], description="faults of texts to repair; the others are left, and marked by rules")
    allowed_licenses: list[str] | None = Field(default=None, description="rows of other or unknown licences are dropped")


class Semantic(Section):
    """Duplicates in other words: prompt and answer are both similar, and numbers, negations and code are the same."""

    model: str = Field(default=EMBEDDED, description="of sentence-transformers, by name or path")
    prompt: Share = Field(default=0.95, gt=0, description="least cosine similarity of the prompts")
    answer: Share = Field(default=0.9, gt=0, description="least cosine similarity of the answers")
    exact_rows: int = Field(default=20_000, ge=0, description="up to so many the search is exact, beyond it approximate")


class Deduped(Section):
    """Exact and near duplicates."""

    near: bool = True
    threshold: Share = Field(default=0.8, gt=0, description="Jaccard similarity of word 3-gram sets")
    compare: Literal["all", "prompt", "answer"] = Field(default="all", description="user and assistant turns, or one side")
    keep_if_numbers_differ: bool = True
    permutations: int = Field(default=128, ge=16, le=512)
    semantic: Semantic | None = Field(default=None, description="a second stage, on sentence embeddings; default: none")
    bloom: bool = Field(default=False, description="hold Bloom filters instead of signatures, for more rows than memory")
    bloom_rows: int | None = Field(default=None, ge=1, description="rows to size the filters for; default: those there are")
    bloom_false_positives: float = Field(default=0.001, gt=0, lt=1, description="share of rows wrongly taken for duplicates")
    bloom_confirm: bool = Field(default=True, description="compare what the filters hit; without it hits go as they are")


class Benchmark(Section):
    """One entry of `benchmarks.files`: a test set on the hub or in an installed package, or how one in D/benchmarks is read."""

    path: str = Field(default="", description="file or folder, relative to D/benchmarks; of a package: one of its files")
    hub: str = Field(default="", pattern=r"^([\w.-]+(/[\w.-]+)?)?$", description="instead of path: a hub dataset, owner/name")
    package: str = Field(default="", pattern=r"^(\w[\w.-]*)?$", description="instead of path: an installed Python package")
    revision: str | None = Field(default=None, description="of the hub dataset: branch, tag or commit")
    config: str | None = Field(default=None, description="of the hub dataset; default: its only one, or `default`")
    split: str | None = Field(default=None, description="of the hub dataset; default: test, else validation, else everything")
    name: str = Field(default="", description="what the reports call it; default: the path without its ending, hub or package")
    columns: dict[str, str] = Field(default={}, description="question, answer, choices, context, solution: their column")
    encoding: str | None = Field(default=None, description="default: by byte order mark, else UTF-8")
    delimiter: str | None = Field(default=None, min_length=1, max_length=1, description="of CSV; default: seen from the lines")
    header: bool | list[str] | None = Field(default=None, description="of CSV: whether it has one, or the names of its columns")

    @model_validator(mode="after")
    def _complete(self) -> Benchmark:
        if sum(map(bool, (self.path or self.package, self.hub))) != 1:
            raise ValueError("say one of path (in D/benchmarks), hub (owner/name) or package (installed; path: one file of it)")
        if not self.hub and (self.revision or self.config or self.split):
            raise ValueError("revision, config and split are of hub datasets")
        self.__dict__["name"] = self.name or self.hub or self.package
        return self

    @property
    def dataset(self) -> Source:
        """The hub dataset as sources have it."""
        return Source(hub=self.hub, revision=self.revision, config=self.config, split=self.split or "test|validation|all")


class Benchmarks(Section):
    """Test sets in D/benchmarks and elsewhere."""

    files: list[Benchmark] = []

    @field_validator("files")
    @classmethod
    def _names_are_unique(cls, files: list[Benchmark]) -> list[Benchmark]:
        names = [entry.name for entry in files if entry.name]
        if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
            raise ValueError(f"two entries have the name {twice!r}; give each one of its own (name:)")
        return files


class ContaminationCandidates(Section):
    """Rows that may hold a test item in other words."""

    strength: float = Field(default=0.75, gt=0, le=2, description="score and margin of a candidate; less where numbers differ")
    score: Share = Field(default=0.72, gt=0, description="TF-IDF cosine of a candidate, however near other items are")
    numbers: Share = Field(default=0.5, description="of the smaller side's numbers, that agree in a near one")
    embeddings: str | None = Field(
        default=None,
        description="a model of sentence-transformers, by name or path (`embedded`), for neighbours by meaning too",
    )
    similarity: Share = Field(default=0.85, gt=0, description="cosine similarity of sentence embeddings of a candidate")


class Decontaminated(Section):
    """Rows that hold test items."""

    ngram: int = Field(default=13, ge=8, description="consecutive words of an item, telling ones, that make a leak")
    coverage: Share = Field(default=0.5, gt=0, description="share of an item's own 3-grams, close together, that makes a leak")
    paraphrases: Literal["review", "drop"] = Field(default="review", description="what becomes of contamination_candidates")


class RuleHits(Section):
    """Which rules of sft_assets/scored/rule_hits/rules are looked for, and what they do."""

    skip: list[str] = Field(default=[], description="rules, or classes of rules, not to look for")
    actions: dict[str, Literal["drop", "review", "signal"]] = Field(
        default={}, description="rule, or class of rules: what it does, where the default is wrong; a rule's own entry counts"
    )


class Budget(Section):
    """What one run may cost. A cap ends it, and `sft run --again` goes on."""

    calls: int | None = Field(default=None, ge=0, description="requests of one run")
    tokens: int | None = Field(default=None, ge=0, description="of prompts and replies in one run")
    money: float | None = Field(default=None, ge=0, description="of one run, in the currency of models.NAME.price")
    minutes: float | None = Field(default=None, gt=0, description="of one run")


class RowBudget(Budget):
    """What dear evidence may cost. `rows` is part of the result, the caps are not."""

    rows: int | None = Field(default=None, ge=0, description="contents that carry a score; those scored before come first")


CAPS = set(Budget.model_fields)  # of one run: they change no result
OF_METHODS = frozenset({"generations", "generation_checks", "generation_scores", "augmented"})
# what an asset reads of the sections of others, because it runs their functions
BORROWED: dict[str, dict[str, set[str]]] = {
    "chunks": {"combined": {"masks"}},
    "generations": {
        "combined": {"masks", "repairs", "allowed_licenses"},
        "judgements": {"model"},
        "rewards": {"model"},
    },
    "generation_checks": {
        "rule_hits": {"skip", "actions"},
        "deduped": {"near", "threshold", "permutations", "keep_if_numbers_differ", "compare"},
        "contamination_candidates": {"strength", "score", "numbers"},
        "decontaminated": {"ngram", "coverage", "paraphrases"},
    },
    "generation_scores": {
        "likelihoods": {"model"},
        "judgements": {"model", "rubrics"},
        "rewards": {"model"},
        "embeddings": {"model", "windows"},
    },
    "augmented": {  # what people wrote goes through the gates of generation_checks there
        "scored": {"thresholds"},
        "combined": {"masks"},
        "rule_hits": {"skip", "actions"},
        "deduped": {"near", "threshold", "permutations", "keep_if_numbers_differ", "compare"},
        "contamination_candidates": {"strength", "score", "numbers"},
        "decontaminated": {"ngram", "coverage", "paraphrases"},
    },
}


class Likelihoods(Section):
    """How well a small causal model foresees each answer, with and without its prompt."""

    model: str = Field(default=EMBEDDED, description="a causal language model, by name or path (safetensors)")
    rows: int | None = Field(default=150, ge=0, description="contents that carry a score; those scored before come first")
    minutes: float | None = Field(default=None, gt=0, description="of one run")


class Judgements(RowBudget):
    """What a language model says of each answer, by rubrics (prompt files)."""

    model: str = Field(default=EMBEDDED, description="of the endpoint that OPENAI_BASE_URL names")
    rubrics: list[str] = Field(default=["helpfulness"], description="files of prompts/, without .md; D/prompts comes first")
    rows: int | None = Field(default=40, ge=0, description="contents that carry a score; those scored before come first")


class ContaminationJudgements(RowBudget):
    """What a language model says of contamination candidates: the same task as the test item, or another."""

    judge: bool = Field(default=False, description="whether they are judged at all")
    model: str = Field(default=EMBEDDED, description="of the endpoint that OPENAI_BASE_URL names")


class Rewards(Section):
    """What a reward model gives each answer."""

    model: str | None = Field(default=None, description="a sequence-classification model, by name or path (safetensors)")
    rows: int | None = Field(default=None, ge=0, description="contents that carry a score; those scored before come first")
    minutes: float | None = Field(default=None, gt=0, description="of one run")


class Limits(Section):
    """Thresholds of one score."""

    drop_below: float | None = None
    drop_above: float | None = None
    review_below: float | None = None
    review_above: float | None = None


class Scored(Section):
    """The decision over the signals."""

    thresholds: dict[str, Limits] = Field(
        default={}, description="rubric, ifd, likelihood, conditional_loss, unconditional_loss, end_loss or reward: its limits"
    )
    same_item: Literal["drop", "review"] = Field(default="drop", description="a candidate judged to be the test item")
    other_item: Literal["keep", "review"] = Field(default="keep", description="a candidate judged to be another task")


class Descriptors(Section):
    """Length, turns, question type, code, maths, language and difficulty of each row. There is nothing to set."""


class Embeddings(Section):
    """The vector of each row's text."""

    model: str | None = Field(
        default=EMBEDDED,
        description="a model of sentence-transformers, by name or path; `embedded` is all-MiniLM-L6-v2, `static` a table of "
        "word vectors (English, many times as fast); null: no embeddings, so no topics",
    )
    windows: int | None = Field(default=1, ge=1, description="of a longer text than the model reads, windows read; null: all")


class Projection(Section):
    """UMAP: to five dimensions for the topics, to two for the map."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    fit_rows: int = Field(default=20_000, ge=100, description="of more contents a sample is fitted, the rest is placed by it")
    neighbors: int = Field(default=15, ge=2, le=200, description="UMAP's n_neighbors")
    min_dist: float = Field(default=0.1, ge=0, le=1, description="UMAP's, of the map; the topics have 0")


class Topics(Budget):
    """Topics, groups of them, and their names."""

    min_size: int | None = Field(default=None, ge=2, description="contents of the smallest topic; default: by their number")
    groups: int | None = Field(default=None, ge=1, description="of topics; default: as many as part best")
    model: str | None = Field(default=None, description="names the topics; default: they are named by their keywords")


class Clustered(Section):
    """Diversity: nothing is left out for it unless the recipe says so."""

    order: list[str] = Field(
        default=[], description="scores whose product puts rows in order, best first (rubrics, likelihood, ifd, reward)"
    )
    similarity: Share | None = Field(default=None, gt=0, description="cosine to a better row from which on a row goes (DEITA)")
    budget: int | None = Field(default=None, ge=0, description="most rows that stay")
    topic_cap: int | None = Field(default=None, ge=0, description="most rows of one topic")
    mix_by: Literal["topic", "group", "source", "language"] = Field(default="group", description="what `mix` names")
    mix: dict[str, Share] = Field(default={}, description="share of the rows that stay; what is not named shares the rest")

    @field_validator("mix")
    @classmethod
    def _shares_add_up(cls, mix: dict[str, float]) -> dict[str, float]:
        if sum(mix.values()) > 1 + 1e-9:
            raise ValueError(f"the shares add up to {sum(mix.values()):g}, which is more than 1")
        return mix


class Map(Section):
    """The map of all rows that stay and of those that were dropped."""

    max_dropped: int = Field(default=2000, ge=0, description="dropped rows that are embedded for it; duplicates need not be")
    max_rows: int = Field(default=50_000, ge=1, description="rows on the page; of more a sample")


class Gaps(Section):
    """Where rows are missing: the rows there are, by topic, difficulty, length, language and turns, against a target mix."""

    tail: Share = Field(
        default=0.5, description="each topic is to have as many rows as this quantile of the topics has; 0: topics as they are"
    )
    share: float = Field(default=0.1, ge=0, le=10, description="rows that may be missing at most, per row that there is")
    targets: dict[Dimension, dict[str, Share]] = Field(
        default={}, description="of a dimension: the share that its values are to have; what is not named shares the rest"
    )
    tasks: dict[str, str] = Field(default={}, description="task of an evaluation: the topic, or group, that it is about")
    weak_below: Share = Field(default=0.5, description="a task with a lower score raises the target of its topic")
    boost: float = Field(default=1.0, ge=0, le=100, description="so many times the target more at a score of 0")

    @field_validator("targets")
    @classmethod
    def _shares_add_up(cls, targets: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for name, shares in targets.items():
            if sum(shares.values()) > 1 + 1e-9:
                raise ValueError(f"the shares of {name} add up to {sum(shares.values()):g}, which is more than 1")
        return targets


class Chunks(Section):
    """The documents of D/documents, in pieces that questions can be asked about."""

    size: int = Field(default=1500, ge=100, le=100_000, description="characters of a chunk at most")
    smallest: int = Field(
        default=200, ge=0, description="characters: shorter pieces are joined to their neighbours, or left out"
    )
    license: str | None = Field(default=None, description="of the documents that say nothing of their own")
    licenses: dict[str, str] = Field(default={}, description="by file or folder of D/documents")


class Method(Section):
    """What all methods of generation have in common."""

    rows: int | None = Field(default=None, ge=0, description="rows to try for; default: as many as the gaps ask for")


class Documents(Method):
    """Questions and answers about chunks of documents, grounded in them (Augmentoolkit's way)."""

    questions: int = Field(default=3, ge=1, le=20, description="about a chunk, at most")
    turns: int = Field(default=1, ge=1, le=8, description="questions and answers of one conversation")
    repairs: int = Field(default=1, ge=0, le=5, description="attempts to mend what a check found")


class Answers(Method):
    """Answers for rows that are prompts only."""

    rows: int | None = Field(default=None, ge=0, description="rows to try for; default: all prompts without an answer")


class SelfInstruct(Method):
    """New instructions from those of a sparse topic (https://arxiv.org/abs/2212.10560)."""

    examples: int = Field(default=3, ge=1, le=20, description="instructions that are shown")
    rouge: Share = Field(default=0.7, gt=0, description="ROUGE-L to another instruction from which on a new one goes")
    min_words: int = Field(default=3, ge=1)
    max_words: int = Field(default=150, ge=1)
    blacklist: list[str] = Field(
        default=["image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot",
                 "go to", "video", "audio", "music", "flowchart", "diagram"],
        description="words that ask for what a language model cannot give",
    )  # fmt: skip


Operator = Literal["constraints", "deepening", "concretizing", "reasoning", "breadth"]


class EvolInstruct(Method):
    """Instructions made harder, or others of their kind (WizardLM, https://arxiv.org/abs/2304.12244)."""

    operators: list[Operator] = Field(default=list(get_args(Operator)), min_length=1)
    rounds: int = Field(default=1, ge=1, le=8, description="an instruction is evolved so many times")
    min_words: int = Field(default=5, ge=1, description="of an evolved instruction")


class Personas(Method):
    """Instructions rewritten as other people would put them."""

    personas: list[str] = Field(default=[], description="who asks, each in a sentence; default: those of the package")


class Preferences(Method):
    """Several answers to a prompt, rated; the best and the worst are a pair (UltraFeedback)."""

    rows: int | None = Field(default=100, ge=0, description="prompts to try for; null: every row there is")
    models: list[str] = Field(default=[], description="that answer; default: generations.model")
    temperatures: list[Annotated[float, Field(ge=0, le=2)]] = Field(default=[0.2, 1.0], min_length=1)
    systems: list[str] = Field(
        default=[""], min_length=1, description="system prompts of the answers; they are not in the pair"
    )
    rated_by: Literal["judge", "reward"] = Field(default="judge", description="judgements.model, or rewards.model")
    aspects: list[str] = Field(
        default=[f"ultrafeedback_{name}" for name in ("instruction_following", "honesty", "truthfulness", "helpfulness")],
        min_length=1,
        description="rubrics whose mean is the judge's rating",
    )
    margin: float = Field(default=1.0, gt=0, description="between the ratings of the two answers of a pair, at least")
    conflicts: bool = Field(default=True, description="whether rows of one prompt and different answers are a source of pairs")


class Methods(Section):
    """What makes rows. A method that is not named makes none; `self_instruct: {}` is one with its defaults."""

    documents: Documents | None = None
    answers: Answers | None = None
    self_instruct: SelfInstruct | None = None
    evol_instruct: EvolInstruct | None = None
    personas: Personas | None = None
    preferences: Preferences | None = None

    @property
    def chosen(self) -> list[str]:
        """The methods that are named, in the package's order."""
        return [name for name, method in self if method is not None]


class Generations(Budget):
    """Rows that language models make."""

    model: str = Field(default=EMBEDDED, description="of the endpoint that OPENAI_BASE_URL names")
    checker: str | None = Field(default=None, description="the model that checks what was made; default: `model`")
    seed: int = Field(default=0, ge=0, lt=2**31)
    oversample: float = Field(default=2.0, ge=1, le=20, description="rows tried for, per row that is missing")
    trial: int = Field(
        default=32, ge=1, description="seeds of a method that are tried together; the yield is looked at after each"
    )
    min_yield: Share = Field(
        default=0.05, description="a method of which a smaller share passes its checks and the gates stops"
    )
    methods: Methods = Methods()


class GenerationChecks(Section):
    """The cheap gates, as combined, rule_hits, deduped and decontaminated have them. There is nothing to set."""


class GenerationScores(Budget):
    """The dear gates: what enabled ones could not score is not accepted."""

    likelihood: bool = Field(default=True, description="whether likelihoods.model is a gate")
    judge: bool = Field(default=False, description="whether judgements.model is one, by judgements.rubrics")
    reward: bool = Field(default=False, description="whether rewards.model is one")


class Augmented(Section):
    """What generated rows have to come up to, beside what scored asks of all rows."""

    thresholds: dict[str, Limits] = Field(
        default={"ifd": Limits(drop_above=1.0)}, description="as in scored.thresholds, which hold for generated rows as well"
    )


class Report(Section):
    """The page that tells a lead where the rows came from and where they went."""

    title: str = Field(default="", description="default: the name of the export")
    examples: int = Field(
        default=3, ge=0, le=50, description="rows that are shown for each reason; 0: no text of the data at all"
    )


class Price(Section):
    """Of a million tokens, in any currency."""

    input: float = Field(default=0.0, ge=0)
    output: float = Field(default=0.0, ge=0)


class ModelSettings(Section):
    """How a model is asked; nothing here changes a result."""

    price: Price = Price()
    concurrency: int = Field(default=16, ge=1, le=1024, description="requests in flight")
    timeout: float = Field(default=120.0, gt=0, description="seconds for one request")
    attempts: int = Field(default=6, ge=1, le=20, description="at one request, before it counts as failed")


class Exported(Section):
    """The finished dataset."""

    name: str = "sft-dataset"
    validation_share: Share = Field(default=0.05, description="of the rows, in whole groups of rows that are tied")
    test_share: Share = Field(default=0.05, description="of the rows, in whole groups of rows that are tied")
    seed: int = Field(default=0, ge=0, lt=2**63)
    without_review: bool = Field(default=False, description="leave out rows marked for review")
    formats: list[ExportFormat] = ["messages", "alpaca", "preference"]
    repeat: dict[str, Annotated[float, Field(ge=1, le=100)]] = Field(
        default={}, description="how many times the rows of a source stand in the train files; 1.5: half of them twice"
    )
    incompatible_licenses: Literal["refuse", "allow"] = Field(
        default="refuse", description="licences in one dataset whose terms contradict each other"
    )
    tokenizer: str | None = Field(
        default=None, description="counts the tokens of each row: `embedded`, or a tokenizer by name or path"
    )

    @model_validator(mode="after")
    def _shares_are_of_one_whole(self) -> Exported:
        if self.validation_share + self.test_share > 1:
            raise ValueError("validation_share and test_share together are more than all rows: lower one of them")
        return self


class Workers(Section):
    """What one worker of a heavy map gets on a Ray cluster, and how many there are."""

    cpus: float = Field(default=1.0, gt=0, le=1024, description="of one worker; torch computes on so many threads")
    gpus: float = Field(default=0.0, ge=0, le=64, description="of one worker; a model is then loaded there")
    most: int | None = Field(default=None, ge=1, le=10_000, description="workers; default: as many as the cluster has room for")


class RayCluster(Section):
    """A Ray cluster, and what each heavy map gets of it."""

    address: str = Field(
        default="auto", min_length=1, description="HOST:PORT; `auto`: of this machine; `local`: one for the run alone"
    )
    records: Workers = Workers()
    signatures: Workers = Workers()
    scans: Workers = Workers()
    rules: Workers = Workers()
    likelihoods: Workers = Workers()
    rewards: Workers = Workers()
    embeddings: Workers = Workers()
    calls: Workers = Workers()


class Engine(Section):
    """How, never what: nothing here changes a result (but for the last digits that a GPU computes) or makes anything stale."""

    memory_limit: str = Field(
        default="2GB", pattern=r"^\d+(\.\d+)? ?([KMGT]i?B)$", description="DuckDB's; what does not fit is spilled to disk"
    )
    threads: int | None = Field(default=None, ge=1, le=256)
    temp_directory: str | None = Field(
        default=None,
        min_length=1,
        description="where DuckDB spills to: a folder, beside the recipe if it is relative; default: .spill in the data folder",
    )
    ray: RayCluster | None = Field(default=None, description="run the heavy maps on a Ray cluster (extra `ray`)")
    keep_versions: int = Field(default=5, ge=1, description="versions of each state that stay in the database")
    owners: list[Annotated[str, Field(pattern=r"^(team:[\w-]+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7})$")]] = Field(
        default=["team:data"], description="who answers for the assets: e-mail addresses, or team:NAME"
    )
    fresh_days: float = Field(
        default=30.0, ge=0.01, le=3650, description="after so many days without a run an asset counts as out of date"
    )
    keep_exports: int = Field(default=10, ge=1, description="exports that stay; older ones go once a new one is complete")


class Recipe(Section):
    """The whole file."""

    sources: list[Source] = []
    raw: Raw = Raw()
    combined: Combined = Combined()
    deduped: Deduped = Deduped()
    benchmarks: Benchmarks = Benchmarks()
    contamination_candidates: ContaminationCandidates = ContaminationCandidates()
    decontaminated: Decontaminated = Decontaminated()
    rule_hits: RuleHits = RuleHits()
    likelihoods: Likelihoods = Likelihoods()
    judgements: Judgements = Judgements()
    contamination_judgements: ContaminationJudgements = ContaminationJudgements()
    rewards: Rewards = Rewards()
    scored: Scored = Scored()
    descriptors: Descriptors = Descriptors()
    embeddings: Embeddings = Embeddings()
    projection: Projection = Projection()
    topics: Topics = Topics()
    clustered: Clustered = Clustered()
    map: Map = Map()
    chunks: Chunks = Chunks()
    gaps: Gaps = Gaps()
    generations: Generations = Generations()
    generation_checks: GenerationChecks = GenerationChecks()
    generation_scores: GenerationScores = GenerationScores()
    augmented: Augmented = Augmented()
    exported: Exported = Exported()
    report: Report = Report()
    models: dict[str, ModelSettings] = Field(default={}, description="how each model is asked, by name")
    engine: Engine = Engine()

    @model_validator(mode="after")
    def _money_has_prices(self) -> Recipe:
        for name, models in self._asked().items():
            for model in models:
                price = self.models.get(model or "", ModelSettings()).price
                if getattr(self, name).money is not None and model not in (None, EMBEDDED) and price == Price():
                    raise ValueError(
                        f"{name}.money is a cap, but there is no price for it to be kept by: say models: {{{model}: "
                        "{price: {input: ..., output: ...}}} (of a million tokens)"
                    )
        return self

    @model_validator(mode="after")
    def _reward_has_a_model(self) -> Recipe:
        if self.generation_scores.reward and self.rewards.model is None:
            raise ValueError("generation_scores.reward is a gate, but rewards.model names no model for it")
        return self

    def _asked(self) -> dict[str, list[str | None]]:
        """The models that each section's money is spent on."""
        made, pairs = self.generations, self.generations.methods.preferences
        rating = [self.judgements.model] if pairs and pairs.rated_by == "judge" else []
        return {
            **{name: [getattr(self, name).model] for name in ("judgements", "contamination_judgements", "topics")},
            "generations": [made.model, made.checker, *(pairs.models if pairs else []), *rating],
            "generation_scores": [self.judgements.model] if self.generation_scores.judge else [],
        }

    @field_validator("sources")
    @classmethod
    def _names_are_unique(cls, sources: list[Source]) -> list[Source]:
        for field in ("path", "url", "name"):
            seen: set[str] = set()
            for source in sources:
                value = getattr(source, field)
                if not value:
                    continue
                if value in seen:
                    raise ValueError(f"two entries have the {field} {value!r}; give each one of its own")
                seen.add(value)
        return sources

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a recipe; a file that is not there is the recipe of all defaults.

        Raises:
            SftError: names the file, the line, what is wrong there and what would be right.
        """
        try:
            text = path.read_text("utf-8-sig")
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise SftError(f"{path}: cannot be read: {error}") from None
        document = strict_yaml.read(text, path)
        data = document.value
        if data is None:
            return cls()
        if not isinstance(data, dict):
            raise SftError(f"{path}:1: a recipe is a mapping of sections ({', '.join(cls.model_fields)})")
        try:
            return cls.model_validate({k: v if v is not None else [] if k == "sources" else {} for k, v in data.items()})
        except ValidationError as error:
            lines = [_explain(cls, path, document, e) for e in error.errors()]
            raise SftError("\n".join(lines)) from None

    def part(self, asset: str) -> dict[str, Any]:
        """What of the recipe the asset's result depends on."""
        own: dict[str, Any] = getattr(self, asset).model_dump(mode="json", exclude=CAPS)
        entry_fields = {
            # how its records are read: combined finds it in raw's table
            "raw": {"path", "hub", "url", "revision", "config", "split", "name", "format", "encoding", "delimiter", "header",
                    "columns", "tags", "roles", "template", "continuation", "paths", "max_quarantined"},
            "combined": {"name", "license", "language", "system", "weight", "cap", "max_quarantined", "repairs"},
            "deduped": {"name", "priority"},
        }.get(asset)  # fmt: skip
        if entry_fields:
            defaults = Source(path="-", name="-").model_dump(include=entry_fields)
            entries = [s.model_dump(mode="json", include=entry_fields) for s in self.sources]
            # an entry that says nothing about this asset is as good as none; one that names its source says something of raw
            said = [e for e in entries if asset == "raw" or {**defaults, "name": e["name"]} != e]
            own["sources"] = sorted(said, key=lambda e: str(e["name"]))
        if asset == "combined":
            own["max_quarantined"] = self.raw.max_quarantined
        if asset in OF_METHODS and not self.generations.methods.chosen:
            return {}  # nothing is generated: nothing of this matters
        for section, fields in BORROWED.get(asset, {}).items():
            own[section] = getattr(self, section).model_dump(mode="json", include=fields)
        return own

    def shown(self, asset: str | None = None) -> dict[str, Any]:
        """The recipe, or an asset's part of it, as it may be told: no URL says who may read it."""
        told = self.part(asset) if asset else self.model_dump(mode="json")
        for entry in told.get("sources", []):
            if entry.get("url"):
                entry["url"] = shown_url(entry["url"])
        return told

    def digest(self, asset: str) -> str:
        """Ten hex digits over `part(asset)`."""
        text = orjson.dumps(self.part(asset), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(text).hexdigest()[:10]

    def source(self, name: str) -> Source:
        """The entry of that name; for a file that no entry names, the defaults."""
        return next((s for s in self.sources if s.name == name), None) or Source(path=name, name=name)


def _explain(model: type[BaseModel], path: Path, document: strict_yaml.Document, error: Any) -> str:
    """One validation error as file, line, place, problem and, for a misspelt name, the right one."""
    loc, line = error["loc"], document.line(error["loc"])
    place = ".".join(str(step) for step in loc if step != "[key]")
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"unknown name; {did_you_mean(str(loc[-1]), model_at(model, loc[:-1]).model_fields)}"
    elif "input" in error and not isinstance(error["input"], dict):
        message += f" (it says {error['input']!r})"
    return f"{path}:{line}: {place}: {message}" if place else f"{path}: {message}"


def model_at(model: type[BaseModel], loc: tuple[Any, ...]) -> type[BaseModel]:
    for step in loc:
        if isinstance(step, int) or step not in model.model_fields:  # an element of a list, a key of a mapping
            continue
        annotation = model.model_fields[step].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return model
