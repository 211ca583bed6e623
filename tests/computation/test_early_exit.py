"""Early exits: the fast form against the naive one, in one pass, in chunks, in steps and in generation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from exit_models import DEPTH, LENGTH, RULES, VOCAB, batch, model, naive, naive_greedy

from formers import CausalLM, TransformerConfig
from formers.computation import Classifier, EarlyExit, ExitRule, Margin, Saturation
from formers.computation.lagging import MOST_WAITING, LaggingState, settled
from formers.computation.step_record import record_steps
from formers.models import StateCache
from formers.models.convert import convert_weights
from formers.part import Unsupported, state_from_tree, state_tree


@pytest.mark.parametrize("heads", ["shared", "own"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_one_pass_is_the_naive_form(rule: ExitRule, heads: str) -> None:
    made, (ids, mask) = model(rule, heads=heads), batch()
    out = made(ids, attention_mask=mask)
    logits, steps = naive(made, ids, mask)
    assert torch.equal(out.steps, steps)
    assert len(out.steps[mask.bool()].unique()) >= 2  # tokens do leave at different layers
    torch.testing.assert_close(out.logits[mask.bool()], logits[mask.bool()])


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_generation_is_recomputation_in_the_naive_form(rule: ExitRule) -> None:
    made, (ids, mask) = model(rule), batch()
    with record_steps() as record:
        out = made.generate(ids, attention_mask=mask, max_new_tokens=12, do_sample=False)
    assert torch.equal(out, naive_greedy(made, ids, mask, 12))
    _, steps = naive(made, out[:, :-1], torch.cat([mask, mask.new_ones(3, 11)], 1))
    assert torch.equal(record.steps(first=1), steps[:, 11:].T.flatten())
    assert record.mean(first=1) == pytest.approx(float(steps[:, 11:].double().mean()))


@pytest.mark.parametrize("own", [{}, {"heads": "own", "mixer": "linear", "residual": "post_norm"}], ids=str)
@pytest.mark.parametrize("how", [{"do_sample": True}, {"num_beams": 3, "do_sample": False}], ids=str)
def test_every_way_of_decoding_equals_recomputation(how: dict[str, Any], own: dict[str, Any]) -> None:
    made, (ids, mask) = model(Saturation(threshold=0.8), **own), batch()
    found = []
    for use_cache in (True, False):
        torch.manual_seed(3)
        found.append(made.generate(ids, attention_mask=mask, max_new_tokens=14, use_cache=use_cache, **how))
    assert torch.equal(*found)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_chunks_and_steps_are_one_pass(rule: ExitRule) -> None:
    made, (ids, mask) = model(rule), batch(length=17)
    whole = made(ids, attention_mask=mask, use_cache=True)
    for sizes in ([1] * 17, [5, 1, 1, 7, 3]):
        cache, logits, start = StateCache(), [], 0
        for size in sizes:
            stop = start + size
            out = made(ids[:, start:stop], attention_mask=mask[:, :stop], past_key_values=cache)
            logits.append(out.logits)
            start = stop
        torch.testing.assert_close(torch.cat(logits, 1)[mask.bool()], whole.logits[mask.bool()])
        for layer, one, other in zip(made.model.layers, cache.states, whole.past_key_values.states, strict=False):
            one, other = settled(layer, one), settled(layer, other)
            real = one.mask_bs[:, None, :, None]
            torch.testing.assert_close(one.k_bgsk * real, other.k_bgsk * real)
            assert torch.equal(one.seen_b, other.seen_b)


def test_rows_are_independent() -> None:
    made, (ids, mask) = model(RULES[0]), batch(rows=4)
    together = made.generate(ids, attention_mask=mask, max_new_tokens=10, do_sample=False)
    for row in range(4):
        alone = made.generate(ids[row, mask[row].bool()][None], max_new_tokens=10, do_sample=False)
        assert torch.equal(together[row, 11:], alone[0, int(mask[row].sum()) :])


def test_skipped_layers_cost_their_keys_and_values_and_those_many_tokens_at_once() -> None:
    made, calls = model(Saturation(threshold=0.0)), dict[str, list[int]]()  # every token leaves behind layer 2
    for n, layer in enumerate(made.model.layers):
        for name, module in (("k", layer.mixer.k_proj), ("q", layer.mixer.q_proj), ("ffn", layer.ffn)):
            counted = calls.setdefault(f"{name}{n}", [])
            module.register_forward_hook(lambda _, given, __, counted=counted: counted.append(given[0].shape[1]))
    cache = StateCache()
    for token in range(MOST_WAITING + 5):
        made(torch.tensor([[token % VOCAB]]), past_key_values=cache)
    for n in (0, 1):
        assert calls[f"k{n}"] == calls[f"q{n}"] == calls[f"ffn{n}"] == [1] * (MOST_WAITING + 5)
    for n in (2, 3):
        assert calls[f"k{n}"] == [MOST_WAITING]  # those after it wait
        assert calls[f"q{n}"] == calls[f"ffn{n}"] == []


def test_layers_run_for_the_rows_on_their_way_alone() -> None:
    made, (ids, mask) = model(RULES[0]), batch(rows=5)
    rows: list[list[int]] = [[] for _ in range(DEPTH)]
    for n, layer in enumerate(made.model.layers):
        layer.ffn.register_forward_hook(lambda _, given, __, n=n: rows[n].append(len(given[0])))
    cache = made(ids, attention_mask=mask, use_cache=True).past_key_values
    rows = [one.clear() or one for one in rows]
    out = made(ids[:, -1:], attention_mask=torch.cat([mask, mask[:, -1:]], 1), past_key_values=cache)
    want = [int((out.steps > n).sum()) for n in range(DEPTH)]
    assert [sum(one) for one in rows] == want
    assert 0 < want[-1] < 5


def test_states_that_lag_are_values() -> None:
    made, (ids, _) = model(Saturation(threshold=0.0)), batch()
    cache = StateCache()
    made(ids, past_key_values=cache)
    made(ids[:, :2], past_key_values=cache)
    lagging = cache.states[3]
    assert isinstance(lagging, LaggingState)
    assert lagging.count == 13
    assert lagging.nbytes > lagging.waiting[0].x_bpd.nbytes
    assert torch.equal(lagging.reorder(torch.tensor([2, 0])).waiting[0].x_bpd, lagging.waiting[0].x_bpd[[2, 0]])
    layer, before = made.model.layers[3], settled(made.model.layers[3], lagging)
    assert torch.equal(settled(layer, lagging).k_bgsk, before.k_bgsk)  # settling changes nothing
    trimmed = settled(layer, lagging.trim(torch.tensor([3, 0, 12])))
    other = before.trim(torch.tensor([3, 0, 12]))
    assert torch.equal(trimmed.seen_b, other.seen_b)
    assert torch.equal(trimmed.mask_bs, other.mask_bs)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rows_begin_anew(rule: ExitRule) -> None:
    made, (ids, _) = model(rule), batch()
    cache, untouched = StateCache(), StateCache()
    for one in (cache, untouched):
        for token in range(9):
            made(ids[:, token : token + 1], past_key_values=one)
    cache.reset_rows(torch.tensor([False, True, False]))
    assert cache.seen_b.tolist() == [9, 0, 9]
    got, others, alone = (made(ids, past_key_values=one).logits for one in (cache, untouched, None))
    torch.testing.assert_close(got[1], alone[1])
    torch.testing.assert_close(got[[0, 2]], others[[0, 2]])


def test_rows_begin_anew_while_tokens_wait() -> None:
    made, (ids, _) = model(Saturation(threshold=0.0)), batch()
    cache = made(ids, use_cache=True).past_key_values
    assert isinstance(cache.states[3], LaggingState)
    before = settled(made.model.layers[3], cache.states[3].reset(torch.tensor([True, False, False])))
    assert before.mask_bs.sum(1).tolist() == before.seen_b.tolist() == [0, 11, 11]


def test_states_that_lag_come_back_from_a_file(tmp_path: Any) -> None:
    made, (ids, _) = model(Saturation(threshold=0.0)), batch()
    lagging = made(ids, use_cache=True).past_key_values.states[3]
    torch.save(state_tree(lagging), tmp_path / "state.pt")
    read = state_from_tree(torch.load(tmp_path / "state.pt", weights_only=True))
    one, other = (settled(made.model.layers[3], state) for state in (lagging, read))
    assert torch.equal(one.k_bgsk, other.k_bgsk)


def test_tokens_can_be_taken_back() -> None:
    made, (ids, mask) = model(RULES[2]), batch()
    cache = made(ids, attention_mask=mask, use_cache=True).past_key_values
    want = made(ids[:, :1], attention_mask=torch.cat([mask, mask[:, -1:]], 1), past_key_values=cache).logits
    for wrong in (5, 6):
        step = torch.full((3, 1), wrong)
        made(step, attention_mask=torch.cat([cache.layers[0].mask_bl, step * 0 + 1], 1), past_key_values=cache)
    cache.crop(11)
    got = made(ids[:, :1], attention_mask=torch.cat([mask, mask[:, -1:]], 1), past_key_values=cache).logits
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("count", [1, 4, 9])
def test_tokens_are_taken_back_from_those_that_wait_and_from_those_before(count: int) -> None:
    made, (ids, _) = model(Saturation(threshold=0.5)), batch(rows=1, length=17)
    cache = StateCache()
    for token in range(12):
        made(ids[:, token : token + 1], past_key_values=cache)
    waiting = [state.count for state in cache.states if isinstance(state, LaggingState) and state.behind is not None]
    assert 0 < min(waiting) < 9
    cache.crop(-count)
    got = made(ids[:, 12 - count :], past_key_values=cache).logits
    torch.testing.assert_close(got, made(ids).logits[:, 12 - count :])


def test_a_saved_model_keeps_its_exits(tmp_path: Any) -> None:
    made, (ids, mask) = model(Classifier(threshold=0.55, decay=2.0), heads="own", weights="uniform"), batch()
    made.save_pretrained(tmp_path)
    loaded = CausalLM.from_pretrained(tmp_path, dtype=torch.float64).eval()
    assert loaded.config.computation == made.config.computation == EarlyExit.parse(str(made.config.computation))
    torch.testing.assert_close(loaded(ids, attention_mask=mask).logits, made(ids, attention_mask=mask).logits)


def test_a_trained_model_gets_another_rule() -> None:
    plain = CausalLM(TransformerConfig(vocab_size=VOCAB, width=24, depth=DEPTH, heads=3, context_length=LENGTH)).eval()
    config = plain.config.swap(computation=EarlyExit(rule=Margin(threshold=1.0)))
    ids, _ = batch()
    assert torch.equal(convert_weights(plain, config, strict=True).model(ids).logits, plain(ids).logits)
    with pytest.warns(UserWarning, match="confidence_proj"):
        convert_weights(plain, plain.config.swap(computation=EarlyExit(rule=Classifier())))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"residual": "reversible"}, Unsupported, "keeping no hidden state between them"),
        ({"mixer": "lsh"}, Unsupported, r"lsh\(\) has no streaming state.*early_exit.*softmax"),
        ({"weights": (1.0, 2.0)}, ValueError, "has 2 weights, but the model has 4 layers"),
        ({"weights": (0.0, 0.0)}, ValueError, "not all 0"),
        ({"weights": "uniform", "training": "mixed"}, ValueError, "weights are for training=aligned"),
        ({"training": "mixed", "rule": Classifier()}, ValueError, "learns from all exits"),
    ],
    ids=str,
)
def test_what_cannot_be_raises(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model(options.pop("rule", Margin()), **options)


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
@pytest.mark.parametrize("rule", [Margin, Saturation, Classifier])
def test_a_threshold_out_of_range_raises(rule: type[Margin], threshold: float) -> None:
    with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\]"):
        rule(threshold=threshold)


def test_heads_without_exits_refuse() -> None:
    from formers import MaskedLM
    from formers.models import Transformer

    config = TransformerConfig(vocab_size=VOCAB, width=24, depth=2, heads=3, computation=EarlyExit())
    with pytest.raises(Unsupported, match="MaskedLM has no heads at early exits"):
        MaskedLM(config)
    bare = Transformer(config.swap(causal=True, computation=EarlyExit(rule=Margin()))).eval()
    with pytest.raises(Unsupported, match="no head for them"):
        bare(batch()[0])
