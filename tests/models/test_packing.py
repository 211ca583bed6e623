"""Models on rows that hold several documents, as Hugging Face's padding-free batches do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DataCollatorWithFlattening

from formers import CausalLM, MaskedLM, SequenceClassifier, TokenClassifier, Transformer, Unsupported
from formers.catalogue import members
from formers.mixers import Linear, Lsh, Mixer, Softmax
from formers.models import StateCache
from formers.positions import Position
from formers.residuals import Residual
from formers.testing import assert_same

LENGTHS = (9, 1, 13, 10)
CHOICES = [
    *({"mixer": mixer, "position": "learned"} for mixer in map(str, (kind() for kind in members(Mixer)))),
    *({"position": str(kind())} for kind in members(Position)),
    *({"residual": str(kind())} for kind in members(Residual)),
    {"mixer": ["softmax()", "linear()"], "norm": "max_norm()", "ffn": "glu()"},
]


@pytest.fixture
def texts() -> list[list[int]]:
    """Documents of several lengths."""
    ids = torch.randint(0, 29, (sum(LENGTHS),), generator=torch.Generator().manual_seed(0))
    return [text.tolist() for text in ids.split(LENGTHS)]


def flattened(texts: list[list[int]], **options: Any) -> dict[str, Any]:
    """One row of them all, as Hugging Face's collator makes it."""
    return dict(DataCollatorWithFlattening(return_tensors="pt", **options)([{"input_ids": text} for text in texts]))


def alone(model: Any, texts: list[list[int]]) -> Tensor:
    return torch.cat([model(torch.tensor([text]))[0] for text in texts], 1)


def model_of(head: Any, config: Any, **choices: Any) -> Any:
    torch.manual_seed(0)
    return head(config(**choices)).double().eval()


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    named = dict(model.named_parameters())
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_documents_in_a_row_are_as_alone(config: Any, texts: list[list[int]], choices: dict[str, Any]) -> None:
    mixer = config(**choices).mixer_at(0)
    head: Any = CausalLM if "causal" in mixer.abilities else MaskedLM
    model = model_of(head, config, **choices)
    batch = flattened(texts)
    got, want = model(batch["input_ids"], position_ids=batch["position_ids"]).logits, alone(model, texts)
    assert_same(got, want, "logits of packed documents")
    weights = torch.randn(want.shape, generator=torch.Generator().manual_seed(1), dtype=want.dtype)
    expected = gradients(model, (want * weights).sum())
    for name, gradient in gradients(model, (got * weights).sum()).items():
        assert_same(gradient, expected[name], f"gradient of {name}", 1e-9 * max(float(expected[name].abs().max()), 1))


SAID = [
    {},
    {"return_seq_idx": True, "return_position_ids": False},
    {"return_flash_attn_kwargs": True},
    {"return_flash_attn_kwargs": True, "return_position_ids": False, "return_seq_idx": True},
]
"""Options of the collator, and with them the inputs by which boundaries are said."""


@pytest.mark.parametrize("said", SAID, ids=str)
@pytest.mark.parametrize("head", [CausalLM, MaskedLM, TokenClassifier])
def test_every_way_to_say_boundaries(config: Any, texts: list[list[int]], head: Any, said: dict[str, bool]) -> None:
    model, batch = model_of(head, config, position="learned"), flattened(texts, **said)
    del batch["labels"]
    assert_same(model(**batch)[0], alone(model, texts), f"logits with {list(batch)}")
    del batch["input_ids"]
    ids = torch.tensor([[token for text in texts for token in text]])
    embedded = model(inputs_embeds=model.get_input_embeddings()(ids), **batch)[0]
    assert_same(embedded, alone(model, texts), "logits of embeddings")


def test_the_loss_is_that_of_the_documents(config: Any, texts: list[list[int]]) -> None:
    model = model_of(CausalLM, config)
    loss = model(**flattened(texts)).loss
    longer = [torch.tensor([text]) for text in texts if len(text) > 1]
    total = sum(model(ids, labels=ids).loss * (ids.shape[1] - 1) for ids in longer)
    assert_same(loss, total / sum(ids.shape[1] - 1 for ids in longer), "loss of packed documents")


@pytest.mark.parametrize("head", [MaskedLM, TokenClassifier])
def test_the_loss_of_each_token_is_that_of_the_documents(config: Any, texts: list[list[int]], head: Any) -> None:
    model, batch = model_of(head, config, num_labels=29), flattened(texts)
    logits, labels = alone(model, texts)[0], batch["labels"][0]
    assert_same(model(**batch).loss, F.cross_entropy(logits, labels), "loss of packed documents")


def test_rows_may_hold_different_documents_and_padding(config: Any, texts: list[list[int]]) -> None:
    model = model_of(CausalLM, config, position="learned")
    rows = [texts[:3], texts[3:]]
    length = sum(LENGTHS[:3]) + 2
    ids, mask, positions = (torch.zeros(2, length, dtype=torch.long) for _ in range(3))
    for b, row in enumerate(rows):
        flat, count = [token for text in row for token in text], [i for text in row for i in range(len(text))]
        ids[b, 1 : 1 + len(flat)], mask[b, 1 : 1 + len(flat)] = torch.tensor(flat), 1
        positions[b, 1 : 1 + len(flat)] = torch.tensor(count)
    logits = model(ids, attention_mask=mask, position_ids=positions).logits[mask.bool()]
    assert_same(logits[None], alone(model, texts), "logits of rows of documents with padding around")


@pytest.mark.parametrize("filling", [0, 1])
@pytest.mark.parametrize("side", ["left", "right", "inside"])
def test_positions_of_padding_are_no_documents(config: Any, ids: Tensor, side: str, filling: int) -> None:
    """Padded rows with positions as `generate()` makes them, clamped at padding, or counted through."""
    model = model_of(CausalLM, config, position="learned")
    mask = torch.ones_like(ids)
    mask[1, {"left": slice(0, 5), "right": slice(8, None), "inside": slice(4, 7)}[side]] = 0
    counted = (mask.cumsum(1) - 1).masked_fill(mask == 0, filling)
    out = model(ids, attention_mask=mask, position_ids=counted)
    assert out.past_key_values is not None
    want = model(ids, attention_mask=mask).logits[mask.bool()]
    assert_same(out.logits[mask.bool()], want, "logits with positions")
    model(ids, attention_mask=mask, position_ids=torch.arange(13)[None])


@pytest.mark.parametrize("positions", [[0, 1, 2, 7, 8, 9], [0, 1, 2, 2, 3, 4], [0, 1, 2, 2, 2, 2]])
def test_positions_that_may_mean_either_are_refused(config: Any, ids: Tensor, positions: list[int]) -> None:
    model = model_of(CausalLM, config)
    with pytest.raises(ValueError, match=r"row 0 come to \d at token 3.*seq_idx"):
        model(ids[:, :6], position_ids=torch.tensor([positions]))
    one = model(ids[:, :6], position_ids=torch.tensor([positions]), seq_idx=torch.zeros(1, 6, dtype=torch.int32))
    assert one.past_key_values is not None


def test_a_row_of_one_document_stays_one(config: Any, ids: Tensor) -> None:
    model = model_of(CausalLM, config)
    for batch in (flattened([ids[0].tolist()], return_seq_idx=True, return_flash_attn_kwargs=True),):
        out = model(**batch)
        assert out.past_key_values is not None
        assert_same(out.logits, model(ids[:1]).logits, "logits of one document")


CONTRADICTIONS = [
    ({"seq_idx": torch.tensor([[0, 0, 1, 1, 0, 0]])}, "falls"),
    ({"seq_idx": torch.tensor([[0, 0, 1]])}, "shape"),
    ({"cu_seq_lens_q": torch.tensor([0, 2, 5])}, "rise from 0 to the 6 tokens"),
    ({"cu_seq_lens_q": torch.tensor([0, 4, 2, 6])}, "rise from 0 to the 6 tokens"),
    ({"cu_seq_lens_q": torch.tensor([0, 2, 6]), "cu_seq_lens_k": torch.tensor([0, 3, 6])}, "must equal"),
    ({"cu_seq_lens_k": torch.tensor([0, 3, 6])}, "must equal"),
    ({"cu_seq_lens_q": torch.tensor([0, 2, 6]), "max_length_q": 3}, "a document has 4 tokens"),
    ({"cu_seq_lens_q": torch.tensor([0, 2, 6]), "max_length_k": 4}, "must equal"),
    ({"cu_seq_lens_q": torch.tensor([0, 2, 6]), "seq_idx": torch.tensor([[0, 0, 0, 1, 1, 1]])}, "different tokens"),
    ({"attention_mask": torch.tensor([[1, 1, 2, 2, 2, 3]])}, "belong into seq_idx"),
]


@pytest.mark.parametrize(("given", "message"), CONTRADICTIONS, ids=[message for _, message in CONTRADICTIONS])
def test_contradictions_are_refused(config: Any, ids: Tensor, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_of(CausalLM, config)(ids[:1, :6], **given)


def test_a_document_ends_with_its_row(config: Any, ids: Tensor) -> None:
    with pytest.raises(ValueError, match="every row"):
        model_of(CausalLM, config)(ids[:2, :6], cu_seq_lens_q=torch.tensor([0, 4, 12]))


def test_a_cache_is_refused(config: Any, texts: list[list[int]]) -> None:
    model, batch = model_of(CausalLM, config), flattened(texts)
    assert model(**batch).past_key_values is None
    for given in ({"use_cache": True}, {"past_key_values": StateCache()}):
        with pytest.raises(Unsupported, match=r"several documents.*leave out the cache"):
            model(**batch, **given)
    with pytest.raises(Unsupported, match="several documents"):
        model.generate(batch["input_ids"], position_ids=batch["position_ids"], max_new_tokens=2)


def test_a_classifier_of_sequences_refuses_before_its_layers_run(config: Any, texts: list[list[int]]) -> None:
    model = model_of(SequenceClassifier, config)
    ran = []
    model.model.layers[0].register_forward_hook(lambda *args: ran.append(args))
    for said in SAID:
        batch = flattened(texts, **said)
        del batch["labels"]
        with pytest.raises(Unsupported, match="one answer a row"):
            model(**batch)
    assert not ran
    ids = torch.tensor([texts[0]])
    assert_same(model(ids, position_ids=torch.arange(9)[None])[0], model(ids)[0], "output at given positions")


def test_hidden_states_of_documents(config: Any, texts: list[list[int]]) -> None:
    model, batch = model_of(Transformer, config, residual="reversible"), flattened(texts)
    del batch["labels"]
    got = model(**batch, output_hidden_states=True).hidden_states
    each = [model(torch.tensor([text]), output_hidden_states=True).hidden_states for text in texts]
    for layer, hidden in enumerate(got):
        assert_same(hidden, torch.cat([one[layer] for one in each], 1), f"hidden states {layer}")


@pytest.mark.parametrize("mixer", [Softmax(), Lsh()], ids=str)
@pytest.mark.parametrize("residual", ["pre_norm", "reversible"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_is_plain(
    config: Any, texts: list[list[int]], mixer: Mixer, residual: str, reentrant: bool
) -> None:
    found = []
    for again in (False, True):
        model = model_of(CausalLM, config, mixer=mixer, residual=residual, dropout=0.2).train()
        if again:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        torch.manual_seed(3)
        model(**flattened(texts)).loss.backward()
        found.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in found[1].items():
        assert_same(gradient, found[0][name], f"gradient of {name} with checkpointing")


@pytest.mark.parametrize("mixer", [Softmax(), Linear()], ids=str)
def test_compiled_documents_are_told_by_bounds(config: Any, texts: list[list[int]], mixer: Mixer) -> None:
    torch.compiler.reset()
    model = model_of(CausalLM, config, mixer=mixer, depth=1).train()
    batch = flattened(texts, return_flash_attn_kwargs=True)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_same(compiled(**batch).logits, alone(model, texts), "logits of a compiled model")
    with pytest.raises(RuntimeError, match="give cu_seq_lens_q and max_length_q"):
        compiled(batch["input_ids"], position_ids=batch["position_ids"])


def test_training_packed_is_training_in_a_batch(config: Any, texts: list[list[int]], tmp_path: Any) -> None:
    """The trainer's loss and step are those of documents one by one, as it sums over the labels that count."""
    from transformers import Trainer, TrainingArguments

    losses, weights = [], []
    for packed in (True, False):
        model = model_of(CausalLM, config).float()
        size = len(texts) if packed else 1
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=len(texts) // size,
            max_steps=2,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            save_strategy="no",
        )
        data: Any = [{"input_ids": text} for text in texts]
        trainer = Trainer(model, arguments, train_dataset=data, data_collator=DataCollatorWithFlattening())
        trainer.train()
        losses.append([row["loss"] for row in trainer.state.log_history if "loss" in row])
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert_same(weights[0], weights[1], "weights after two steps", 1e-5)
