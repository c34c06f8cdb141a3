"""rewards: a reward model whose rewards are known, what it cannot read, and models that are none."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from sft_assets.augmented.generations.work import rewarding
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.models import reward as module
from sft_assets.models.reward import Reward, RewardModel
from sft_assets.recipe import Recipe
from sft_assets.record import Message
from sft_assets.scored.rewards import rewards
from sft_assets.scored.rule_hits.asset import rule_hits
from tests.made_rows import chat, fill, make, query
from tests.test_likelihoods import CALL, CHATML, CONTEXT, other_precision, resaved, tiny, tiny_tokenizer

GAIN = 3.0
LONG = "The quick brown fox jumps over the lazy dog while seven wizards mix a potion of jade."


def share_of_a(path: Path, pad: int | None = 0, **config: Any) -> Path:
    """A reward model that counts: its reward is `known(share of the tokens that are an "a")`.

    Tokens are one of two vectors, "a" or not. Queries and keys are zero, so that attention is the mean over all tokens; it
    hands on the "a" part of that mean, times GAIN, and the head reads it after the last norm.
    """
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    vocabulary = tiny_tokenizer(path)
    model = LlamaForSequenceClassification(
        LlamaConfig(
            vocab_size=vocabulary, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1,
            num_key_value_heads=1, max_position_embeddings=CONTEXT, num_labels=1, pad_token_id=pad, rms_norm_eps=1e-12,
        )
    )  # fmt: skip
    letter = RewardTokens(path)("a")[0]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if "norm" in name else 0.0)
        model.model.embed_tokens.weight[:, 1] = 1.0
        model.model.embed_tokens.weight[letter] = torch.tensor([1.0, 0, 0, 0])
        attention = model.model.layers[0].self_attn
        attention.v_proj.weight[0, 0] = 1.0
        attention.o_proj.weight[2, 0] = GAIN
        model.score.weight[0, 2] = 1.0
    model.save_pretrained(path)
    return resaved(path, **config) if config else path


class RewardTokens:
    """The tokens of a text as the tiny tokenizer has them."""

    def __init__(self, path: Path):
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(path)

    def __call__(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found


def known(path: Path, *turns: str) -> float:
    """The reward of a conversation. A token's vector has length 1, which its norm makes 2."""
    tokens = RewardTokens(path)
    found, letter = tokens(written(*turns)), tokens("a")[0]
    handed_on = 2 * GAIN * found.count(letter) / len(found)
    return 2 * handed_on / math.sqrt(1 + handed_on**2)


def written(*turns: str) -> str:
    return "".join(f"<|im_start|>{('user', 'assistant')[n % 2]}\n{text}<|im_end|>\n" for n, text in enumerate(turns))


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return share_of_a(tmp_path_factory.mktemp("models") / "counting")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 1)


def given(model: RewardModel, *chats: tuple[str, ...]) -> list[Reward]:
    conversations = [([Message(("user", "assistant")[n % 2], t) for n, t in enumerate(turns)], None) for turns in chats]
    found = {index: one for batch in model.rewards(conversations) for index, one in batch}
    return [found[index] for index in range(len(chats))]


# ------------------------------------------------------------------------------------------------------------ the rewards


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("pad", [0, None], ids=["padded", "no padding token"])
def test_rewards_are_the_known_ones_whatever_else_is_in_the_batch(tmp_path: Path, pad: int | None) -> None:
    path = share_of_a(tmp_path, pad)
    chats = [("Hi", "aaa"), ("Hi", "bbb"), ("Say a", "banana"), ("?", "a"), ("Hi", "aaaaaaaaaa")]
    tokens = RewardTokens(path)
    for turns, found in zip(chats, given(RewardModel(str(path)), *chats), strict=True):
        assert found.tokens == len(tokens(written(*turns)))
        assert found.reward == pytest.approx(known(path, *turns), abs=1e-4)


def test_a_conversation_that_is_too_long_has_no_reward_and_says_so(counting: Path) -> None:
    short, long = given(RewardModel(str(counting)), ("Hi", "a"), ("Hi", "a" * CONTEXT))
    assert short.status == "scored"
    assert long.status == "too_long"
    assert long.tokens > CONTEXT
    assert math.isnan(long.reward)


@pytest.mark.usefixtures("float32")
def test_pairs_may_be_rated_by_the_reward_model(counting: Path) -> None:
    rate = rewarding(Recipe.model_validate({"rewards": {"model": str(counting)}}))
    turns = [Message("user", "aab"), Message("assistant", "aba")]
    assert rate(turns, None) == pytest.approx(known(counting, "aab", "aba"), abs=1e-4)
    assert rate([Message("user", "Hi"), Message("assistant", "a" * CONTEXT)], None) is None
    with pytest.raises(SftError, match="name the model in"):
        rewarding(Recipe())


def test_what_the_template_refuses_has_no_reward(counting: Path) -> None:
    turns = [Message("tool", "18 degrees"), Message("assistant", "Mild.")]
    ((_, found),) = next(RewardModel(str(counting)).rewards([(turns, None)]))
    assert found.status == "not_in_template"


def test_a_forward_pass_has_a_bounded_size(counting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batches = RewardModel(str(counting)), []
    score = model._score
    monkeypatch.setattr(
        model, "_score", lambda texts, batch: batches.append([len(texts[i]) for i in batch]) or score(texts, batch)
    )
    monkeypatch.setattr(module, "FORWARD", 100)
    given(model, *[("Hi", "a" * n) for n in range(1, 20)])
    assert all(max(batch) * len(batch) <= 100 for batch in batches)
    assert len(batches) < 19


# ------------------------------------------------------------------------------------------------------------- the asset


@pytest.mark.usefixtures("float32")
def test_the_table_has_each_reward_once_and_the_next_run_asks_nobody(
    folder: Folder, counting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, [chat("Name a fruit.", "banana"), chat("Name another.", "cherry"), chat("Say it long.", LONG)])
    make(folder, rule_hits)
    report = make(folder, rewards, rewards={"model": str(counting)})[0].report
    assert (report["scored"], report["no_score"], report["wanted"], report["asked"]) == (2, {"too_long": 1}, 3, 3)
    found = query(
        folder,
        "SELECT messages[-1].content, status, reward, tokens, model FROM rewards JOIN store.contents USING (content_hash)",
    )
    by_answer = {answer: (status, reward, tokens, model) for answer, status, reward, tokens, model in found}
    status, value, _, model = by_answer["banana"]
    assert (status, model) == ("scored", str(counting))
    assert value == pytest.approx(known(counting, "Name a fruit.", "banana"), abs=1e-3)
    assert by_answer[LONG][:2] == ("too_long", None)
    monkeypatch.setattr(RewardModel, "model", property(lambda self: pytest.fail("the model was loaded")))
    again = make(folder, rewards, rewards={"model": str(counting)})[0].report
    assert (again["cached"], again["asked"], again["scored"]) == (3, 0, 2)


def test_without_a_model_there_are_no_rewards(folder: Folder) -> None:
    fill(folder, [chat("Name a fruit.", "banana")])
    make(folder, rule_hits)
    assert make(folder, rewards)[0].report["kept"] == 0


def test_other_weights_and_another_precision_ask_anew(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, [chat("Name a fruit.", "banana")])
    make(folder, rule_hits)
    path = share_of_a(tmp_path / "model")

    def cached() -> int:
        return int(make(folder, rewards, rewards={"model": str(path)})[0].report["cached"])

    assert [cached(), cached()] == [0, 1]
    monkeypatch.setattr(f"{__name__}.GAIN", 5.0)
    share_of_a(path)
    assert [cached(), cached()] == [0, 1]
    other_precision(monkeypatch)
    assert cached() == 0


# ---------------------------------------------------------------------------------------------------------- no reward models


def test_a_classifier_of_several_labels_is_refused_with_their_names(counting: Path, tmp_path: Path) -> None:
    labels = {"id2label": {"0": "toxic", "1": "fine"}, "label2id": {"toxic": 0, "fine": 1}}
    path = resaved(shutil.copytree(counting, tmp_path / "m"), **labels)
    with pytest.raises(SftError, match=r"has 2 outputs \(toxic, fine\): a reward model has one"):
        _ = RewardModel(str(path)).model


def test_a_language_model_is_not_given_a_random_head(tmp_path: Path) -> None:
    path = resaved(tiny(tmp_path), id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})
    with pytest.raises(SftError, match=r"its weights lack score\.weight"):
        _ = RewardModel(str(path)).model


def test_pickles_and_code_are_refused(counting: Path, tmp_path: Path) -> None:
    path = shutil.copytree(counting, tmp_path / "pickled")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(SftError, match="safetensors only"):
        RewardModel(str(path))
    path = resaved(
        shutil.copytree(counting, tmp_path / "coded"), model_type="mine",
        auto_map={"AutoConfig": "mine.Mine", "AutoModelForSequenceClassification": "mine.Mine"},
    )  # fmt: skip
    (path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(SftError, match="Python code that comes with it"):
        _ = RewardModel(str(path)).model
    assert not (tmp_path / "ran").exists()


def test_tool_calls_do_not_stop_a_reward(counting: Path) -> None:
    turns = [Message("user", "Rain?"), Message("assistant", "", tool_calls=CALL)]
    ((_, found),) = next(RewardModel(str(counting)).rewards([(turns, None)]))
    assert found.status == "scored"
    assert "tool_calls" not in CHATML
