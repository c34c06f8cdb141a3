"""What the command line shows: tables, progress bars, the life of a row. Text of the data is never taken for markup."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from sft_assets.add import Glimpse, Plan
    from sft_assets.augmented.gaps.report import Report
    from sft_assets.clustered.search import Found
    from sft_assets.decontaminated.check import Check
    from sft_assets.evidence import Estimate
    from sft_assets.explain import Life
    from sft_assets.models.door import Spent
    from sft_assets.scored.judgements.check import Check as JudgeCheck
    from sft_assets.selection import Selected
    from sft_assets.verbs import Workspace
    from sft_assets.warehouse import Version
    from sft_assets.what_if import WhatIf

out = Console(highlight=False)
EXAMPLES = 5
CELLS = 20  # that are shown of those that lack rows
AROUND = 100  # characters of a row before and after what it shares with a test item
MARKED = ("spans", "matched", "item")  # of a leak, shown in the texts themselves


def plain(text: str) -> str:
    """Text of the data or of an error, so that rich takes no bracket of it for markup."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text))


class Bars:
    """Progress bars, one an asset, on a terminal; lines elsewhere."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, console=out, transient=True)
        self.console = self.progress.console
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        from sft_assets.asset import told_to

        self.progress.start()
        self.told = told_to(self.advance, self.say)
        self.told.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.told.__exit__(None, None, None)
        self.progress.stop()

    def advance(self, name: str, done: int, total: int | None) -> None:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=total)
        self.progress.update(self.tasks[name], completed=done, total=total)

    def say(self, text: str) -> None:
        self.console.print(f"[dim]{plain(text)}[/]", soft_wrap=True)

    def version(self, name: str, version: Version) -> None:
        if name in self.tasks:
            self.progress.remove_task(self.tasks.pop(name))
        report = version.report
        if "in" not in report:
            counts = f"{report['kept']:,} entries"
        else:
            gone = sum(report["dropped"].values()) + sum(report["quarantined"].values())
            counts = f"{report['in']:,} in, {report['kept']:,} kept, {gone:,} gone"
        self.console.print(f"[green]✓[/] {name}: {counts} [dim]({version.seconds:.1f} s)[/]")


def plan(stale: Mapping[str, list[str]], may_follow: Sequence[str], estimates: Mapping[str, Estimate]) -> None:
    """What is stale and why, what may become so, and what models would be asked."""
    table = Table("asset", "stale because", box=None, header_style="bold", pad_edge=False)
    for name, why in stale.items():
        table.add_row(name, plain("; ".join(why)))
    for name in may_follow:
        table.add_row(f"[dim]{name}[/]", "[dim]may follow, if what it is made from comes out different[/]")
    out.print(table)
    spending(estimates)


def spending(estimates: Mapping[str, Estimate]) -> None:
    """What models would be asked, and what it would cost."""
    asked = {name: one for name, one in estimates.items() if one.contents != 0}
    if not asked:
        return
    out.print()
    table = Table(
        "asks a model", "model", "rows", "new", "calls", "tokens", "cost", "", box=None, header_style="bold", pad_edge=False
    )
    for column in range(2, 7):
        table.columns[column].justify = "right"
    for name, one in asked.items():
        numbers = [_known(one.contents), _known(one.new)]
        numbers += ["", "", ""] if one.local else [_known(one.calls), _known(one.tokens), _known(one.cost)]
        table.add_row(name, plain(one.model), *numbers, "[dim]at most[/]" if one.bound else "")
    out.print(table)
    if any(None in (one.contents, one.calls) and not one.local for one in asked.values()):
        out.print("[dim]?: not known before combined has run[/]")


def _known(number: float | None) -> str:
    if number is None:
        return "?"
    return f"{number:,}" if isinstance(number, int) else f"{number:,.4f}".rstrip("0").rstrip(".")


def files(versions: Mapping[str, Version], most: int | None = None) -> None:
    """What combined made of each source file."""
    from sft_assets.combined.summary import lines

    entries = versions["combined"].report.get("source_files", []) if "combined" in versions else []
    header, *rows = lines(entries, brief=most is not None)
    if not rows:
        return
    table = Table(*header, box=None, header_style="bold", pad_edge=False)
    for row in rows[:most]:
        table.add_row(*map(plain, row))
    out.print(table)
    if most is not None and len(rows) > most:
        out.print(f"... and {len(rows) - most} more files")
    if most is not None:
        out.print("[dim]`sft status --files` has the reasons[/]")
    out.print()


def glimpses(planned: Plan, looks: Iterable[Glimpse]) -> bool:
    """What is in new data and what would become of it; whether any of it can be read."""
    for note in planned.notes:
        out.print(f"[yellow]{plain(note)}[/]", soft_wrap=True)
    usable = False
    for look in looks:
        usable = usable or bool(look.rows)
        if look.refused:
            out.print(f"[bold]{plain(look.name)}[/]  [red]would be refused[/]: it {plain(look.refused)}", soft_wrap=True)
            continue
        read, kinds = look.read.total(), ", ".join(f"{kind} {n:,}" for kind, n in look.kinds.most_common())
        others = ", ".join(f"{name} {n:,}" for name, n in look.seen.most_common()[1:])
        out.print(
            f"[bold]{plain(look.name)}[/]  {look.format or 'no format'} (confidence {look.confidence:.0%}: {read:,} of the "
            f"first {look.records:,} records give {look.rows:,} rows; {kinds or 'none'})"
            + (f"; also {others}" if others else ""),
            soft_wrap=True,
        )
        for text, rows in look.examples:
            out.print(f"  [dim]before[/] {plain(short(text))}", soft_wrap=True)
            for row in rows[:2]:
                out.print(f"  [dim]after[/]  {row.conversation.kind}", soft_wrap=True)
                turns("", row.conversation.messages)
                turns("rejected", row.conversation.rejected)
                for edit in row.edits:
                    out.print(f"    [yellow]{plain(edit.what)}[/] {plain(short(edit.before, 100))}", soft_wrap=True)
        for reason, n in look.bad.most_common():
            sentence = plain(short(look.sentences[reason]))
            out.print(f"  [yellow]quarantined[/] {n:,} {plain(reason)}, such as: {sentence}", soft_wrap=True)
    if len(planned.files) > 1:
        out.print(f"{len(planned.files):,} files in all")
    return usable


def what_if(result: WhatIf) -> None:
    """What would be different, and some of the rows."""
    from sft_assets.what_if import evidence_text, is_nothing

    if is_nothing(result):
        out.print("nothing would be different")
        sides_of_the_cut(result)
        return
    table = Table("", "now", "then", "", box=None, header_style="bold", pad_edge=False)
    for column in (1, 2, 3):
        table.columns[column].justify = "right"
    others = {f"edited: {k}": v for k, v in result.edits.items()} | {f"review: {k}": v for k, v in result.marks.items()}
    for name, (now, then) in {**result.counts, **others}.items():
        table.add_row(plain(name), f"{now:,}", f"{then:,}", f"{then - now:+,}" if then != now else "")
    out.print(table)
    out.print(f"{result.gone:,} rows would go, {result.came:,} would come, {result.changed:,} would have other content")
    for row, reason, evidence in result.go:
        out.print(f"  [red]-[/] {row}  {plain(reason)}  {plain(short(evidence_text(evidence)))}", soft_wrap=True)
    for row, text in result.come:
        out.print(f"  [green]+[/] {row}  {plain(short(text, 160))}", soft_wrap=True)
    sides_of_the_cut(result)
    out.print("[dim]nothing was stored; put the setting into recipe.yaml to have it so[/]")


def sides_of_the_cut(result: WhatIf) -> None:
    """Rows or pairs just on this and just on that side of a threshold."""
    for name, entries in result.samples.items():
        title = name.removeprefix("sample_").replace("_", " ")
        out.print(f"[bold]{plain(title)}{'' if title.endswith(('dropped', 'kept', 'marked')) else ' the cut'}[/]")
        for entry in entries:
            how, row, text, *other = (plain(str(value)) for value in entry.values())
            out.print(f"  {how}  {row} {short(text)}", soft_wrap=True)
            if other:  # both texts of a pair, from where they begin to differ
                out.print(f"  {' ' * len(how)}  {' '.join(other)}", soft_wrap=True)


def funnel(space: Workspace) -> None:
    versions = space.versions()
    table = Table("state", "in", "kept", "gone", "why", "seconds", box=None, header_style="bold", pad_edge=False)
    for column in (1, 2, 3, 5):
        table.columns[column].justify = "right"
    shown = False
    for name, version in in_order(versions):
        report = version.report
        reasons = {**report["quarantined"], **report["dropped"]}
        why = ", ".join(f"{reason} {n:,}" for reason, n in sorted(reasons.items(), key=lambda r: (-r[1], r[0])))
        if report.get("refused_files"):
            why = ", ".join(filter(None, [why, f"[yellow]{report['refused_files']} files refused[/]"]))
        created = f" +{report['created']:,}" if report["created"] else ""
        table.add_row(
            name,
            f"{report['in']:,}{created}",
            f"{report['kept']:,}",
            f"{sum(reasons.values()):,}",
            why,
            f"{version.seconds:.1f}",
        )
        shown = True
    if shown:
        out.print(table)
    notes(versions)
    refused(versions)
    exported = versions.get("exported")
    if exported:
        for path in exported.report.get("files", []):
            out.print(f"exported to {plain(str(space.folder))}/{plain(path)}")


def evidence(versions: Mapping[str, Version]) -> None:
    """What models have scored, and what they were not asked about."""
    for name in ("likelihoods", "judgements", "contamination_judgements", "rewards"):
        report = versions[name].report if name in versions else {}
        if not report.get("wanted"):
            continue
        stopped = f"; [yellow]{plain(report['stopped'])}[/]" if "stopped" in report else ""
        line = f"{name}: {report['wanted'] - report['unscored']:,} of {report['wanted']:,} scored by {plain(report['model'])}"
        out.print(line + stopped, soft_wrap=True)


def topics(versions: Mapping[str, Version], most: int = 8) -> None:
    """The largest topics, and how stable they are."""
    report = versions["topics"].report if "topics" in versions else {}
    if not report.get("topics"):
        return
    largest = sorted(report["names"], key=lambda entry: -entry["contents"])[:most]
    names = ", ".join(f"{plain(entry['name'].replace(', ', '/'))} {entry['contents']:,}" for entry in largest)
    more = f" and {report['topics'] - most:,} more" if report["topics"] > most else ""
    out.print(f"topics: {names}{more} [dim](two seeds agree to {report['stability_of_members']:.2f})[/]", soft_wrap=True)


def found(rows: Sequence[Found]) -> None:
    """Rows that a search found."""
    if not rows:
        out.print("nothing is near it, and no row has one of its words")
        return
    table = Table("row", "meaning", "words", "where it is", "topic", "text", box=None, header_style="bold", pad_edge=False)
    for column in (1, 2):
        table.columns[column].justify = "right"
    for one in rows:
        numbers = ["" if value is None else f"{value:.2f}" for value in (one.meaning, one.word)]
        table.add_row(one.row_id[:8], *numbers, plain(one.where), plain(short(one.topic, 40)), plain(short(one.text, 160)))
    out.print(table)


def gaps(report: Report, every: bool = False) -> None:
    """The cells that lack most, and what it would take to fill them."""
    if report.stale:
        out.print("[yellow]the rows, the recipe or the evaluations are others by now: `sft run gaps`[/]")
    lacking = [gap for gap in report.cells if gap.missing]
    cells = report.cells if every else lacking[:CELLS]
    if cells:
        table = Table(
            "topic", "difficulty", "length", "language", "turns", "rows", "target", "missing", "why",
            box=None, header_style="bold", pad_edge=False,
        )  # fmt: skip
        for column in (5, 6, 7):
            table.columns[column].justify = "right"
        for gap in cells:
            values = [plain(short(value, 40)) if value else "[dim]none[/]" for value in gap.cell[1:]]
            why = plain(short(", ".join(gap.why), 60))
            table.add_row(*values, f"{gap.rows:,}", f"{gap.target:,.1f}", f"{gap.missing:,}", why)
        out.print(table)
    if len(cells) < len(lacking):
        out.print(f"... and {len(lacking) - len(cells):,} more cells (--all)")
    if report.tasks_without_topic:
        tasks = plain(short(", ".join(report.tasks_without_topic), 120))
        out.print(f"[yellow]weak tasks without a topic[/] (gaps.tasks says it): {tasks}", soft_wrap=True)
    if not lacking:
        out.print(f"there is no gap: no cell of the {report.rows:,} rows lacks one")
        return
    more = f", of the {report.lack:,.0f} that the targets ask for (gaps.share)" if round(report.lack) > report.missing else ""
    out.print(f"{report.missing:,} rows are missing in {len(lacking):,} cells{more}; there are {report.rows:,}", soft_wrap=True)
    fill(report)


def fill(report: Report) -> None:
    """What it would take to fill the gaps, by method."""
    out.print()
    if not report.costs:
        out.print(f"what it would cost to fill them: {plain(report.no_costs)}", soft_wrap=True)
        return
    table = Table("to fill them", "model", "seeds", "calls", "tokens", "cost", box=None, header_style="bold", pad_edge=False)
    for column in range(2, 6):
        table.columns[column].justify = "right"
    for one in report.costs:
        cost = "" if one.cost is None else _known(one.cost)
        table.add_row(one.method, plain(one.model), f"{one.seeds:,}", f"{one.calls:,}", f"{one.tokens:,}", cost)
    out.print(table)
    out.print("[dim]about, and if nothing of it was asked before[/]")


def ledger(spent: Mapping[tuple[str, str], Spent]) -> None:
    """What was spent on language models."""
    for (asset, model), one in spent.items():
        out.print(
            f"[dim]spent on {plain(model)} for {asset}: {one.calls:,} calls, {one.tokens:,} tokens, {one.cost:,.4f}[/]",
            soft_wrap=True,
        )


def selected(found: Selected, file: str, follow: Sequence[str]) -> None:
    """What was recorded, and what it makes stale."""
    if found.warning:
        out.print(f"[yellow]{plain(found.warning)}[/]", soft_wrap=True)
    if found.standing:
        out.print(f"{found.standing:,} of {found.rows:,} decisions stood already, and were not written again")
    if not found.recorded:
        out.print("nothing was recorded")
        return
    what = found.recorded[0].decision
    places = ", ".join(f"{n:,} for {state}" for state, n in found.by_state.items())
    out.print(f"recorded in {plain(file)}: {what} {len(found.recorded):,} rows ({places})", soft_wrap=True)
    after = f", and what follows if they come out different: {', '.join(follow)}" if follow else ""
    out.print(f"stale now: {', '.join(found.by_state)}{after}. `sft run` applies it", soft_wrap=True)


def marked(rows: Sequence[tuple[str, list[str], str]]) -> None:
    """Rows that are marked for review."""
    table = Table("for review", "because", "answer", box=None, header_style="bold", pad_edge=False)
    for row, reasons, text in rows:
        table.add_row(row, plain(", ".join(reasons)), plain(short(text, 120)))
    out.print(table if rows else "no row is marked for review")


def in_order(versions: dict[str, Version]) -> list[tuple[str, Version]]:
    from sft_assets.definitions import STATES

    return [(name, versions[name]) for name in STATES if name in versions]


def notes(versions: dict[str, Version]) -> None:
    """What the sources that are elsewhere had to say: splits left out, a copy used while offline."""
    for entry in versions["raw"].report.get("read", []) if "raw" in versions else []:
        if "note" in entry:
            out.print(f"[dim]{plain(entry['source'])}: {plain(entry['note'])}[/]", soft_wrap=True)


def refused(versions: dict[str, Version]) -> None:
    for name in ("raw", "benchmarks"):
        version = versions.get(name)
        for entry in (version.report.get("sample_refused") or version.report.get("refused") or []) if version else []:
            reason = entry.get("refused") or entry.get("reason") or ""
            reason = reason if len(reason) < 300 else reason[:299] + "…"
            out.print(f"[yellow]refused[/] {plain(str(entry.get('file')))}: {plain(reason)}", soft_wrap=True)
        more = version.report.get("refused_files", 0) - len(version.report.get("sample_refused") or []) if version else 0
        if more > 0:
            out.print(f"... and {more} more: SELECT source_file, detail FROM quarantine WHERE position IS NULL")


def life(one: Life) -> None:
    title = f"{one.row_id}  " if one.row_id else ""
    origin = f" ({one.format}, source {plain(one.source)})" if one.format else ""
    out.print(f"[bold]{title}[/]{plain(one.place)}{origin}", soft_wrap=True)
    colour: Callable[[str], str] = lambda v: {"kept": "green", "made": "green", "not built": "dim"}.get(v, "red")  # noqa: E731
    for step in one.steps:
        reason = f"  {plain(step.reason)}" if step.reason else ""
        out.print(f"  {step.state:<15} [{colour(step.verdict)}]{step.verdict}[/]{reason}")
        for what, before in step.edits:
            out.print(f"  {'':<15} [yellow]{what}[/] {plain(short(before))}", soft_wrap=True)
        if step.reviewed:
            out.print(f"  {'':<15} [cyan]{plain(short(step.reviewed))}[/]", soft_wrap=True)
        for key, value in step.evidence.items():
            if key == "rules":
                for rule in value:
                    out.print(f"  {'':<15} " + plain(", ".join(f"{k}: {short(v)}" for k, v in rule.items())), soft_wrap=True)
            elif key not in MARKED or "spans" not in step.evidence:
                out.print(f"  {'':<15} {key}: {plain(short(value))}", soft_wrap=True)
        if "spans" in step.evidence:
            leak(step.evidence, one.messages)
    for decision in one.unapplied:
        out.print(f"  {'decided':<15} [cyan]{plain(short(decision))}[/]", soft_wrap=True)
    turns("this row", one.messages)
    if one.kept_messages:
        turns(f"the row that stayed, {one.kept_place}", one.kept_messages)
    out.print()
    for parent in one.parents:
        out.print(f"[bold]made from[/] {plain((parent.row_id or '')[:8])}")
        life(parent)


def canaries(found: Check) -> None:
    """What the stage found of the planted copies, by kind and length, and what it flagged that is none."""
    lengths = list(dict.fromkeys(recall.words for recall in found.recalls))
    header = "copy", "planted", *(f"{words} words" for words in lengths), "right item", "or candidate"
    table = Table(*header, box=None, header_style="bold", pad_edge=False)
    for kind in dict.fromkeys(recall.kind for recall in found.recalls):
        some = [recall for recall in found.recalls if recall.kind == kind]
        of_length = {one.words: _percent(one.found, one.planted) for one in some}
        planted, named = sum(one.planted for one in some), sum(one.candidates for one in some)
        right = _percent(sum(one.right for one in some), named)
        table.add_row(kind, f"{planted:,}", *(of_length.get(words, "") for words in lengths), right, _percent(named, planted))
    out.print(table)
    for benchmark, why in sorted(found.unprotected.items()):
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(why.items()))
        out.print(f"not planted, as no rule protects them: {plain(benchmark)}: {reasons}", soft_wrap=True)
    for what in found.not_tested:
        out.print(f"not tested: {plain(what)}", soft_wrap=True)
    if found.missed:
        out.print(f"missed {len(found.missed):,}, such as:")
        for canary in found.missed[:EXAMPLES]:
            text = f"{' '.join(canary.owner)}  {short(canary.turns[0][1], 160)}"
            out.print(f"  {canary.kind}  {plain(text)}", soft_wrap=True)
    out.print(f"flagged that is no leak: {len(found.flagged):,} of {found.decoys:,} decoys and {found.rows:,} rows")
    for one in found.flagged[:EXAMPLES]:
        out.print(f"  {plain(one.what)}: {plain(short(one.text, 160))}", soft_wrap=True)
        out.print(f"    {plain(short(one.item, 160))}", soft_wrap=True)


def judge(found: JudgeCheck) -> None:
    """What was measured of a judge."""
    out.print(f"[bold]{plain(found.rubric)}[/] by {plain(found.model)}: {plain(counted(found.statuses))}", soft_wrap=True)
    table = Table("measured", "value", "95 % interval", "rows", "", box=None, header_style="bold", pad_edge=False)
    for line in found.lines:
        figure = line.figure
        show: Callable[[float], str] = (lambda v: f"{100 * v:.0f} %") if line.percent else (lambda v: f"{v:.2f}")
        cells = (
            (show(figure.value), f"{show(figure.low)} to {show(figure.high)}", f"{figure.n:,}")
            if figure
            else ("[dim]too few rows[/]", "", "")
        )
        table.add_row(line.what, *cells, f"[dim]{line.reading}[/]")
    out.print(table)
    out.print(
        f"a row that was judged and kept took {found.tokens_per_kept_row:,.0f} tokens and cost {found.cost_per_kept_row:.6f}, "
        "by all rubrics and runs"
    )
    out.print(f"[dim]this check made {found.calls:,} calls, which cost {found.cost:.4f}[/]")
    if found.stopped:
        out.print(f"[yellow]{plain(found.stopped)}[/]", soft_wrap=True)


def counted(counts: Mapping[str, int]) -> str:
    """'scored 38, unparsed 2'."""
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())


def _percent(some: int, of: int) -> str:
    return f"{100 * some / of:.1f} %" if of else ""


def leak(evidence: Mapping[str, Any], messages: Any) -> None:
    """Both texts of a leak, what they share in »bold«: the turn where the row has it, the item where it is shown whole."""
    turn, matched = evidence["turn"], evidence["matched"]
    out.print(f"  {'':<15} [dim]the item[/] {plain(short(evidence['item'], 600))}", soft_wrap=True)
    said = getattr(messages[turn - 1], evidence.get("part", "content")) if messages and isinstance(turn, int) else None
    marked = f"[bold red]{plain(short(matched, 600))}[/]"
    if said:
        marked, last = "", max(0, evidence["spans"][0][0] - AROUND)
        marked += "…" if last else ""
        for start, stop in evidence["spans"]:
            marked += f"{plain(said[last:start])}[bold red]»{plain(said[start:stop])}«[/]"
            last = stop
        marked += plain(said[last : last + AROUND]) + ("…" if last + AROUND < len(said) else "")
    out.print(f"  {'':<15} [dim]the row[/]  {' '.join(marked.split())}", soft_wrap=True)


def turns(title: str, messages: Any) -> None:
    if not messages:
        return
    if title:
        out.print(f"  [dim]{plain(title)}[/]")
    for turn in messages:
        calls = f" {turn.tool_calls}" if turn.tool_calls else ""
        out.print(f"    [bold]{turn.role}[/] {plain(short(turn.content + calls, 400))}", soft_wrap=True)


def short(value: Any, length: int = 300) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 1] + "…"
