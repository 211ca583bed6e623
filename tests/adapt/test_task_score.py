"""The score of a classifier on a task: the share of right answers, whatever the model's numbers of the classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from formers.adapt.swap_costs import swap_costs
from formers.adapt.task_score import TaskScore
from formers.adapt.use_attention import use_attention
from formers.part import Unsupported
from formers.tasks import parse

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog", "bird", "fish"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def classifier(names: tuple[str, ...] = ("LABEL_0", "LABEL_1")) -> BertForSequenceClassification:
    torch.manual_seed(0)
    labels: dict[str, Any] = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    config = BertConfig(vocab_size=len(PIECES), max_position_embeddings=32, initializer_range=0.8, **SIZES, **labels)
    return BertForSequenceClassification(config).eval()


@pytest.fixture
def tokenizer(tmp_path: Path) -> BertTokenizer:
    made = BertTokenizer(vocab={piece: i for i, piece in enumerate(PIECES)})
    made.save_pretrained(tmp_path / "bert")
    return made


@pytest.fixture
def task(tmp_path: Path) -> Any:
    """Pairs of texts, of which those with a cat in the second are of class yes."""
    generator = torch.Generator().manual_seed(0)
    lines = ["one\ttwo\tlabel"]
    for _ in range(300):
        words = [PIECES[5 + i] for i in torch.randint(4, (7,), generator=generator).tolist()]
        one, two = words[:3], words[3:]
        lines.append(f"{' '.join(one)}\t{' '.join(two)}\t{'yes' if 'cat' in two else 'no'}")
    (tmp_path / "pairs.tsv").write_text("\n".join(lines) + "\n")
    return parse(f"classify(path='{tmp_path}/pairs.tsv',columns=['one','two'])")


def score_of(task: Any, model: BertForSequenceClassification, tokenizer: Any, tmp_path: Path, most: int = 99) -> Any:
    return TaskScore.of(task, model, tokenizer, str(tmp_path / "bert"), most)


def test_it_is_the_share_of_right_answers(task: Any, tokenizer: Any, tmp_path: Path) -> None:
    model = classifier()
    score = score_of(task, model, tokenizer, tmp_path)
    assert score.metric == "accuracy"
    records = task.swap(tokenizer=str(tmp_path / "bert")).data.test.records
    right = 0
    for record in records:
        inputs = tokenizer(*record.texts, return_tensors="pt")
        assert inputs["token_type_ids"].any()
        right += ("no", "yes")[int(model(**inputs).logits.argmax())] == record.label
    assert 0 < right < len(records)
    assert score(model, score.ids_bl) == pytest.approx(-right / len(records))


def test_scores_of_other_classes_are_not_taken_from_a_file(task: Any, tokenizer: Any, tmp_path: Path) -> None:
    model, file = classifier(), tmp_path / "swaps.jsonl"
    score = score_of(task, model, tokenizer, tmp_path)
    swap_costs(model, score.ids_bl, [], file=file, score=score)
    inputs = score.inputs | {"token_type_ids": 1 - score.inputs["token_type_ids"]}
    for other in (replace(score, labels=1 - score.labels), replace(score, inputs=inputs)):
        with pytest.raises(ValueError, match="another model or other tokens"):
            swap_costs(model, other.ids_bl, [], file=file, score=other)


def test_classes_are_found_by_their_names(task: Any, tokenizer: Any, tmp_path: Path) -> None:
    plain = score_of(task, classifier(), tokenizer, tmp_path)
    turned = score_of(task, classifier(("Yes", "No")), tokenizer, tmp_path)
    assert plain.numbers == (0, 1)
    assert turned.numbers == (1, 0)
    assert turned(classifier(), turned.ids_bl) == pytest.approx(-1 - plain(classifier(), plain.ids_bl))


def test_so_many_texts_are_drawn_at_most(task: Any, tokenizer: Any, tmp_path: Path) -> None:
    scores = [score_of(task, classifier(), tokenizer, tmp_path, most=10) for _ in range(2)]
    assert len(scores[0].labels) == 10
    assert torch.equal(scores[0].ids_bl, scores[1].ids_bl)


def test_swaps_are_measured_by_it(task: Any, tokenizer: Any, tmp_path: Path) -> None:
    model = classifier()
    score = score_of(task, model, tokenizer, tmp_path)
    swaps = swap_costs(model, score.ids_bl, ["window(1)"], layers=[1], file=tmp_path / "swaps.jsonl", score=score)
    assert [swap.layers for swap in swaps] == [(), (0, 1), (1,)]
    assert swaps[0].nats == score(model, score.ids_bl)
    assert swaps[1].nats == score(use_attention(classifier(), "window(1)"), score.ids_bl)


def test_other_classes_and_tasks_are_refused(task: Any, tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the task has the classes no, yes, but the model good, bad"):
        score_of(task, classifier(("good", "bad")), tokenizer, tmp_path)
    with pytest.raises(ValueError, match="LABEL_2"):
        score_of(task, classifier(("LABEL_0", "LABEL_1", "LABEL_2")), tokenizer, tmp_path)
    with pytest.raises(Unsupported, match="gives no classes to texts"):
        score_of(parse("sort"), classifier(), tokenizer, tmp_path)
