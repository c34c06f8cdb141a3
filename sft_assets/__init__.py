"""sft_assets: piles of instruction data in, one clean, explained, reproducible fine-tuning dataset out."""

__version__ = "0.1.0"
