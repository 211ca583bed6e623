"""The example of long reviews runs small through every arm, reads what it says, and what is done is kept."""

from __future__ import annotations

import json
import random
import sys
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

EXAMPLES = Path(__file__).parents[2] / "examples"
WORDS = ["the", "a", "film", "was", "good", "bad", "long", "short", "cat", "un", "##even", "and", "so", "it"]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    made = import_module("long_reviews")
    for name, value in {"SHORT": 16, "FIRST": 4, "LENGTHS": (16, 32, 64)}.items():
        monkeypatch.setattr(made, name, value)
    yield made
    sys.modules.pop("long_reviews", None)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A BERT of two narrow layers and 16 positions that knows a few words."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}).save_pretrained(tmp_path / "bert")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(pieces), max_position_embeddings=16, **sizes)).save_pretrained(
        tmp_path / "bert"
    )
    return tmp_path / "bert"


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Reviews of up to 60 words in a table."""
    stream, lines = random.Random(0), ["text\tlabel"]
    for _ in range(120):
        words = stream.choices(["the", "a", "film", "was", "long", "uneven", "so"], k=stream.randint(5, 60))
        label = stream.choice(("good", "bad"))
        words[stream.randrange(len(words))] = label
        lines.append(f"{' '.join(words)}\t{'pos' if label == 'good' else 'neg'}")
    (tmp_path / "reviews.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path / "reviews.tsv"


def test_every_arm_runs_and_is_kept(
    module: Any, model: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = tmp_path / "out"
    words = ["long_reviews", str(model), "--reviews", str(reviews), "--folder", str(folder), "--train", "24"]
    words += [
        "--epochs",
        "1",
        "--frozen",
        "1",
        "--head-rows",
        "2",
        "--masked-rows",
        "3",
        "--window",
        "4",
        "--length",
        "64",
    ]
    monkeypatch.setattr(sys, "argv", words)
    module.main()
    shown = capsys.readouterr().out
    assert "ratio" in shown
    for arm in module.ARMS:
        found = json.loads((folder / f"{arm}-0" / "right.json").read_text())["right"]
        assert [*found] == (["16"] if arm in ("head", "ends") else ["16", "32", "64"])
    monkeypatch.setattr(module, "train", None)  # nothing is trained again
    monkeypatch.setattr(sys, "argv", [*words, "--no-costs"])
    module.main()
    again = capsys.readouterr().out
    assert again.strip() in shown
    monkeypatch.setattr(sys, "argv", [*words, "--epochs", "2"])
    with pytest.raises(SystemExit, match="has results of --epochs 1"):
        module.main()


def test_a_new_head_learns_above_an_encoder_that_stays(module: Any, model: Path, tmp_path: Path) -> None:
    base = module.from_hf(module.AutoModel.from_pretrained(model))
    texts = module.Texts((torch.arange(5, 10).repeat(6),), (0,))
    masking, effort = module.Masking(0.2, 4, (5, 6)), module.Effort(3, 0, 0.0, 0, 0.0, 0)
    starts = torch.ones(base.config.vocab_size, dtype=torch.bool)
    experiment = module.Experiment(base, 64, 4, texts, texts, masking, starts, effort, tmp_path)
    masked = module.with_head(base, module.MaskedLM, head_transform="gelu", tie_word_embeddings=True)
    before = {name: weight.clone() for name, weight in masked.named_parameters()}
    experiment.teach_head(masked, tmp_path / "head")
    changed = {name for name, weight in masked.named_parameters() if not torch.equal(weight, before[name])}
    assert changed
    assert not any(name.startswith("model.") for name in changed)
    assert all(weight.requires_grad for weight in masked.parameters())


def test_a_step_of_each_kind_is_measured_at_each_length(module: Any, model: Path, capsys: Any) -> None:
    module.step_costs(module.from_hf(module.AutoModel.from_pretrained(model)), window=4, longest=32, times=1)
    lengths = [line.split()[0] for line in capsys.readouterr().out.strip().splitlines()[1:]]
    assert lengths == ["16", "32"]


def test_texts_are_cut_as_their_arm_says(module: Any) -> None:
    texts = module.Texts((torch.arange(30), torch.arange(9)), (0, 1))
    assert texts.cut("head", 16).ids[0].tolist() == [*range(15), 29]
    assert texts.cut("ends", 16).ids[0].tolist() == [0, 1, 2, 3, *range(18, 30)]
    assert texts.cut("whole", 32).ids[0].tolist() == [*range(30)]
    assert len(texts.cut("ends", 16).ids[1]) == 9
    assert [*texts.only(texts.longer_than(30)).batches()] == []
    seen = [label for batch in texts.batches(random.Random(0)) for label in batch["labels"].tolist()]
    assert sorted(seen) == [0, 1]


def test_whole_words_are_hidden_in_long_rows(module: Any) -> None:
    starts = torch.tensor([at != 15 for at in range(20)])  # 15 goes on with a word
    texts = [torch.tensor([2, *[14, 15] * 10, 3]), torch.tensor([2, *[6] * 7, 3])]
    rows = module.HiddenWords(texts, module.Masking(0.2, 4, (5, 6)), starts, 64, steps=5, seed=1)
    assert len(rows) == 5
    for row in rows:
        labels = row["labels"][0].tolist()
        assert len(labels) == 64
        for first, second in pairwise(labels):
            assert (first == 14) == (second == 15)
    assert torch.equal(rows[3]["input_ids"], rows[3]["input_ids"])


def test_frozen_encoders_are_probed_and_read_nothing_twice(
    module: Any, model: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = tmp_path / "out"
    words = ["long_reviews", str(model), "--reviews", str(reviews), "--folder", str(folder), "--frozen", "2"]
    words += ["--train", "60", "--window", "4", "--no-costs", "--arms", "ends,longformer", "--length", "64"]
    monkeypatch.setattr(sys, "argv", words)
    module.main()
    shown = capsys.readouterr().out
    assert "hidden states of at most 64 tokens of 60 + " in shown
    for arm in ("ends", "longformer"):
        (folder / f"{arm}-0" / "right.json").unlink()
    read = {file: file.stat().st_mtime_ns for file in folder.rglob("*/*/*.json")}
    assert read
    module.main()
    assert capsys.readouterr().out.splitlines()[-6:] == shown.splitlines()[-6:]
    assert {file: file.stat().st_mtime_ns for file in read} == read
    base = module.from_hf(module.AutoModel.from_pretrained(model))
    assert module.means(base, module.Texts((), ()), folder / "none").shape == (0, 16)  # no review is so long


def test_the_regression_finds_what_is_there(module: Any) -> None:
    x_nd, generator = torch.randn(80, 5, generator=torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)
    labels = (x_nd[:, 2] > 0).long()
    new_nd = torch.randn(200, 5, generator=generator)
    right = module.fit(3 + 2 * x_nd, labels)(3 + 2 * new_nd).argmax(-1) == (new_nd[:, 2] > 0).long()
    assert right.float().mean() > 0.95
