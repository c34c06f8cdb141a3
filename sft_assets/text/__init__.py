"""Text as the comparisons see it. `plain` says in Python what a token and a shingle are; `kernel` does the same, compiled, over
Arrow buffers; `characters` has the tables of both. `faults`, `parts` and `hidden` are about texts as they are shown."""

from sft_assets.text.plain import jaccard, normal, numbers, shingles, tokens

__all__ = ["jaccard", "normal", "numbers", "shingles", "tokens"]
