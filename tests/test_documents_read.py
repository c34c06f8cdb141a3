"""Documents as their readers see them: text, blocks, headings, licence and language of every kind of file."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from sft_assets.augmented.chunks.document import Content, Document
from sft_assets.augmented.chunks.reading import content_of, read_file, text_of
from sft_assets.raw.batches import Bad
from sft_assets.raw.containers import Refused

PAGE = """<!doctype html><html lang="en-GB"><head><title>T</title><link rel="license" href="https://x.org/by/4.0/">
<style>p {color: red}</style></head><body><nav><a href="/">Home</a></nav><header>Site</header>
<main><h1>Setup &amp; use</h1><script>alert("no")</script><p>Install <b>it</b>
   with&nbsp;pip.<br>Then run.</p><h2>Options</h2><ul><li>one <i>x</i></li><li><p>two</p></li></ul>
<pre><code>def f():
    return 1
</code></pre><table><tr><th>name</th><th>value</th></tr><tr><td>a</td><td><p>1</p></td></tr></table>
<div hidden>unseen</div></main><footer>(c) us</footer></body></html>"""


def pdf(*pages: str) -> bytes:
    """A PDF with a page for each text, a line of it a line there."""
    objects = ["<</Type/Catalog/Pages 2 0 R>>", "", "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    kids = []
    for text in pages:
        shown = "".join(f"({line}) Tj 0 -14 Td " for line in text.split("\n"))
        stream = f"BT /F 12 Tf 72 720 Td {shown}ET"
        objects.append(f"<</Length {len(stream)}>>\nstream\n{stream}\nendstream")
        kids.append(len(objects) + 1)
        font = "/Resources<</Font<</F 3 0 R>>>>"
        objects.append(f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]{font}/Contents {len(objects)} 0 R>>")
    objects[1] = f"<</Type/Pages/Count {len(kids)}/Kids[{' '.join(f'{kid} 0 R' for kid in kids)}]>>"
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer<</Size {len(objects) + 1}/Root 1 0 R>>"
    return data + f"{end}\nstartxref\n{len(data)}\n%%EOF".encode()


def encrypted() -> bytes:
    """A PDF that asks for a password."""
    lock = f"<</Filter/Standard/V 1/R 2/P -4/O <{'41' * 32}>/U <{'42' * 32}>>>"
    return pdf("Secret").replace(b"/Root 1 0 R", f"/Root 1 0 R/ID[<00><00>]/Encrypt {lock}".encode())


def read(tmp_path: Path, name: str, content: bytes | str) -> list[Document | Bad]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_file(path, name))


def one(tmp_path: Path, name: str, content: bytes | str) -> Document:
    (found,) = read(tmp_path, name, content)
    assert isinstance(found, Document)
    assert text_of(tmp_path, found.name) == found.text
    return found


def refused(tmp_path: Path, name: str, content: bytes | str) -> Refused:
    with pytest.raises(Refused) as caught:
        read(tmp_path, name, content)
    return caught.value


def shown(content: Content) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(b.kind, content.text[b.start : b.stop].strip(), b.headings) for b in content.blocks]


# ----------------------------------------------------------------------------------------------------- text and Markdown


def test_the_text_is_the_file_without_its_byte_order_mark(tmp_path: Path) -> None:
    text = "# Größe\r\n\r\nText. \r\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        for name in ("a.md", "a.txt", "README"):
            assert one(tmp_path, name, text.encode(encoding)).text == text
    assert one(tmp_path, "a.md.gz", gzip.compress(text.encode())).text == text


def test_a_text_of_another_encoding_is_refused_with_the_remedy(tmp_path: Path) -> None:
    for data in ("Größe".encode("latin-1"), ("plain text " * 9).encode("utf-16-le")):
        found = refused(tmp_path, "a.txt", data)
        assert found.reason in ("encoding", "binary") and "UTF-8" in found.detail


def test_markdown_knows_headings_code_tables_lists_and_what_says_nothing() -> None:
    text = (
        "Intro\r\n\r\n# A `b` *c* {#a .x}\r\n\r\n- one\r\n\r\n  ```\r\n  # no heading\r\n  ```\r\n- two\r\n\r\n"
        "Sub\r\n---\r\n\r\n| x |\r\n|---|\r\n| 1 |\r\n\r\n<!-- note -->\r\n\r\n"
        "[l]: http://x.org\r\n\r\n> # quoted\r\n\r\n# Next\r\n"
    )
    assert shown(content_of(text, "markdown")) == [
        ("prose", "Intro", ()),
        ("heading", "# A `b` *c* {#a .x}", ("A b c",)),
        ("prose", "- one", ("A b c",)),
        ("code", "```\r\n  # no heading\r\n  ```", ("A b c",)),
        ("prose", "- two", ("A b c",)),
        ("heading", "Sub\r\n---", ("A b c", "Sub")),
        ("table", "| x |\r\n|---|\r\n| 1 |", ("A b c", "Sub")),
        ("markup", "<!-- note -->", ("A b c", "Sub")),
        ("markup", "[l]: http://x.org", ("A b c", "Sub")),
        ("prose", "> # quoted", ("A b c", "Sub")),
        ("heading", "# Next", ("Next",)),
    ]


@pytest.mark.parametrize(
    ("front", "license", "language"),
    [
        ("---\ntitle: x\nlicense: MIT\nlang: ja-JP\n---\n", "MIT", "ja"),
        ("---\r\nlicence: {name: CC BY 4.0, url: x}\r\n---\r\n", "CC BY 4.0", None),
        ("---\nlicense: [MIT, Apache-2.0]\n...\n", "MIT, Apache-2.0", None),
        ('+++\nlicense = "0BSD"\n+++\n', "0BSD", None),
        ("---\ntitle: a: b\n---\n", None, None),
    ],
)
def test_front_matter_is_no_text_and_its_licence_is_read(front: str, license: str | None, language: str | None) -> None:
    found = content_of(front + "# T\n", "markdown")
    assert (found.license, found.language) == (license, language)
    assert shown(found) == [("front_matter", front.strip(), ()), ("heading", "# T", ("T",))]


def test_text_between_two_rules_is_no_front_matter() -> None:
    assert [kind for kind, *_ in shown(content_of("---\n\nWords of a poem\n\n---\n\nEnd", "markdown"))] == [
        "markup", "prose", "markup", "prose",
    ]  # fmt: skip


def test_imports_of_mdx_are_markup(tmp_path: Path) -> None:
    found = one(tmp_path, "a.mdx", "import X from './x'\n\nimport the boat.\n")
    assert [kind for kind, *_ in shown(found)] == ["markup", "markup"]
    assert shown(content_of("import the boat.\n", "markdown"))[0][0] == "prose"


def test_chapters_of_a_plain_text_are_headings() -> None:
    text = "Chapter 1\n\nIt was cold.\nChapter 2 was not yet written.\n\nCHAPTER II. Snow\n\nIt snowed.\n\n第三章\n\n雪。"
    assert [(kind, headings) for kind, _, headings in shown(content_of(text, "text"))] == [
        ("heading", ("Chapter 1",)),
        ("prose", ("Chapter 1",)),
        ("heading", ("CHAPTER II. Snow",)),
        ("prose", ("CHAPTER II. Snow",)),
        ("heading", ("第三章",)),
        ("prose", ("第三章",)),
    ]


# ----------------------------------------------------------------------------------------------------------------- HTML


def test_a_page_is_its_main_content(tmp_path: Path) -> None:
    found = one(tmp_path, "a.html", PAGE)
    assert (found.license, found.language) == ("https://x.org/by/4.0/", "en")
    assert shown(found) == [
        ("heading", "Setup & use", ("Setup & use",)),
        ("prose", "Install it with\xa0pip.\nThen run.", ("Setup & use",)),
        ("heading", "Options", ("Setup & use", "Options")),
        ("prose", "- one x", ("Setup & use", "Options")),
        ("prose", "- two", ("Setup & use", "Options")),
        ("code", "def f():\n    return 1", ("Setup & use", "Options")),
        ("table", "name | value\na | 1", ("Setup & use", "Options")),
    ]


def test_a_page_without_an_ending_is_known_by_its_beginning(tmp_path: Path) -> None:
    assert one(tmp_path, "page", PAGE).kind == "html"


def test_a_page_may_say_its_encoding(tmp_path: Path) -> None:
    page = '<meta charset="shift_jis"><p>日本語の文です。</p>'
    assert one(tmp_path, "a.html", page.encode("shift_jis")).text == "日本語の文です。"
    assert one(tmp_path, "b.html", page.encode()).text == "日本語の文です。"


@pytest.mark.parametrize(
    "page",
    [
        "<p>ok</p><script>while(1){}",
        "<p>ok</p><!-- never closed",
        "<p>ok</p><template><p>no</p></template><svg><text>no</text></svg>",
        "<p>o\0k</p><p hidden>no",
        "<b>" * 1500 + "ok",
        "<div>" * 1900 + "ok",
        "<table><tr><td>" * 300 + "ok",
        "<ul><li>" * 500 + "ok",
        "<pre>ok",
        "</p></div>ok",
        "<p onclick='no'>ok<a href='javascript:no'></a>",
    ],
)
def test_hostile_pages_give_what_a_reader_sees(page: str) -> None:
    text = content_of(page, "html").text
    assert "ok" in text.replace("\ufffd", "") and "no" not in text


def test_a_page_of_elements_without_end_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "a.html", "<div>" * 100_000).reason == "too_deep"


def test_a_page_without_text_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "a.html", "<script>app()</script><img src=x>").reason == "empty"


# ------------------------------------------------------------------------------------------------------------------ PDF


def test_a_pdf_is_the_text_of_its_pages(tmp_path: Path) -> None:
    found = one(tmp_path, "a.pdf", pdf("The first page.\nIts second line.", "", "The third."))
    assert [(b.page, found.text[b.start : b.stop]) for b in found.blocks] == [
        (1, "The first page.\nIts second line."),
        (3, "The third."),
    ]


def test_pdfs_that_cannot_be_read_are_refused_each_with_its_reason(tmp_path: Path) -> None:
    assert refused(tmp_path, "a.pdf", encrypted()).reason == "encrypted"
    assert refused(tmp_path, "b.pdf", b"%PDF-1.4 and no more").reason == "damaged"
    assert refused(tmp_path, "c.pdf", b"plain words").reason == "damaged"
    assert refused(tmp_path, "d.pdf", pdf("", "")).reason == "no_text"
    assert refused(tmp_path, "e.pdf.gz", gzip.compress(pdf("x"))).reason == "container"


# ----------------------------------------------------------------------------------------------------------------- JSON


def test_every_record_with_a_text_is_a_document(tmp_path: Path) -> None:
    lines = (
        '{"title": "T", "text": "One.", "license": "MIT", "language": "de-AT"}\n\n'
        '{"content": "## H\\n\\nTwo."}\r\n{"id": 3}\n{"body": "Four", "text": null}\n'
    )
    found = read(tmp_path, "a.jsonl", lines)
    documents = [d for d in found if isinstance(d, Document)]
    assert [(d.name, d.file, d.text, d.license, d.language) for d in documents] == [
        ("a.jsonl:1", "a.jsonl", "One.", "MIT", "de"),
        ("a.jsonl:3", "a.jsonl", "## H\n\nTwo.", None, None),
        ("a.jsonl:5", "a.jsonl", "Four", None, None),
    ]
    assert [d.blocks[-1].headings for d in documents] == [("T",), ("H",), ()]
    assert [(b.position, b.reason) for b in found if isinstance(b, Bad)] == [(4, "no_text")]
    assert text_of(tmp_path, "a.jsonl:3") == "## H\n\nTwo."


def test_an_array_and_a_packed_file_are_read_too(tmp_path: Path) -> None:
    array = b'[{"text": "One."},\n {"text": "Two."}]'
    for name, data in (("a.json", array), ("b.jsonl.gz", gzip.compress(array)), ("c.json", b'{"text": "One."}')):
        found = read(tmp_path, name, data)
        assert [d.text for d in found if isinstance(d, Document)] == ["One.", "Two."][: len(found)]
        assert len(found) == (1 if name == "c.json" else 2)


def test_a_file_of_other_records_is_refused_as_a_whole(tmp_path: Path) -> None:
    for content in ('{"q": 1}\n' * 3, '{"q": 1}\n' * 5000):
        found = refused(tmp_path, "a.jsonl", content)
        assert found.reason == "no_text" and "rename the field" in found.detail


# ---------------------------------------------------------------------------------------------------------- other files


def test_what_is_no_text_is_refused_whatever_its_name(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("word/document.xml", "<x/>")
    for name, data, reason in [
        ("a.docx", archive.getvalue(), "container"),
        ("a.md", b"\x89PNG\r\n\x1a\n\0\0", "container"),
        ("a.txt", b"abc\0def", "binary"),
        ("a.md.gz", gzip.compress(b"# T\n")[:-4], "damaged"),
    ]:
        assert refused(tmp_path, name, data).reason == reason
