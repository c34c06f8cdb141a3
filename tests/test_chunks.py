"""Chunks: documents in pieces that are cut at their joints, whose spans give their texts, and in which quotes are found."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import CORPUS, build, fresh, rows, say
from hypothesis import given
from hypothesis import strategies as st

from sft_assets.augmented.candidate import Chunk
from sft_assets.augmented.chunks import plain_text
from sft_assets.augmented.chunks.asset import chunks
from sft_assets.augmented.chunks.document import Block, Content
from sft_assets.augmented.chunks.reading import content_of, text_of
from sft_assets.augmented.chunks.spans import masked_text, masks_of, span_of
from sft_assets.augmented.chunks.splitting import LeftOut, Piece, split
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.masks import mask
from sft_assets.warehouse import Version

DOCUMENTS = CORPUS / "documents"
needs_corpus = pytest.mark.skipif(not DOCUMENTS.is_dir(), reason="the corpus is not on this machine")

SENTENCE = "The red fox crosses the frozen river before dawn. "
KEY = "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *["MIIEowIBAAKCAQEA" + "x7Qd" * 12] * 40, "-----END RSA PRIVATE KEY-----"])


def document(folder: Folder, name: str, content: bytes | str) -> Path:
    path = folder.documents / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def made(folder: Folder) -> Version:
    return build(folder, chunks)[0]


def stored(folder: Folder) -> list[Chunk]:
    fields = ", ".join(Chunk._fields)
    found = rows(folder, f"SELECT {fields} FROM chunks ORDER BY document, start")
    return [Chunk(*row) for row in found]


def pieces_of(markdown: str, size: int = 300, smallest: int = 40) -> list[str]:
    return [markdown[p.start : p.stop] for p in split(content_of(markdown, "markdown"), size, smallest)[0]]


def assert_covered(content: Content, pieces: list[Piece], left: list[LeftOut]) -> None:
    """Every character is in one piece or left out once, but for blanks."""
    at = 0
    for start, stop in sorted([*((p.start, p.stop) for p in pieces), *((p.start, p.stop) for p in left)]):
        assert start >= at
        assert not content.text[at:start].strip()
        at = stop
    assert not content.text[at:].strip()


# ------------------------------------------------------------------------------------------------------------ splitting


def test_sections_are_not_mixed_where_each_is_long_enough() -> None:
    text = f"# Guide\n\n## Foxes\n\n{SENTENCE * 3}\n\n## Rivers\n\n{SENTENCE * 3}\n"
    pieces, left = split(content_of(text, "markdown"), 300, 40)
    assert [p.headings for p in pieces] == [("Guide", "Foxes"), ("Guide", "Rivers")]
    assert [text[p.start : p.stop].splitlines()[0] for p in pieces] == ["## Foxes", "## Rivers"]
    assert left == [LeftOut(0, 7, "heading")]


def test_paragraphs_of_a_section_are_joined_up_to_the_size() -> None:
    text = "\n\n".join([SENTENCE.strip() * 2] * 9)
    assert [piece.count("\n\n") for piece in pieces_of(text)] == [2, 2, 2]


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    text = "Dr. Smith saw it, e.g. at dawn, on 3.5 acres. " * 20
    pieces = pieces_of(text)
    assert len(pieces) > 2
    assert all(piece.startswith("Dr. Smith") and piece.endswith("acres.") for piece in pieces)


def test_japanese_and_chinese_are_cut_after_their_full_stops() -> None:
    for sentence in ("これはとても長い文章の一部です。", "他说：“今天的天气非常好！”", "你明天要不要去图书馆？"):
        pieces = pieces_of(sentence * 60)
        assert len(pieces) > 2
        assert all(piece.endswith(sentence) and len(piece) % len(sentence) == 0 for piece in pieces)


def test_code_and_tables_are_whole_where_they_fit() -> None:
    code = "```python\n" + "\n\n".join(f"def f{i}(x):\n    return x + {i}" for i in range(7)) + "\n```"
    table = "| a | b |\n|---|---|\n" + "\n".join(f"| fox {i} | river {i} |" for i in range(11))
    for block in (code, table):
        assert 200 < len(block) <= 300
        pieces = pieces_of(f"# T\n\n{SENTENCE * 5}\n\n{block}\n\n{SENTENCE * 5}")
        assert sum(block in piece for piece in pieces) == 1


def test_code_that_does_not_fit_is_cut_between_its_lines_and_keeps_its_indent() -> None:
    lines = [f"    value_{i} = compute(value_{i - 1})" for i in range(1, 40)]
    pieces = pieces_of("```\n" + "\n".join(lines) + "\n```\n")
    assert len(pieces) > 3
    assert {line for piece in pieces for line in piece.splitlines()} == {"```", *lines}


def test_a_fence_that_never_closes_is_code_to_the_end() -> None:
    text = f"# T\n\n{SENTENCE}\n\n```sh\n" + "# no heading\n\n" * 30
    pieces, left = split(content_of(text, "markdown"), 300, 40)
    assert {p.headings for p in pieces} == {("T",)}
    assert not left


def test_a_short_section_joins_its_neighbour_under_the_same_heading() -> None:
    text = f"# A\n\n## Short\n\nTiny.\n\n## Long\n\n{SENTENCE * 3}\n\n# B\n\nAlso tiny.\n"
    pieces, left = split(content_of(text, "markdown"), 300, 60)
    assert [(p.headings, text[p.start : p.stop].splitlines()[0]) for p in pieces] == [(("A",), "## Short")]
    assert [(text[p.start : p.stop], p.reason) for p in left if p.reason == "short"] == [("Also tiny.", "short")]


def test_the_end_of_a_section_is_not_lost_for_being_short() -> None:
    text = SENTENCE * 6 + "It is cold."  # 311 characters: one piece of 300 would leave a rest that is too short
    pieces, left = split(plain_text.read(text), 300, 60)
    assert not left
    assert all(60 <= p.size <= 300 for p in pieces)


def test_one_line_of_a_megabyte_is_cut_into_pieces_of_the_size() -> None:
    for line in ("x" * 1_000_000, SENTENCE * 20_000, "word " * 20_000, "あ" * 100_000):
        content = content_of(line, "markdown")
        pieces, left = split(content, 1500, 200)
        assert_covered(content, pieces, left)
        assert max(p.size for p in pieces) <= 1500
        assert sum(p.size for p in pieces) / len(pieces) > 1200


PARTS = st.sampled_from(
    ["# A\n", "## B\r\n", "text here. More of it!\n", "- item\n", "\n", "\r\n", "```\n", "    code\n", "| a |\n|---|\n",
     "> q\n", "[a]: b\n", "<!-- c -->\n", "日本語。", "x" * 120, "---\n", "   ", "\t", "Setext\n===\n", "1. one\n\n   two\n"]
)  # fmt: skip


@given(st.lists(PARTS, max_size=40), st.integers(20, 200), st.integers(0, 60))
def test_whatever_a_document_is_made_of_nothing_of_it_is_lost_or_told_twice(parts: list[str], size: int, smallest: int) -> None:
    text = "".join(parts)
    for content in (content_of(text, "markdown"), plain_text.read(text)):
        pieces, left = split(content, size, smallest)
        assert_covered(content, pieces, left)
        assert all(smallest <= p.size <= size and content.text[p.start : p.stop].strip() for p in pieces)


def test_blocks_cover_a_document() -> None:
    assert_covered(Content("ab", []), [Piece(0, 2)], [])
    with pytest.raises(AssertionError):
        assert_covered(Content("ab c", [Block(0, 4, "prose")]), [Piece(0, 2)], [])


# ---------------------------------------------------------------------------------------------------------------- masks


def test_a_key_that_is_cut_in_two_is_masked_in_both() -> None:
    text = f"{SENTENCE}\n\n{KEY}\n\n{SENTENCE}"
    _, hits = mask(text)
    middle = text.index(KEY) + len(KEY) // 2
    for start, stop in ((0, middle), (middle, len(text))):
        masked, places, inside = masked_text(text, start, stop, hits)
        assert "MIIE" not in masked and "<SECRET>" in masked
        ((begins, ends, length),) = masks_of(places)
        assert masked[begins:ends] == "<SECRET>"
        assert len(masked) - (ends - begins) + length == stop - start
        assert [(hit.start, hit.stop) for hit in inside] == [(begins, begins + length)]


def test_masks_are_in_the_ledger_and_what_they_hide_is_nowhere(folder: Folder) -> None:
    document(folder, "a.md", f"# Call jane.doe@mailbox-post.net\n\n{SENTENCE * 5}\n\nWrite to bob@mailbox-post.net.\n\n{KEY}\n")
    say(folder, chunks={"size": 400})
    version = made(folder)
    assert version.report["masked"]["email"] == 2
    everything = repr(rows(folder, "SELECT * FROM chunks")) + repr(rows(folder, "SELECT * FROM edits"))
    assert "mailbox" not in everything and "MIIE" not in everything
    assert rows(folder, "SELECT count(*) FROM edits SEMI JOIN chunks ON row_id = chunk_id") == [
        (sum(version.report["masked"].values()),)
    ]


# ---------------------------------------------------------------------------------------------------------------- spans


def chunk_of(text: str, start: int, stop: int) -> Chunk:
    masked, places, _ = masked_text(text, start, stop, mask(text)[1])
    return Chunk(b"", "a.md", (), start, stop, masked, masked=places)


TEXT = (
    "Before. An *integer* is a number without a `fractional`\ncomponent. Write to jane.doe@mailbox-post.net about it. We used "
    "one [integer type](../ch02.md) in Chapter 2, the u32 type. 日本語の文は\nここで終わります。 After."
)


@pytest.mark.parametrize(
    ("quote", "there"),
    [
        ("a number without", "a number without"),
        (
            "An integer is a number without a fractional component.",
            "An *integer* is a number without a `fractional`\ncomponent.",
        ),
        ("“an INTEGER is a number”", "An *integer* is a number"),
        ("We used one integer type in Chapter 2", "We used one [integer type](../ch02.md) in Chapter 2"),
        ("Write to <EMAIL> about it.", "Write to jane.doe@mailbox-post.net about it."),
        ("<EMAIL>", "jane.doe@mailbox-post.net"),
        ("MAIL> about it", "jane.doe@mailbox-post.net about it"),
        ("日本語の文はここで終わります。", "日本語の文は\nここで終わります。"),
        (
            "An integer is the number without a fractional component",
            "An *integer* is a number without a `fractional`\ncomponent",
        ),
    ],
)
def test_a_quote_is_found_where_it_stands_in_the_document(quote: str, there: str) -> None:
    chunk = chunk_of(TEXT, 8, len(TEXT) - 7)
    assert (span := span_of(quote, chunk)) is not None
    assert TEXT[slice(*span)] == there


@pytest.mark.parametrize(
    "quote",
    [
        "",
        "*",
        "A float is a number with a fractional component.",
        "We used one integer type in Chapter 3, the u32 type.",
        "We used one integer type in Chapter 2, the u64 type.",
        "Before.",
        TEXT + TEXT,
    ],
)
def test_what_the_chunk_does_not_say_is_found_nowhere(quote: str) -> None:
    assert span_of(quote, chunk_of(TEXT, 8, len(TEXT) - 7)) is None


@given(st.data())
def test_whatever_is_quoted_as_it_stands_is_found_at_its_place(data: st.DataObject) -> None:
    text = "".join(data.draw(st.lists(st.sampled_from(["a@mailbox-post.net ", "fox ", "né\r\n", "日本", "*x* "]), min_size=3)))
    chunk = chunk_of(text, 0, len(text))
    start = data.draw(st.integers(0, len(chunk.text) - 1))
    quote = chunk.text[start : data.draw(st.integers(start + 1, len(chunk.text)))]
    span = span_of(quote, chunk)
    if any(map(str.isalnum, quote)):
        assert span is not None
        assert quote.strip() in masked_text(text, *span, mask(text)[1])[0]


# ---------------------------------------------------------------------------------------------------------------- asset


def test_no_documents_are_no_chunks(folder: Folder) -> None:
    version = made(folder)
    assert (version.report["kept"], version.report["documents"], version.report["refused"]) == (0, 0, [])
    assert stored(folder) == []


def test_what_cannot_be_read_is_told_and_the_others_are_read(folder: Folder) -> None:
    document(folder, "good.txt", SENTENCE * 6)
    document(folder, "empty.md", "")
    document(folder, "blank.txt", " \r\n\t")
    document(folder, "program.exe", b"MZ\x90\0\3\0\0\0")
    document(folder, "latin.txt", "Grüße".encode("latin-1"))
    document(folder, "broken.pdf", b"%PDF-1.7\nnothing")
    document(folder, "cut.txt.gz", gzip.compress(SENTENCE.encode() * 90)[:40])
    (folder.documents / "away.md").symlink_to(folder.root / "recipe.yaml")
    os.mkfifo(folder.documents / "pipe.txt")
    version = made(folder)
    assert [chunk.document for chunk in stored(folder)] == ["good.txt"]
    refused = dict(rows(folder, "SELECT source_file, reason FROM quarantine WHERE position IS NULL"))
    assert refused == {
        "empty.md": "empty", "blank.txt": "empty", "program.exe": "binary", "latin.txt": "encoding", "broken.pdf": "damaged",
        "cut.txt.gz": "damaged", "away.md": "outside", "pipe.txt": "unreadable",
    }  # fmt: skip
    assert {entry["file"] for entry in version.report["refused"]} == set(refused)
    assert all(entry["reason"].startswith(entry["file"] + " ") for entry in version.report["refused"])


def test_a_link_out_of_the_folder_is_not_followed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text(SENTENCE * 9)
    folder.documents.mkdir()
    (folder.documents / "away.md").symlink_to(tmp_path / "secret.md")
    assert made(folder).report["refused"][0]["reason"].startswith("away.md is a link that leads out")
    assert stored(folder) == []


def test_records_that_are_no_documents_are_quarantined_with_their_place(folder: Folder) -> None:
    lines = ['{"text": "%s"}' % (SENTENCE * 5), '{"title": "no text"}', '{"text": "cut', '{"body": "%s"}' % (SENTENCE * 5)]
    document(folder, "a.jsonl", "\n".join(lines))
    version = made(folder)
    assert [chunk.document for chunk in stored(folder)] == ["a.jsonl:1", "a.jsonl:4"]
    found = rows(folder, "SELECT source_file, position, reason FROM quarantine ORDER BY position")
    assert found == [("a.jsonl", 2, "no_text"), ("a.jsonl", 3, "invalid_json")]
    assert version.report["refused"] == [
        {"file": "a.jsonl", "reason": "a.jsonl: 2 records were not read; `quarantine` says why of each"}
    ]


def test_a_licence_is_the_documents_own_else_that_of_its_folder_else_the_recipes(folder: Folder) -> None:
    document(folder, "own.md", f"---\nlicense: MIT\n---\n{SENTENCE * 6}")
    document(folder, "book/deep/a.md", SENTENCE * 6)
    document(folder, "book/b.md", SENTENCE * 6)
    document(folder, "bookish.md", SENTENCE * 6)
    document(folder, "c.jsonl", '{"text": "%s", "license": "cc0-1.0"}' % (SENTENCE * 6))
    say(folder, chunks={"license": "other", "licenses": {"book": "cc-by-4.0", "book/deep/": "apache-2.0", "c.jsonl": "odc-by"}})
    made(folder)
    assert {chunk.document: chunk.license for chunk in stored(folder)} == {
        "own.md": "MIT", "book/deep/a.md": "apache-2.0", "book/b.md": "cc-by-4.0", "bookish.md": "other",
        "c.jsonl:1": "cc0-1.0",
    }  # fmt: skip


def test_a_licence_for_what_is_not_there_is_a_mistake(folder: Folder) -> None:
    document(folder, "book/a.md", SENTENCE * 6)
    say(folder, chunks={"licenses": {"bok": "MIT"}})
    with pytest.raises(SftError, match=r"recipe\.yaml: chunks\.licenses: 'bok' is not in .*did you mean 'book'"):
        made(folder)


def test_only_headings_make_no_chunk(folder: Folder) -> None:
    document(folder, "a.md", "# One\n\n## Two\n\n## Three\n" * 20)
    report = made(folder).report
    assert (report["kept"], report["left_out"]["heading"]["pieces"], report["refused"]) == (0, 60, [])


def test_chunks_are_the_same_after_another_file_came(folder: Folder) -> None:
    document(folder, "b.md", SENTENCE * 60)
    made(folder)
    before = stored(folder)
    document(folder, "a.md", SENTENCE * 60)
    made(folder)
    assert [chunk for chunk in stored(folder) if chunk.document == "b.md"] == before


def test_the_text_of_a_document_that_has_gone_is_asked_for_in_vain(folder: Folder) -> None:
    document(folder, "a.jsonl", '{"text": "hello"}')
    assert text_of(folder.documents, "a.jsonl:1") == "hello"
    for name in ("a.jsonl:2", "b.md", "b.jsonl:1"):
        with pytest.raises(SftError):
            text_of(folder.documents, name)


# --------------------------------------------------------------------------------------------------------------- corpus


def check_spans(folder: Folder) -> list[Chunk]:
    """Every chunk's span gives its text, but for what is masked."""
    texts: dict[str, str] = {}
    found = stored(folder)
    for chunk in found:
        if chunk.document not in texts:
            texts[chunk.document] = text_of(folder.documents, chunk.document)
        text, at = "", chunk.start
        for begins, _, length in masks_of(chunk.masked):
            gap = begins - len(text)
            text += texts[chunk.document][at : at + gap]
            mask_stands = chunk.text[begins:].split(">")[0] + ">"
            text, at = text + mask_stands, at + gap + length
        assert text + texts[chunk.document][at : chunk.stop] == chunk.text
    return found


@needs_corpus
def test_spans_of_the_corpus_give_their_texts(tmp_path: Path) -> None:
    folder = fresh(tmp_path / "data")
    names = [p.relative_to(DOCUMENTS) for p in DOCUMENTS.rglob("*.md")]
    for name in [*names[::4], Path("alice_in_wonderland_utf8.txt")]:
        document(folder, name.as_posix(), (DOCUMENTS / name).read_bytes())
    lines = (DOCUMENTS / "c4_demo.jsonl").read_bytes().splitlines(keepends=True)
    document(folder, "c4.jsonl", b"".join(line for i, line in enumerate(lines) if b"@" in line or i < 8))
    report: dict[str, Any] = made(folder).report
    assert set(report["chunks"]) == {"markdown", "text", "jsonl"} and report["masked"]
    found = check_spans(folder)
    assert any("\r\n" in chunk.text for chunk in found)
    japanese = [chunk for chunk in found if "_ja/" in chunk.document]
    assert japanese and {chunk.language for chunk in japanese} == {"ja"}
    for chunk in found[::20]:  # a quote from its middle is found where it stands
        middle = len(chunk.text) // 2
        quote = chunk.text[middle : middle + 60].strip()
        assert (span := span_of(" ".join(quote.split()), chunk)) is not None
        assert chunk.start <= span[0] < span[1] <= chunk.stop


@needs_corpus
def test_no_prose_of_the_corpus_is_lost() -> None:
    paths = [p for tree in ("rust_book", "httpx_docs", "fastapi_docs_ja") for p in sorted((DOCUMENTS / tree).glob("*.md"))]
    written = left_short = 0
    for path in paths:
        content = content_of(path.read_bytes().decode(), "markdown")
        pieces, left = split(content, 1500, 200)
        assert_covered(content, pieces, left)
        assert all(200 <= p.size <= 1500 for p in pieces)
        written += len(content.text)
        left_short += sum(one.stop - one.start for one in left if one.reason == "short")
    assert written > 400_000 and left_short < written / 100


@needs_corpus
def test_a_book_is_read_by_its_chapters() -> None:
    text = (DOCUMENTS / "alice_in_wonderland_utf8.txt").read_bytes().decode("utf-8-sig")
    content = plain_text.read(text)
    pieces, left = split(content, 1500, 200)
    assert_covered(content, pieces, left)
    chapters = list(dict.fromkeys(p.headings for p in pieces if p.headings))
    assert len(chapters) == 12 and chapters[0] == ("CHAPTER I. Down the Rabbit-Hole",)
    assert not any("Gutenberg License included" in text[p.start : p.stop] for p in pieces)
