"""PDF, by PDFium: the text of its pages, one after the other.

    guide.pdf    ->  "Setup\\nInstall it with pip.\\n\\nUse\\n..."    Block(0, 26, "prose", (), page=1)   Block(28, ..., page=2)

A PDF holds lines at places on a page: paragraphs and headings are not seen, words that were cut at the end of a line are whole.
"""

from __future__ import annotations

import re
from pathlib import Path

import pypdfium2

from sft_assets.augmented.chunks.document import Block, Content
from sft_assets.raw.containers import Refused

HYPHEN = re.compile(r"[\x02\ufffe]\s*")  # what PDFium puts where a word was cut
UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
PASSWORD = 4  # FPDF_ERR_PASSWORD


def read(path: Path) -> Content:
    """The text of every page.

    Raises:
        Refused: it is encrypted or damaged, or has no text.
    """
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if error.err_code == PASSWORD:
            raise Refused("encrypted", "is a PDF with a password; save it without one") from None
        raise Refused(
            "damaged", f"is a PDF that cannot be opened ({error}); fetch it again, or print it to a new PDF"
        ) from None
    pieces: list[str] = []
    blocks: list[Block] = []
    length, number = 0, 0
    try:
        for number in range(1, len(document) + 1):
            page = document[number - 1]
            text = page_text(page.get_textpage().get_text_bounded())
            page.close()
            if text:
                pieces.append(text + "\n\n")
                blocks.append(Block(length, length + len(text), "prose", (), number))
                length += len(text) + 2
    except pypdfium2.PdfiumError as error:
        raise Refused("damaged", f"is a PDF whose page {number} cannot be read ({error}); print it to a new PDF") from None
    finally:
        document.close()
    if not blocks:
        raise Refused("no_text", "is a PDF without text (a scan?); run it through text recognition (OCR) first")
    return Content("".join(pieces), blocks)


def page_text(text: str) -> str:
    """What PDFium gives of a page, with plain line ends and whole words."""
    text = UNSEEN.sub("", HYPHEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()
