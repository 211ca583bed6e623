from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, AutoTokenizer, default_data_collator

from formers.mixers import Mixer
from formers.models import MaskedLM
from formers.tasks import Mlm, parse
from formers.tasks.corpus.masking import IGNORED, Masking

SENTENCE = "the quick brown fox jumps over the lazy dog; pack my box with five dozen jugs.\n"


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "text.txt"
    file.write_text(SENTENCE * 100)
    return str(file)


class Knowing(nn.Module):
    """Knows the hidden tokens of some examples, but is not sure."""

    device = torch.device("cpu")

    def __init__(self, task: Mlm, size: int) -> None:
        super().__init__()
        examples = [*task.held_out("validation"), *task.held_out("test")]
        self.answers = {tuple(one["input_ids"].tolist()): one["labels"].clamp(min=0) for one in examples}
        self.size = size

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        right = torch.stack([self.answers[tuple(row.tolist())] for row in input_ids])
        return SimpleNamespace(logits=nn.functional.one_hot(right, self.size).float())


def test_hidden_tokens_are_eight_in_ten_masks_one_another_token_and_one_itself() -> None:
    ids = torch.randint(4, 1000, (20_000,))
    example = Masking(0.15, 3, tuple(range(4, 1000))).hide(ids, None, random.Random(0))
    hidden = example["labels"] != IGNORED
    assert hidden.sum() == 3000
    assert example["labels"][hidden].equal(ids[hidden])
    assert example["input_ids"][~hidden].equal(ids[~hidden])
    masked = (example["input_ids"][hidden] == 3).sum().item()
    same = (example["input_ids"][hidden] == ids[hidden]).sum().item()
    assert masked == pytest.approx(2400, abs=4 * math.sqrt(3000 * 0.8 * 0.2))
    assert same == pytest.approx(300, abs=4 * math.sqrt(3000 * 0.1 * 0.9))


def test_words_are_hidden_whole() -> None:
    ids, starts = torch.arange(30), torch.tensor([i % 3 == 0 for i in range(30)])
    for seed in range(20):
        chosen = (Masking(0.2, 99, (1,)).hide(ids, starts, random.Random(seed))["labels"] != IGNORED).view(10, 3)
        assert chosen.all(1).equal(chosen.any(1))
        assert chosen.sum() == 6


def test_words_of_a_text_are_hidden_whole(path: str) -> None:
    task = Mlm(path=path, length=40, hide="words")  # bytes: only whole words can be right
    for example in (task.build(0, 5)[i] for i in range(5)):
        chosen = (example["labels"] != IGNORED).tolist()
        text = bytes(torch.where(example["labels"] == IGNORED, example["input_ids"], example["labels"]).tolist())
        for at in range(1, 40):
            if chr(text[at]).isalnum() and chr(text[at - 1]).isalnum():
                assert chosen[at] == chosen[at - 1]


def test_examples_depend_on_the_seed_and_the_index_only(path: str) -> None:
    task = Mlm(path=path, length=32)
    short, long, other = task.build(3, 10), task.build(3, 100), task.build(4, 10)
    assert all(short[i][name].equal(long[i][name]) for i in (9, 0, 5) for name in ("input_ids", "labels"))
    assert not short[0]["labels"].equal(other[0]["labels"])
    batch = default_data_collator([short[i] for i in range(4)])
    assert batch["input_ids"].shape == batch["labels"].shape == (4, 32)
    assert ((batch["labels"] != IGNORED).sum(1) == round(0.15 * 32)).all()


def test_losses_by_hand(path: str) -> None:
    task = Mlm(path=path, length=32)
    size = len(task.text.pieces)
    found = task.evaluate(Knowing(task, size), "test").metrics  # type: ignore[arg-type]
    loss = math.log(math.e + size - 1) - 1
    assert found == {
        "bits_per_byte": pytest.approx(loss / math.log(2)),  # as many tokens as bytes
        "loss": pytest.approx(loss),
        "accuracy": 1.0,
    }
    pieces = task.swap(tokens="bpe", vocab=400)
    size, shorter = len(pieces.text.pieces), len(pieces.text.test) / pieces.text.bytes["test"]
    found = pieces.evaluate(Knowing(pieces, size), "test").metrics  # type: ignore[arg-type]
    assert shorter < 0.7
    assert found["bits_per_byte"] == pytest.approx(found["loss"] / math.log(2) * shorter)


def test_the_unigram_line(path: str) -> None:
    counts = Counter(SENTENCE)
    entropy = -sum(n / len(SENTENCE) * math.log2(n / len(SENTENCE)) for n in counts.values())
    assert Mlm(path=path).references()["unigram"] == pytest.approx(entropy, abs=0.1)


@pytest.mark.parametrize("mixer", ["softmax", "fourier", "linear", "pool"])
def test_bidirectional_mixers_learn(path: str, mixer: str) -> None:
    task = Mlm(path=path, length=24, tokens="characters")
    torch.manual_seed(0)
    model = MaskedLM(task.base().swap(width=32, depth=1, heads=2, mixer=Mixer.parse(mixer)))
    state = torch.get_rng_state()
    before = task.evaluate(model).metrics["loss"]
    assert torch.get_rng_state().equal(state)
    data, optimizer = task.build(0, 16 * 12), torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(12):
        model(**default_data_collator([data[16 * step + i] for i in range(16)])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert task.evaluate(model).metrics["loss"] < before - 0.15
    assert "[" in task.samples(model)[0]


def test_a_saved_model_fills_masks_with_its_tokenizer(path: str, tmp_path: Path) -> None:
    task = Mlm(path=path, length=24, tokens="word_pieces", vocab=300)
    MaskedLM(task.base().swap(width=16, depth=1, heads=2)).save_pretrained(tmp_path / "model")
    task.save(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = tokenizer("the lazy [MASK]", return_tensors="pt")["input_ids"]
    assert ids[0, -1] == task.text.pieces.mask
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "model")
    assert model(input_ids=ids).logits.shape[-1] == len(tokenizer)


def test_options(path: str) -> None:
    assert parse("mlm(rate=0.3,hide=words)") == Mlm(rate=0.3, hide="words")
    with pytest.raises(ValueError, match="rate must be between 0 and 1"):
        Mlm(rate=1.0)
    with pytest.raises(ValueError, match="the validation split has 395 tokens, which fill no window of 1,000"):
        Mlm(path=path, length=1000).held_out("validation")
