"""What methods may start from: the rows, prompts, conflicts and chunks that there are, and the cells that lack rows."""

from __future__ import annotations

from typing import Protocol

from sft_assets.augmented.candidate import Cell, Chunk, Parent


class Material(Protocol):
    """What methods may start from. Everything comes in an order that depends on the rows and the recipe's seed alone."""

    def wanted(self, rows: int | None) -> list[Cell]:
        """The cell of each row that the method is to try, those that lack most first, in turns; `rows` of them, or as many as
        the gaps ask for. Where `rows` asks for rows and no cell lacks any, cells as they are."""
        ...

    def near(self, cell: Cell, number: int, salt: str) -> list[Parent]:
        """So many sft rows with an answer, of the cell's topic and language, those of its difficulty, length and turns first;
        fewer where there are fewer. salt: methods with different salts get different rows."""
        ...

    def instructions(self, topic: int | None) -> list[str]:
        """What the users of all rows of a topic ask (None: of all topics)."""
        ...

    def prompts(self, number: int | None) -> list[Parent]:
        """Rows of kind 'prompt': nobody has answered them."""
        ...

    def conflicts(self, number: int | None) -> list[list[Parent]]:
        """Rows of one prompt and different answers, a list for each prompt."""
        ...

    def rows(self, number: int | None, salt: str) -> list[Parent]:
        """So many sft rows, spread over the topics."""
        ...

    def chunks(self, number: int | None) -> list[Chunk]:
        """Chunks of documents, spread over the documents."""
        ...
