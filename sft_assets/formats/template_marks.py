"""The chat templates that are known, and how each of them marks its turns.

    chatml     <|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\nHo<|im_end|>
    llama-2    [INST] <<SYS>>\\nBe brief.\\n<</SYS>>\\n\\nHi [/INST] Ho </s><s>[INST] More [/INST] Yes </s>
    guanaco    ### Human: Hi### Assistant: Ho
    Q/A        Q: Hi\\nA: Ho

To add one: a row in TEMPLATES, or in LABELS where the marks are words that any text may hold. The first that fits is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sft_assets.formats.turns import ROLES

BEGINS = ("<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>", "<|endoftext|>", "<｜begin▁of▁sentence｜>")
ENDS = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "<｜end▁of▁sentence｜>")
BEGIN = re.compile(rf"\s*(?:{'|'.join(map(re.escape, BEGINS))})")
AVAILABLE = "tools"  # instead of a role: the list of tools
INPUT = "input"  # instead of a role: more of the user's turn
Lead = Literal["", "system", "user"]
LONGEST_LEAD = 1000  # characters before the first plain label: more than a question's context is an article

START = r"\A\s{0,8}"
GAP = rf"\s{{0,8}}(?:(?:{'|'.join(map(re.escape, ENDS))})\s{{0,8}})?(?:<s>\s?)?"  # white space and end marks between turns
NEXT = r" ?</s>\s{0,2}(?:<s>)?\s{0,2}"  # between an answer and the next question of the [INST] templates


@dataclass(frozen=True)
class Template:
    """How a template marks turns. Each group of `mark` is called as its role, or `word` where it holds a name in `roles`."""

    name: str
    key: str  # stands in every text of this template
    mark: re.Pattern[str]  # where a turn begins, with all that the template puts between its content and the one before
    roles: Mapping[str, str]
    needs: re.Pattern[str] | None = None  # is found in every text of this template
    never: re.Pattern[str] | None = None  # is found in none
    preamble: re.Pattern[str] | None = None  # text before the first mark that says nothing
    lead: Lead = ""  # what other text before the first mark is part of; "": there is none
    ends: tuple[str, ...] = ()  # of a turn, beyond ENDS: they are part of the next mark, but the last turn has none
    alternates: bool = True  # a turn of user, then one of assistant
    lines: bool = False  # the line breaks before a mark are the template's
    padded: bool = False  # so is one blank before an end

    def fits(self, text: str) -> bool:
        return (not self.needs or bool(self.needs.search(text))) and not (self.never and self.never.search(text))


def framed(name: str, key: str, mark: str, *ends: str, roles: Mapping[str, str] = ROLES) -> Template:
    """Turns have a mark at their beginning and one at their end: a beginning counts after an end only."""
    before = "|".join(map(re.escape, ends))
    return Template(name, key, re.compile(f"(?:{START}|(?:{before}){GAP}){mark}"), roles, ends=ends, alternates=False)


def instructed(name: str, closed: bool) -> Template:
    """Questions stand in [INST], answers after it. `closed`: with an end mark, which the next question must follow."""
    gap = NEXT if closed else rf"(?:{NEXT}|\s?)"
    mark = rf"""
        (?P<system>{START}(?:\[SYSTEM_PROMPT\]|\[INST\]\s?<<SYS>>)\s?)
        |(?P<tools>(?:{START}|{gap}|\[/SYSTEM_PROMPT\]\s?)\[AVAILABLE_TOOLS\]\s?)
        |(?P<user>(?:{START}|{gap}|\[/SYSTEM_PROMPT\]\s?|\s?\[/AVAILABLE_TOOLS\]\s?)\[INST\]\s?|\s?<</SYS>>\s{{0,2}})
        |(?P<tool>{gap}\[TOOL_RESULTS\]\s?)
        |(?P<assistant>\s?(?:\[/INST\]|\[/TOOL_RESULTS\])\s?)
    """
    return Template(
        name,
        "[/INST]",
        re.compile(mark.replace(" ?", "[ ]?"), re.VERBOSE),
        {},
        needs=re.compile(rf"{NEXT}\[") if closed else None,
        never=re.compile(rf"\A(?!{START}\[INST\]\s?<<SYS>>)") if name == "llama-2" else None,
        padded=True,
    )


def headed(name: str, key: str, mark: str, roles: Mapping[str, str], lead: Lead = "") -> Template:
    """Turns begin with a mark at the beginning of a line, and end where the next one begins."""
    return Template(name, key, re.compile(f"^{mark}", re.MULTILINE), roles, lead=lead, lines=True)


def labelled(user: str, assistant: str, lead: Lead = "user") -> Template:
    """Turns begin with a word and a colon. A text before the first is part of the question, with no label between them."""
    system = "SYSTEM" if user == "USER" else "System"
    return Template(
        f"{user}/{assistant}",
        f"{assistant}:",
        re.compile(rf"^(?P<word>{user}|{assistant}|{system}):(?:[ \t]*\r?\n|[ \t])?", re.MULTILINE),
        {user.lower(): "user", assistant.lower(): "assistant", "system": "system"},
        never=re.compile(rf"(?<=[^\n\w])(?:{user}|{assistant}):(?=\s)"),
        lead=lead,
        lines=True,
    )


NAMES = {"human": "user", "user": "user", "assistant": "assistant", "bot": "assistant", "ai": "assistant", "system": "system"}

TEMPLATES: tuple[Template, ...] = (
    framed("chatml", "<|im_start|>", r"<\|im_start\|>(?P<word>[^\n<]{1,40})(?:\n|<\|im_sep\|>|\Z)", "<|im_end|>"),
    framed(
        "llama-3",
        "<|start_header_id|>",
        r"<\|start_header_id\|>(?P<word>[^\n<]{1,40})<\|end_header_id\|>\n{0,2}",
        "<|eot_id|>",
        "<|eom_id|>",
    ),
    framed(
        "llama-4", "<|header_start|>", r"<\|header_start\|>(?P<word>[^\n<]{1,40})<\|header_end\|>\n{0,2}", "<|eot|>", "<|eom|>"
    ),
    framed("gemma", "<start_of_turn>", r"<start_of_turn>(?P<word>[^\n<]{1,40})(?:\n|\Z)", "<end_of_turn>"),
    framed("phi-3", "<|user|>", r"<\|(?P<word>system|user|assistant|tool)\|>\n?", "<|end|>"),
    framed("oasst", "<|prompter|>", r"<\|(?P<word>system|prompter|assistant)\|>", "<|endoftext|>"),
    framed("zephyr", "<|user|>", r"<\|(?P<word>system|user|assistant)\|>\n?", "</s>", "<|endoftext|>"),
    Template(
        "tulu",
        "<|user|>",
        re.compile(rf"(?:{START}|\n|(?:</s>|<\|endoftext\|>)\s{{0,8}})<\|(?P<word>system|user|assistant)\|>\n"),
        NAMES,
    ),
    framed(
        "moss",
        "<eoh>",
        r"(?:\[|<\|)(?P<word>Human|MOSS)(?:\]|\|>): ?",
        "<eoh>",
        "<eoa>",
        "<eom>",
        roles={"human": "user", "moss": "assistant"},
    ),
    instructed("llama-2", closed=True),
    instructed("llama-2", closed=False),
    instructed("mistral", closed=True),
    instructed("mistral", closed=False),
    Template(
        "deepseek",
        "<｜User｜>",
        re.compile("(?:<｜end▁of▁sentence｜>)?<｜(?P<word>User|Assistant)｜>"),
        NAMES,
        lead="system",
    ),
    Template(
        "alpaca",
        "Response",
        re.compile(r"^### ?(?P<word>Instruction|Input|Response)(?::[ \t]*|[ \t]*(?=\r?\n|\Z))(?:\r?\n)?", re.MULTILINE),
        {"instruction": "user", "input": INPUT, "response": "assistant"},
        preamble=re.compile(r"\A\s*Below is an instruction that describes a task[^\n]*\s*"),
        lead="system",
        ends=("### End",),
        lines=True,
    ),
    headed("orca", "### Assistant:", r"### (?P<word>System|User|Assistant):[ \t]*(?:\r?\n)?", NAMES),
    Template(
        "guanaco", "### Human:", re.compile(rf"(?:{START}|\s{{0,2}})### (?P<word>Human|Assistant): ?"), NAMES, lead="system"
    ),
    headed("redpajama", "<bot>:", r"<(?P<word>human|bot)>: ?", NAMES),
    headed("baize", "[|AI|]", r"\[\|(?P<word>Human|AI)\|\] ?", NAMES, lead="system"),
    Template(
        "glaive",
        "ASSISTANT:",
        re.compile(r"^(?P<word>SYSTEM|USER|ASSISTANT|FUNCTION RESPONSE): ?", re.MULTILINE),
        NAMES | {"function response": "tool"},
        needs=re.compile(r"<\|endoftext\|>|<functioncall>|FUNCTION RESPONSE:"),
        alternates=False,
        lines=True,
        padded=True,
    ),
    Template(
        "vicuna",
        "ASSISTANT:",
        re.compile(rf"(?:{START}|\s?</s>\s?|\s{{1,2}})(?P<word>USER|ASSISTANT): ?"),
        NAMES,
        needs=re.compile(r"\A\s*(?:A (?:chat|conversation) between\b|USER:)"),
        lead="system",
    ),
    Template(
        "anthropic",
        "\n\nAssistant:",
        re.compile(rf"(?:{START}|\n\n)(?P<word>Human|Assistant): ?"),
        NAMES,
        lead="system",
        alternates=False,
    ),
)
LABELS: tuple[Template, ...] = (
    labelled("User", "Assistant"),
    labelled("USER", "ASSISTANT"),
    labelled("User", "AI"),
    labelled("User", "Bot"),
    labelled("Human", "Assistant"),
    labelled("Human", "AI"),
    labelled("Human", "Bot"),
    labelled("Q", "A"),
    labelled("Question", "Answer"),
    labelled("Prompt", "Response"),
    labelled("Instruction", "Response"),
    labelled("Input", "Output", lead=""),  # with a text before them they are the examples of a programming problem
)
