"""What the recipe and the evaluations ask of topics: shares of some, and more of those that weak tasks are about.

gsm8k  0.22                    a group called "numbers, gsm8k"    ->   each topic of it
hendrycks_math_algebra  0.31   a topic with the keyword "algebra" ->   that topic
mmlu_law  0.35                 gaps.tasks: {mmlu_law: courts}     ->   the topic, or group, "courts"
triviaqa  0.28                 nothing like it                    ->   no topic: that is said
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sft_assets.augmented.gaps.evaluations import Evaluation, read_evaluations
from sft_assets.augmented.gaps.targets import Floats
from sft_assets.errors import SftError, did_you_mean
from sft_assets.folder import Folder
from sft_assets.recipe import Gaps

WORD = re.compile(r"[^\W_]+")
TELLING = 4  # characters of a word that may say what a task is about
# fmt: off
HOW = frozenset((  # words of tasks' names that say how it is asked, not about what
    "task", "tasks", "test", "tests", "eval", "bench", "benchmark", "challenge", "easy", "hard", "main", "open", "multi",
    "choice", "multiple", "shot", "fewshot", "zeroshot", "prompt", "chat", "instruct", "completion", "high", "school",
    "college", "professional", "elementary", "generate", "generation", "multilingual", "english", "other", "mini", "full",
))
# fmt: on
SHOWN = 5


class Topic(NamedTuple):
    """A topic as tasks are matched to it."""

    name: str
    group: str | None = None
    keywords: tuple[str, ...] = ()


class Weak(NamedTuple):
    """A weak task. places: of the topics that it is about. by: what says so: 'table', 'recipe' or 'name'."""

    task: str
    score: float
    metric: str
    place: str
    places: tuple[int, ...]
    by: str


@dataclass(frozen=True)
class Asked:
    """What the section and the evaluations ask for. tasks: how many there are."""

    topic_shares: dict[int, float]
    weak: list[Weak]
    tasks: int
    absent: list[str]

    @property
    def without_topic(self) -> list[Weak]:
        return [one for one in self.weak if not one.places]

    def tasks_of(self, place: int) -> list[str]:
        """The weak tasks that are about a topic."""
        return [one.task for one in self.weak if place in one.places]

    def factors(self, topics: int, section: Gaps) -> Floats:
        """By how much a topic's target is multiplied: of several weak tasks the weakest counts, as one subject may be cut into
        fifty tasks."""
        factors = np.ones(topics)
        for one in self.weak:
            factor = 1 + section.boost * (section.weak_below - one.score) / section.weak_below
            for place in one.places:
                factors[place] = max(factors[place], factor)
        return factors


def asked_of(folder: Folder, section: Gaps, topics: Sequence[Topic], sizes: Floats, say: Callable[[str], None]) -> Asked:
    """What is asked of topics. sizes: the rows of each. say: hears what could not be followed.

    Raises:
        SftError: an evaluation cannot be used, or the recipe names topics of which there is none.
    """
    evaluations, wanted = read_evaluations(folder, say), section.targets.get("topic", {})
    absent = check_named(list(wanted), topics, f"{folder.recipe}: gaps.targets.topic", say)
    absent += check_named(list(dict.fromkeys(section.tasks.values())), topics, f"{folder.recipe}: gaps.tasks", say)
    weak = [_weak(one, folder, section, topics, say) for one in evaluations if one.score < section.weak_below]
    asked = Asked(_topic_shares(wanted, topics, sizes), weak, len(evaluations), absent)
    if lost := asked.without_topic:
        shown = ", ".join(one.task for one in lost[:SHOWN]) + (f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else "")
        remedy = f"say gaps.tasks: {{{lost[0].task}: TOPIC}} in {folder.recipe}" if topics else "there are no topics at all"
        say(f"no topic is known for {len(lost)} weak tasks ({shown}), so they raise no target; {remedy}")
    return asked


def _weak(one: Evaluation, folder: Folder, section: Gaps, topics: Sequence[Topic], say: Callable[[str], None]) -> Weak:
    """The task with the topics that it is about: as a table of scores says, else as the recipe does, else those alike."""
    if one.topic is not None:
        places, by = places_named(one.topic, topics), "table"
        if not places:
            say(f"{folder.evaluations / one.place}: {one.task}: {_no_topic(one.topic, topics)}")
    elif one.task in section.tasks:
        places, by = places_named(section.tasks[one.task], topics), "recipe"
    else:
        places, by = places_alike(one.task, topics), "name"
    return Weak(one.task, one.score, one.metric, one.place, tuple(places), by)


def _topic_shares(wanted: Mapping[str, float], topics: Sequence[Topic], sizes: Floats) -> dict[int, float]:
    """The shares that are asked for, by the topic's place; a group's is parted among its topics that have none of their own, by
    their rows."""
    own = {topic.name for topic in topics}.intersection(wanted)
    shares: dict[int, float] = {}
    for name, share in wanted.items():
        places = [place for place in places_named(name, topics) if topics[place].name == name or topics[place].name not in own]
        total = sum(sizes[place] for place in places)
        shares |= {place: share * float(sizes[place] / total) for place in places}
    return shares


# ----------------------------------------------------------------------------------------------------------------- matching


def places_named(name: str, topics: Sequence[Topic]) -> list[int]:
    """The places of the topic of that name, else of the topics of the group of that name."""
    exact = [place for place, topic in enumerate(topics) if topic.name == name]
    return exact or [place for place, topic in enumerate(topics) if topic.group == name]


def places_alike(task: str, topics: Sequence[Topic]) -> list[int]:
    """The places of the topics whose name, group or keywords have the task's name in them; else most of its telling words."""
    words = _words(task)
    texts = [[_words(text) for text in (topic.name, topic.group or "", *topic.keywords)] for topic in topics]
    whole = [place for place, lists in enumerate(texts) if words and any(_contains(text, words) for text in lists)]
    if whole:
        return whole
    telling = {word for word in words if word not in HOW and (len(word) >= TELLING or not word.isascii())}
    hits = [sum(any(has.startswith(word) for text in lists for has in text) for word in telling) for lists in texts]
    return [place for place, n in enumerate(hits) if n and n == max(hits)]


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def _contains(text: Sequence[str], words: Sequence[str]) -> bool:
    return any(list(text[i : i + len(words)]) == list(words) for i in range(len(text) - len(words) + 1))


def check_named(names: Sequence[str], topics: Sequence[Topic], where: str, say: Callable[[str], None]) -> list[str]:
    """The names that are no topic and no group. Topics are named by their rows, and a name may be gone when rows were added: if
    others are there, that is said, else it is an error.

    Raises:
        SftError: none of them is there.
    """
    absent = [name for name in names if not places_named(name, topics)]
    if not absent:
        return []
    said = f"{where}: {_no_topic(absent[0], topics)}"
    if len(absent) == len(names):
        raise SftError(said)
    say(said)
    return absent


def _no_topic(name: str, topics: Sequence[Topic]) -> str:
    known = dict.fromkeys([*(t.name for t in topics), *(t.group for t in topics if t.group)])
    if not known:
        return "there is no topic at all: embeddings.model is null, or nothing was embedded"
    return f"there is no topic or group {name!r} among the rows; {did_you_mean(name, known, 'there are')}"
