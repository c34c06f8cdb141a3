"""A model and a tokenizer that are made on the spot: nothing is downloaded, a training step takes a moment.

<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\n...      Qwen3's own chat template, as TRL ships it
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def tokenizer(texts: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the texts: whatever is encoded is decoded to the same text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = (TEMPLATES / "qwen3.jinja").read_text()
    return fast


def model(size: int, folder: Path) -> LlamaForCausalLM:
    """Two layers, sixteen numbers wide; loaded from the folder that it was saved to, as DPO loads it again for reference."""
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return LlamaForCausalLM.from_pretrained(folder)
