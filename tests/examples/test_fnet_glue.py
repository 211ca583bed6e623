"""The example of BERT with Fourier mixing runs small through every arm, on pairs too, and what is done is kept."""

from __future__ import annotations

import json
import random
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

EXAMPLES = Path(__file__).parents[2] / "examples"
WORDS = ["the", "a", "cat", "dog", "bird", "sat", "ran", "flew", "fast", "slow", "on", "under", "mat", "tree", "and"]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield import_module("fnet_glue")
    sys.modules.pop("fnet_glue", None)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A BERT of two narrow layers that knows a few words."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}).save_pretrained(tmp_path / "bert")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(pieces), max_position_embeddings=32, **sizes)).save_pretrained(
        tmp_path / "bert"
    )
    return tmp_path / "bert"


@pytest.fixture
def glue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences, and pairs of them, of which those with a cat are right."""
    stream = random.Random(0)
    for task, sizes in {"sst2": (("train", 300), ("dev", 40)), "rte": (("train", 120), ("dev", 20))}.items():
        (tmp_path / "data" / task).mkdir(parents=True)
        for side, count in sizes:
            texts = [" ".join(stream.choices(WORDS, k=stream.randint(3, 9))) for _ in range(2 * count)]
            if task == "sst2":
                lines = ["sentence\tlabel", *(f"{text}\t{int('cat' in text)}" for text in texts[:count])]
            else:
                labels = ("not_entailment", "entailment")
                pairs = zip(texts[:count], texts[count:], strict=True)
                lines = ["sentence1\tsentence2\tlabel", *(f"{a}\t{b}\t{labels['cat' in a]}" for a, b in pairs)]
            (tmp_path / "data" / task / f"{side}.tsv").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("FORMERS_DATA", str(tmp_path / "data"))


def test_every_arm_runs_and_is_kept(
    module: Any, model: Path, glue: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = tmp_path / "out"
    words = ["fnet_glue", str(model), "--tasks", "sst2,rte", "--epochs", "0.5", "--examples", "200"]
    words += ["--masked-steps", "5", "--transfer-steps", "4", "--repair-steps", "6"]
    monkeypatch.setattr(sys, "argv", [*words, "--folder", str(folder), "--no-speed"])
    module.main()
    table = capsys.readouterr().out
    for arm in module.ARMS:
        assert arm in table
        for task in ("sst2", "rte"):
            assert set(json.loads((folder / task / f"{arm}-0" / "result.json").read_text())) == {"validation", "test"}
    monkeypatch.setattr(module, "train", None)  # nothing is trained again
    module.main()
    assert table.endswith(capsys.readouterr().out)


def test_batches_are_of_equal_length_and_hold_every_text_once(module: Any) -> None:
    texts = module.Texts(tuple((2, *[5] * (i % 7), 3) for i in range(200)), tuple(range(200)))
    batches = list(texts.batches(random.Random(0)))
    assert sorted(torch.cat([batch["labels"] for batch in batches]).tolist()) == list(range(200))
    assert max(len(batch["labels"]) for batch in batches) <= module.BATCH


def test_the_second_text_of_a_pair_is_of_type_one(module: Any) -> None:
    [batch] = module.Texts(((2, 7, 7, 3, 8, 3),), (0,), 3).batches()
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1]]


def test_edited_texts_keep_their_ends_and_have_no_labels(module: Any) -> None:
    texts = module.Texts(((2, *range(10, 16), 3, *range(20, 26), 3), (2, 7, 3)), (1, 0), 3)
    copies = module.edited(texts, 20, seed=0)
    assert copies == module.edited(texts, 20, seed=0)
    assert set(copies.labels) == {module.UNLABELLED}
    pairs = [ids for ids in copies.ids if len(ids) > 3]
    assert len(pairs) == 20
    assert len(set(pairs)) > 15
    for ids in pairs:
        assert (ids[0], ids[-1], ids.count(3)) == (2, 3, 2)
        assert set(ids) <= {2, 3, *range(7, 26)}
        assert 12 <= len(ids) <= 15
    assert {ids for ids in copies.ids if len(ids) <= 3} == {(2, 7, 3)}


def test_what_fine_tuning_has_changed_is_added_to_the_student(module: Any, model: Path) -> None:
    base = module.from_hf(module.AutoModel.from_pretrained(model)).eval()
    after = module.with_mixer(base, base.config.mixer, module.SequenceClassifier)
    student = module.with_mixer(base, module.GAINED, module.SequenceClassifier)
    with torch.no_grad():
        after.model.layers[1].ffn.up_proj.weight += 0.5
        student.model.layers[1].ffn.up_proj.weight += 0.25
    module.add_difference(student, base, after)
    want = base.layers[1].ffn.up_proj.weight + 0.75
    torch.testing.assert_close(student.model.layers[1].ffn.up_proj.weight, want)
    assert torch.equal(student.score.weight, after.score.weight)
