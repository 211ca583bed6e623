"""A sentence for each arm."""

from __future__ import annotations

from collections.abc import Callable

from formers.lab.report.arm_sentences import arm_sentences
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Results

Study = Callable[[int], Results]


def test_every_other_arm_is_told_against_the_base_best_first(study: Study) -> None:
    summary = summarize(study(3))
    sentences = arm_sentences(summary)
    assert [sentence.partition(":")[0] for sentence in sentences] == [
        f"softmax → {name}" for name in ("metric", "dense, danet", "linear", "pool", "identity")
    ]
    linear = sentences[2]
    assert "nats/token" in linear
    assert "training time" in linear
    assert linear.count("%") >= 2
    assert "no state" in sentences[-1]


def test_a_difference_that_is_not_established_says_so(study: Study) -> None:
    texts = arm_sentences(summarize(study(3)))
    assert any("≈" in text for text in texts)
