"""Small tokenizers for tests: single bytes, two control tokens, and the chat template that the test is about.

save(tmp_path, GENERATION)    a folder with tokenizer.json, tokenizer_config.json and chat_template.jinja
"""

from __future__ import annotations

from pathlib import Path

START, END = "<|im_start|>", "<|im_end|>"
HEADER = "{{ '<|im_start|>' + message['role'] + '\n' }}"
PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
TOOLS = "{% if tools %}{{ '<|im_start|>tools\n' }}{{ tools | tojson }}{{ '<|im_end|>\n' }}{% endif %}"
CALLS = "{% for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}"


def template(answer: str, other: str = "{{ message['content'] + '<|im_end|>\n' }}", before: str = TOOLS) -> str:
    """ChatML, with the given way to write what an assistant says and what others do."""
    turn = "{% if message['role'] == 'assistant' %}" + HEADER + answer + "{% else %}" + HEADER + other + "{% endif %}"
    return before + "{% for message in messages %}" + turn + "{% endfor %}" + PROMPT


CHATML = template("{{ message['content'] }}" + CALLS + "{{ '<|im_end|>\n' }}")
GENERATION = template("{% generation %}{{ message['content'] }}" + CALLS + "{{ '<|im_end|>' }}{% endgeneration %}{{ '\n' }}")


def save(path: Path, chat_template: str | None = CHATML, eos: str = END) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [START, END, "</s>"]
    tokenizer = Tokenizer(models.BPE(vocab={token: n for n, token in enumerate([*special, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=eos, bos_token=START, additional_special_tokens=[START, END]
    )
    fast.chat_template = chat_template
    fast.save_pretrained(path)
    return path
