"""Names of topics by class-based TF-IDF: what a person would accept, in any script."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sft_assets.clustered.topics.keywords import topic_keywords, topic_name
from sft_assets.clustered.topics.stop_words import stop_words

COOKING = [
    "Please write a recipe for a vegetable soup. Chop the onions and simmer the soup for 20 minutes.",
    "Write a recipe for tomato soup. Simmer the tomatoes with 2 onions, then blend the soup.",
    "Please write how long soups simmer. A soup with onions simmers for half an hour.",
    "Please write the steps of the given recipe. Peel the onion, simmer the soup, serve.",
]
LEARNING = [
    "Please write about machine learning. Machine learning models learn from labelled data.",
    "Write what a model is in machine learning. A model maps features to labels.",
    "Please explain how machine learning models are trained. Training fits the model to data.",
    "Please write which data machine learning needs. Labelled data, for the given model.",
]
SQL = [
    "Please write an SQL query.\n```sql\nSELECT name FROM users WHERE age > 30;\n```",
    "Write an SQL query that counts users.\nSELECT COUNT(*) FROM users GROUP BY country;",
    "Please write an SQL query for the given table.\nSELECT id, name FROM orders JOIN users ON orders.user = users.id",
]


def keywords(*topics: list[str], most: int = 8) -> list[list[str]]:
    texts = list(itertools.chain.from_iterable(topics))
    labels = np.repeat(np.arange(len(topics)), [len(topic) for topic in topics])
    return list(topic_keywords(texts, labels, most).values())


def test_topics_are_named_by_what_the_others_have_not() -> None:
    cooking, learning, sql = keywords(COOKING, LEARNING, SQL)
    assert {"soup", "recipe"} <= set(cooking)
    assert "machine learning" in learning
    assert any("sql" in word for word in sql)


def test_what_prompts_say_everywhere_names_nothing() -> None:
    boilerplate = {"please", "write", "given", "explain", "the"}
    assert all(boilerplate.isdisjoint(word.split()) for words in keywords(COOKING, LEARNING, SQL) for word in words)


def test_a_word_that_every_topic_has_counts_less_than_a_rarer_one_of_its_own() -> None:
    said = [[f"Kindly compose verses {text}" for text in topic] for topic in (COOKING, LEARNING, SQL)]
    for words in keywords(*said, most=4):
        assert {"kindly", "compose", "verses"}.isdisjoint(itertools.chain.from_iterable(word.split() for word in words))


def test_a_pair_of_words_stands_for_its_parts() -> None:
    _, learning, _ = keywords(COOKING, LEARNING, SQL)
    assert "machine" not in learning and "learning" not in learning


def test_two_forms_of_a_word_are_one_keyword_in_the_form_that_is_usual() -> None:
    cooking, learning, _ = keywords(COOKING, LEARNING, SQL)
    assert "soup" in cooking and "soups" not in cooking
    assert "model" in learning and "models" not in learning


def test_numbers_markup_and_single_letters_are_no_keywords() -> None:
    texts = [f"<div class='x'>https://example.org/page y = {n} \\frac{{a}}{{b}} turbine &nbsp; 42nd</div>" for n in range(6)]
    ((*words,), _) = keywords(texts, COOKING)
    assert set(words) == {"turbine"}


def test_an_x_ray_is_one_word() -> None:
    medical, _ = keywords(["Take a plain x-ray of the wrist.", "The X-ray shows the wrist."], COOKING)
    assert any("x-ray" in word for word in medical) and "ray" not in medical


def test_scripts_without_spaces_are_named_by_whole_words() -> None:
    chinese = [
        "什么是机器学习？机器学习是人工智能的一个分支。",
        "请解释机器学习的用途。我们用机器学习来预测天气。",
        "人工智能可以帮助医生吗？人工智能和机器学习都可以。",
        "请写一篇关于人工智能的文章。人工智能改变了世界。",
    ]
    (words, _) = keywords(chinese, COOKING)
    assert {"机器学习", "人工智能"} <= set(words)
    assert not any(word != whole and word in whole for word in words for whole in ("机器学习", "人工智能"))


def test_overlapping_pieces_are_not_both_listed() -> None:
    chinese = ["保持健康饮食。", "健康饮食很重要。", "保持健康。", "健康饮食习惯。", "保持健康饮食习惯。"]
    words, _ = keywords(chinese, COOKING)
    assert words
    for one, other in itertools.permutations(words, 2):
        assert not any(one[i : i + 2] in other for i in range(len(one) - 1))


def test_japanese_katakana_are_words_and_particles_are_not() -> None:
    japanese = ["データを分析するプログラムです。", "このデータの分析をプログラムで行います。", "分析のためのデータです。"]
    words, _ = keywords(japanese, COOKING)
    assert {"データ", "分析"} <= set(words)
    assert not {"です", "ます", "する"} & set(words)


def test_thai_characters_keep_their_marks() -> None:
    thai = ["น้ำท่วมกรุงเทพ", "กรุงเทพมีน้ำท่วม", "น้ำท่วมที่กรุงเทพ"]
    words, _ = keywords(thai, COOKING)
    assert words and not any(word[0] in "้ำ่ี" for word in words)


@pytest.mark.parametrize(
    ("texts", "stop"),
    [
        (
            ["Wie wird das Brot gebacken? Das Brot wird im Ofen gebacken.", "Warum ist das Brot so dunkel?"],
            {"das", "wird", "wie"},
        ),
        (
            ["Qu'est-ce que l'économie ? L'économie est une science.", "Pourquoi l'économie change-t-elle ?"],
            {"est", "que", "une"},
        ),
        (["¿Qué es la energía solar? La energía del sol.", "La energía solar para casas."], {"la", "del", "qué", "para"}),
    ],
)
def test_stop_words_of_other_languages_name_nothing(texts: list[str], stop: set[str]) -> None:
    words, _ = keywords(texts, COOKING)
    assert words and stop.isdisjoint(itertools.chain.from_iterable(word.split() for word in words))


def test_elision_leaves_the_noun() -> None:
    words, _ = keywords(["L'économie change.", "Il étudie l'économie.", "C'est de l’économie."], COOKING)
    assert words[0] == "économie"


def test_noise_counts_nowhere() -> None:
    texts = [*COOKING, *LEARNING]
    labels = [0] * len(COOKING) + [1] * len(LEARNING)
    noise = ["soup machine learning recipe onions"] * 20
    assert topic_keywords([*noise, *texts], [-1] * 20 + labels) == topic_keywords(texts, labels)


def test_one_text_that_repeats_itself_does_not_name_the_topic() -> None:
    cooking, _ = keywords([*COOKING, "turbine " * 100], LEARNING)
    assert cooking[0] != "turbine"


def test_the_order_of_the_texts_plays_no_part() -> None:
    texts, labels = [*COOKING, *LEARNING, *SQL], [3] * 4 + [5] * 4 + [8] * 3
    assert topic_keywords(texts[::-1], labels[::-1]) == topic_keywords(texts, labels)


def test_nothing_to_name_gives_no_names() -> None:
    assert topic_keywords([], []) == {}
    assert topic_keywords(["soup"], [-1]) == {}
    assert topic_keywords(["42", "", "soup with onions"], [0, 0, 1])[0] == []


def test_a_single_topic_is_named_too() -> None:
    assert "soup" in topic_keywords(COOKING, [0] * len(COOKING))[0]


def test_texts_and_topics_have_to_go_together() -> None:
    with pytest.raises(ValueError, match="2 texts, 1 topics"):
        topic_keywords(["a", "b"], [0])


def test_a_name_is_the_first_three_keywords() -> None:
    assert topic_name(["soup", "recipe", "onions", "simmer"]) == "soup, recipe, onions"
    assert topic_name(["soup"]) == "soup"


def test_stop_words_are_words_and_not_what_yaml_makes_of_them() -> None:
    assert {"no", "on", "si", "y", "да"} <= stop_words()
