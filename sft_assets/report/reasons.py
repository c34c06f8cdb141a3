"""What the reasons of the ledger mean, in a sentence each.

>>> meaning("deduped", "near_duplicate")
'Nearly the same words as a row that stays; numbers and negations are the same.'

Rules say it themselves (`why` of scored/rule_hits/rules); a limit of a score is told from its name.
"""

from __future__ import annotations

from sft_assets.scored.rule_hits.rules import rules

MEANINGS = {
    # raw: records and files that cannot be read
    "invalid_json": "The text is not JSON.",
    "invalid_utf8": "The bytes are no UTF-8.",
    "lone_surrogate": "A character of the JSON is half of a pair, which no text can hold.",
    "truncated": "The text or the file ends before what it says is complete.",
    "not_json": "Nothing in the file can be read as JSON.",
    "invalid_csv": "The line is no line of the table: its quotes or its columns do not fit.",
    "duplicate_key": "A key stands twice in one record, so that it has two values.",
    "not_an_object": "The record has no named fields.",
    "too_deep": "Objects and lists within each other, more deeply than anything that is meant.",
    "too_large": "Larger than the recipe allows (raw.max_record_bytes).",
    "encoding": "The bytes are no text in the encoding that the file has, or that the recipe names.",
    "no_format": "Its fields fit none of the known formats.",
    "wrong_format": "It does not fit the format that the recipe names.",
    "bomb": "The packed file unpacks to far more than the recipe allows.",
    "outside": "A link that leads out of the data folder.",
    "unreadable": "The file cannot be opened.",
    "damaged": "The packed file is damaged.",
    "encrypted": "The packed file has a password.",
    "binary": "The file is no text.",
    "empty": "There is nothing in it.",
    # combined: records that are no conversation, and rows that the mixture leaves out
    "wrong_type": "A field holds something else than its format says.",
    "unknown_role": "A turn has a role that nobody knows; the recipe can map it (roles).",
    "no_prompt": "There is no question.",
    "no_turns": "There is no turn but the system prompt's.",
    "no_text": "There is no text.",
    "no_answers": "There is no answer.",
    "no_winner": "Of its answers none is the better one.",
    "empty_answer": "The answer is empty.",
    "empty_rejected": "The rejected answer is empty.",
    "empty_prompt": "The question is empty.",
    "empty_turn": "A turn of the assistant is empty.",
    "ends_without_answer": "The conversation does not end with an answer.",
    "starts_without_user": "The assistant speaks first.",
    "misplaced_system": "A system prompt stands in the middle.",
    "orphan_tool": "A tool answers, and nobody called it.",
    "identical_pair": "The chosen and the rejected answer are the same.",
    "deleted": "Its authors deleted it.",
    "license": "Its licence is not among those that the recipe allows (combined.allowed_licenses).",
    "not_sampled": "The recipe takes a share of this source only (weight), and this row is not in it.",
    "over_cap": "The recipe takes so many rows of this source (cap), and these were beyond it.",
    # deduped
    "exact_duplicate": "The same text as a row that stays, but for case, blanks and Unicode forms.",
    "near_duplicate": "Nearly the same words as a row that stays; numbers and negations are the same.",
    "semantic_duplicate": "Prompt and answer say the same as those of a row that stays, in other words.",
    "bloom_duplicate": "A Bloom filter has seen it before; with a small chance it has not.",
    # decontaminated
    "benchmark_item": "It holds a whole test item.",
    "benchmark_ngram": "It holds a long run of words of a test item.",
    "benchmark_coverage": "It holds most of what is a test item's own.",
    "benchmark_paraphrase": "It is a test item in other words.",
    # scored
    "judged_test_item": "A language model judged it to be a test item in other words.",
    "possible_test_item": "It may be a test item in other words.",
    "reviewed": "People decided so.",
    # clustered
    "too_similar": "A better row that stays says nearly the same (clustered.similarity).",
    "over_budget": "More rows than the recipe lets stay (clustered.budget); better ones came first.",
    "over_topic_cap": "More rows of its topic than the recipe lets stay (clustered.topic_cap).",
    "over_mix": "More rows of its kind than its share of the mix (clustered.mix).",
    # augmented: generated rows
    "unscored_likelihood": "Generated, and the likelihood gate could not score it.",
    "unscored_judge": "Generated, and the judge could not score it.",
    "unscored_reward": "Generated, and the reward model could not score it.",
    "no_gain": "Generated, and no harder or other than what it was made from.",
    "unchanged": "Generated, and the same as what it was made from.",
    "too_short": "Too short.",
    "too_long": "Too long.",
    "rouge": "Generated, and too near to another instruction.",
    "blacklisted": "Generated, and it asks for what a language model cannot give.",
    "copies_example": "Generated, and copied from an example of the prompt.",
    "copied_prompt_words": "Generated, and it repeats words of the prompt that asked for it.",
    "changed_facts": "Generated, and numbers or names of what it was made from are lost.",
    "duplicate_question": "Generated, and asked before of the same document.",
    "nothing_made": "The model's reply held nothing that can be used.",
    "equal_answers": "The answers that were to be compared are equal.",
    "unrated": "The answers that were to be compared have no rating.",
    "tie": "The answers that were to be compared have the same rating.",
    "margin": "The ratings of the two answers are too near to each other.",
    "unparsed": "The model's reply is not in the form that was asked for.",
    "failed": "The model did not reply.",
    "refused": "The endpoint refused the request.",
    # exported
    "prompt_only": "A question without an answer.",
    "review": "Marked for review, and the recipe exports only what is not (exported.without_review).",
}
SIDES = {"_below": "below", "_above": "above"}


def meaning(state: str, reason: str) -> str:
    """What a reason means; empty where its name has to do."""
    if state in ("scored", "augmented") and reason in rules():
        return rules()[reason].why
    if reason in MEANINGS:
        return MEANINGS[reason]
    for ending, side in SIDES.items():
        if reason.endswith(ending):
            return f"Its score `{reason.removesuffix(ending)}` is {side} the limit of the recipe."
    return ""
