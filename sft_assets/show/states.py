"""How the dataset stands: the funnel, the files, evidence, topics, gaps, what was spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from sft_assets.show import console
from sft_assets.show.console import known, plain, short

if TYPE_CHECKING:
    from sft_assets.augmented.gaps.report import Report
    from sft_assets.models.door import Spent
    from sft_assets.verbs import Workspace
    from sft_assets.warehouse import Version

CELLS = 20  # that are shown of those that lack rows


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
        console.out.print(table)
    notes(versions)
    refused(versions)
    places(space, versions)


def places(space: Workspace, versions: Mapping[str, Version]) -> None:
    """Where the export is, the report and the map."""
    for asset, what in (("exported", "export"), ("report", "report"), ("map", "map")):
        paths = versions[asset].report.get("files", []) if asset in versions else []
        for path in paths if what == "export" else [p for p in paths if p.endswith(".html")]:
            console.out.print(f"{what:<8}{plain(str(space.folder))}/{plain(path)}", soft_wrap=True)


def in_order(versions: dict[str, Version]) -> list[tuple[str, Version]]:
    from sft_assets.definitions import STATES

    return [(name, versions[name]) for name in STATES if name in versions]


def notes(versions: dict[str, Version]) -> None:
    """What the sources that are elsewhere had to say: splits left out, a copy used while offline."""
    for entry in versions["raw"].report.get("read", []) if "raw" in versions else []:
        if "note" in entry:
            console.out.print(f"[dim]{plain(entry['source'])}: {plain(entry['note'])}[/]", soft_wrap=True)


def refused(versions: dict[str, Version]) -> None:
    for name in ("raw", "benchmarks"):
        version = versions.get(name)
        for entry in (version.report.get("sample_refused") or version.report.get("refused") or []) if version else []:
            reason = entry.get("refused") or entry.get("reason") or ""
            reason = reason if len(reason) < 300 else reason[:299] + "…"
            console.out.print(f"[yellow]refused[/] {plain(str(entry.get('file')))}: {plain(reason)}", soft_wrap=True)
        more = version.report.get("refused_files", 0) - len(version.report.get("sample_refused") or []) if version else 0
        if more > 0:
            console.out.print(f"... and {more} more: SELECT source_file, detail FROM quarantine WHERE position IS NULL")


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
    console.out.print(table)
    if most is not None and len(rows) > most:
        console.out.print(f"... and {len(rows) - most} more files")
    if most is not None:
        console.out.print("[dim]`sft status --files` has the reasons[/]")
    console.out.print()


def evidence(versions: Mapping[str, Version]) -> None:
    """What models have scored, and what they were not asked about."""
    for name in ("likelihoods", "judgements", "contamination_judgements", "rewards"):
        report = versions[name].report if name in versions else {}
        if not report.get("wanted"):
            continue
        stopped = f"; [yellow]{plain(report['stopped'])}[/]" if "stopped" in report else ""
        line = f"{name}: {report['wanted'] - report['unscored']:,} of {report['wanted']:,} scored by {plain(report['model'])}"
        console.out.print(line + stopped, soft_wrap=True)


def topics(versions: Mapping[str, Version], most: int = 8) -> None:
    """The largest topics, and how stable they are."""
    report = versions["topics"].report if "topics" in versions else {}
    if not report.get("topics"):
        return
    largest = sorted(report["names"], key=lambda entry: -entry["contents"])[:most]
    names = ", ".join(f"{plain(entry['name'].replace(', ', '/'))} {entry['contents']:,}" for entry in largest)
    more = f" and {report['topics'] - most:,} more" if report["topics"] > most else ""
    console.out.print(
        f"topics: {names}{more} [dim](two seeds agree to {report['stability_of_members']:.2f})[/]", soft_wrap=True
    )


def gaps(report: Report, every: bool = False) -> None:
    """The cells that lack most, and what it would take to fill them."""
    if report.stale:
        console.out.print("[yellow]the rows, the recipe or the evaluations are others by now: `sft run gaps`[/]")
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
        console.out.print(table)
    if len(cells) < len(lacking):
        console.out.print(f"... and {len(lacking) - len(cells):,} more cells (--all)")
    if report.tasks_without_topic:
        tasks = plain(short(", ".join(report.tasks_without_topic), 120))
        console.out.print(f"[yellow]weak tasks without a topic[/] (gaps.tasks says it): {tasks}", soft_wrap=True)
    if not lacking:
        console.out.print(f"there is no gap: no cell of the {report.rows:,} rows lacks one")
        return
    more = f", of the {report.lack:,.0f} that the targets ask for (gaps.share)" if round(report.lack) > report.missing else ""
    console.out.print(
        f"{report.missing:,} rows are missing in {len(lacking):,} cells{more}; there are {report.rows:,}", soft_wrap=True
    )
    fill(report)


def fill(report: Report) -> None:
    """What it would take to fill the gaps, by method."""
    console.out.print()
    if not report.costs:
        console.out.print(f"what it would cost to fill them: {plain(report.no_costs)}", soft_wrap=True)
        return
    table = Table("to fill them", "model", "seeds", "calls", "tokens", "cost", box=None, header_style="bold", pad_edge=False)
    for column in range(2, 6):
        table.columns[column].justify = "right"
    for one in report.costs:
        cost = "" if one.cost is None else known(one.cost)
        table.add_row(one.method, plain(one.model), f"{one.seeds:,}", f"{one.calls:,}", f"{one.tokens:,}", cost)
    console.out.print(table)
    console.out.print("[dim]about, and if nothing of it was asked before[/]")


def ledger(spent: Mapping[tuple[str, str], Spent]) -> None:
    """What was spent on language models."""
    for (asset, model), one in spent.items():
        console.out.print(
            f"[dim]spent on {plain(model)} for {asset}: {one.calls:,} calls, {one.tokens:,} tokens, {one.cost:,.4f}[/]",
            soft_wrap=True,
        )
