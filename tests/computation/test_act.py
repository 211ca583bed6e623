"""Tokens that stop: training, streaming, what is not run, and costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from formers import CausalLM, MaskedLM, TransformerConfig, Unsupported
from formers.computation import Act
from formers.computation.halting_state import HaltingState
from formers.models import StateCache, count_steps, steps_taken

VOCABULARY, DEPTH = 13, 5


def config(**options: Any) -> TransformerConfig:
    sizes = {"vocab_size": VOCABULARY, "width": 16, "depth": DEPTH, "heads": 2, "context_length": 64}
    return TransformerConfig(**({"computation": "act()", "position": "none"} | sizes | options))


def spread(head: Any = CausalLM, **options: Any) -> Any:
    """Return a model some of whose tokens stop at the first step, some later, and some go to the last."""
    torch.manual_seed(0)
    model = head(config(initializer_range=0.3, **options)).double().eval()
    torch.nn.init.normal_(model.model.computation.halting.proj.weight, std=1.0)
    torch.nn.init.zeros_(model.model.computation.halting.proj.bias)
    return model


def ids(rows: int = 3, length: int = 24, seed: int = 0) -> Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def halting_state(cache: StateCache) -> HaltingState:
    (state,) = cache.states
    assert isinstance(state, HaltingState)
    return state


def test_tokens_stop_at_different_steps() -> None:
    steps = steps_taken(spread(), ids())
    assert {1, 2, DEPTH} <= set(steps.flatten().tolist())


@pytest.mark.parametrize("mixer", ["softmax", "linear"])
@pytest.mark.parametrize("residual", ["pre_norm", "post_norm"])
@pytest.mark.parametrize("sizes", [[1] * 24, [3, 1, 1, 7, 12], [23, 1]], ids=str)
def test_one_pass_is_chunks_is_steps(sizes: list[int], residual: str, mixer: str) -> None:
    model, cache, logits = spread(residual=residual, mixer=mixer), StateCache(), []
    with torch.no_grad():
        whole = model(ids(), use_cache=False).logits
        for chunk in ids().split(sizes, 1):
            logits.append(model(chunk, past_key_values=cache).logits)
    torch.testing.assert_close(torch.cat(logits, 1), whole)


def test_chunks_with_padding_and_reordered_rows() -> None:
    model, tokens = spread(position="alibi"), ids(2)
    mask = torch.ones_like(tokens)
    mask[0, :5], mask[1, 12:15] = 0, 0
    with torch.no_grad():
        whole = model(tokens, attention_mask=mask, use_cache=False).logits
        cache, logits = StateCache(), []
        for i in range(24):
            logits.append(model(tokens[:, i : i + 1], mask[:, : i + 1], past_key_values=cache).logits)
            cache.reorder_cache(torch.tensor([1, 0]))
            cache.reorder_cache(torch.tensor([1, 0]))
    torch.testing.assert_close(torch.cat(logits, 1)[mask.bool()], whole[mask.bool()])


def test_tokens_that_wait_can_be_forgotten() -> None:
    model, tokens = spread(), ids(2)
    with torch.no_grad():
        whole = model(tokens, use_cache=False).logits
        for kept in range(1, 14):
            cache = model(tokens[:, :1], use_cache=True).past_key_values
            for i in range(1, 13):
                model(tokens[:, i : i + 1], past_key_values=cache)
            cache.crop(kept)
            assert cache.get_seq_length() == kept
            rest = model(tokens[:, kept:], past_key_values=cache).logits
            torch.testing.assert_close(rest, whole[:, kept:])


def test_rows_can_start_anew() -> None:
    model, tokens = spread(), ids(2)
    with torch.no_grad():
        _, *rest = tokens.split([9, 1, 1, 13], 1)
        cache = model(tokens[:, :9], use_cache=True).past_key_values
        cache.layers[0].state = cache.layers[0].state.reset(torch.tensor([False, True]))
        logits = torch.cat([model(chunk, past_key_values=cache).logits for chunk in rest], 1)
        whole, fresh = model(tokens, use_cache=False).logits, model(tokens[:, 9:], use_cache=False).logits
    torch.testing.assert_close(logits[0], whole[0, 9:])
    torch.testing.assert_close(logits[1], fresh[1])


def test_steps_that_no_token_takes_are_not_run() -> None:
    model = spread()
    model.model.computation.halting.proj.bias.data.fill_(1e3)  # one step is enough
    calls: list[int] = []
    model.model.layers[0].ffn.register_forward_hook(lambda _, args, __: calls.append(len(args[0])))
    with torch.no_grad():
        out = model(ids(), use_cache=True)
        assert calls == [3]
        state = halting_state(out.past_key_values)
        assert state.behind == (0, *[24] * (DEPTH - 1))
        assert state.steps[1:] == (None,) * (DEPTH - 1)
        model(ids(length=1), past_key_values=out.past_key_values)
    assert calls == [3, 3]


def test_rows_that_have_stopped_cost_their_keys_and_values_alone() -> None:
    model, rows = spread(), list[int]()
    model.model.layers[0].ffn.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    with torch.no_grad():
        cache = model(ids(), use_cache=True).past_key_values
        rows.clear()
        one = ids(length=1, seed=5)
        took = steps_taken(model, one, past_key_values=cache)
    assert sum(rows) == int(took.sum()) < len(one) * DEPTH
    assert rows == [int((took > step).sum()) for step in range(int(took.max()))]


@pytest.mark.parametrize("residual", ["pre_norm", "post_norm"])
def test_rows_stop_under_autocast(residual: str) -> None:
    model = spread(residual=residual).float()
    cache = StateCache()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = [model(token, past_key_values=cache).logits for token in ids().split(1, 1)]
    assert torch.cat(logits, 1).isfinite().all()


def test_the_cost_of_pondering_is_added_in_training() -> None:
    model = spread(computation="act(ponder=0.5)", dropout=0.0)
    tokens, mask = ids(), torch.ones(3, 24, dtype=torch.long)
    mask[1, 20:] = 0
    labels = tokens.masked_fill(mask == 0, -100)
    plain = model(tokens, mask, labels=labels).loss
    trained = model.train()(tokens, mask, labels=labels).loss
    steps = steps_taken(model, tokens, mask)
    assert not steps[mask == 0].any()
    added = float((trained - plain).detach()) / 0.5
    n = float(steps.sum() / mask.sum())
    assert n < added < n + 1, "N + R, with R between 0 and 1"


def test_more_pondering_costs_fewer_steps() -> None:
    took = {}
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        model = CausalLM(config(computation=Act(ponder=weight), depth=4)).train()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for seed in range(30):
            optimizer.zero_grad()
            model(ids(seed=seed), labels=ids(seed=seed)).loss.backward()
            optimizer.step()
        took[weight] = float(steps_taken(model.eval(), ids()).double().mean())
    assert took[1.0] == 1 < took[0.0]


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_recomputing_changes_nothing(use_reentrant: bool) -> None:
    model = spread(computation="act(ponder=0.1)", dropout=0.1).train()
    gradients = []
    for recompute in (False, True):
        if recompute:
            model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        torch.manual_seed(0)
        model.zero_grad()
        model(ids(), labels=ids()).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain)


def test_bidirectional_and_packed() -> None:
    model = spread(MaskedLM)
    rows = [ids(1, 9, seed=1), ids(1, 15, seed=2)]
    packed = torch.cat(rows, 1)
    positions = torch.cat([torch.arange(9), torch.arange(15)])[None]
    with torch.no_grad():
        together = model(packed, position_ids=positions).logits
        alone = torch.cat([model(row).logits for row in rows], 1)
    torch.testing.assert_close(together, alone)


def test_hidden_states_are_there_for_every_step() -> None:
    model = spread()
    model.model.computation.halting.proj.bias.data.fill_(1e3)
    hidden = model(ids(), output_hidden_states=True).hidden_states
    assert len(hidden) == DEPTH + 1
    assert torch.equal(hidden[1], hidden[DEPTH - 1]), "stopped tokens are copied"


def test_costs_are_those_of_all_steps() -> None:
    act, universal = (CausalLM(config(computation=one)) for one in ("act()", "universal()"))
    assert act.num_parameters() == universal.num_parameters() + 17
    assert act.flops_per_token(8) == universal.flops_per_token(8) + 2 * 16 * DEPTH


def test_costs_of_the_steps_that_were_taken() -> None:
    act = CausalLM(config(computation="act()"))
    one, two, most = (act.flops_per_token(8, steps) for steps in (1, 2.5, DEPTH))
    assert most == act.flops_per_token(8)
    assert two - one == pytest.approx(1.5 * (most - one) / (DEPTH - 1))
    shallow = CausalLM(config(computation="universal()", depth=1))
    assert one == shallow.flops_per_token(8) + 2 * 16  # and the unit that decides
    model = spread()
    mask = torch.ones_like(ids())
    mask[0, :3] = 0
    with count_steps(model) as taken:
        model(ids(), attention_mask=mask)
        model(ids()[:1])
    steps = torch.cat([steps_taken(model, ids(), attention_mask=mask)[mask.bool()], steps_taken(model, ids()[:1])[0]])
    assert taken.mean == pytest.approx(steps.double().mean().item())
    with count_steps(CausalLM(config())) as same:
        CausalLM(config())(ids())
    assert same.mean is None
    with pytest.raises(ValueError, match="expected 0 to depth"):
        act.flops_per_token(8, DEPTH + 1)


def test_it_comes_back_from_a_file(tmp_path: Path) -> None:
    model = spread()
    model.save_pretrained(tmp_path)
    loaded = CausalLM.from_pretrained(tmp_path, dtype=torch.float64)
    assert loaded.config.computation == Act()
    assert torch.equal(loaded(ids()).logits, model(ids()).logits)
    fresh = CausalLM(config(computation="act(bias=2.5)"))
    assert fresh.model.computation.halting.proj.bias.item() == 2.5


def test_what_cannot_be() -> None:
    with pytest.raises(Unsupported, match="nothing to decide with depth=1"):
        CausalLM(config(depth=1))
    with pytest.raises(ValueError, match="epsilon must be between 0 and 1"):
        Act(epsilon=1.0)
    with pytest.raises(ValueError, match="ponder must be 0 or more"):
        Act(ponder=-0.1)
    other = CausalLM(config(computation="fixed()", depth=1)).eval()(ids(), use_cache=True).past_key_values
    with pytest.raises(TypeError, match="goes on from a HaltingState of 5 steps, but a KeyValueState"):
        CausalLM(config())(ids(length=1), past_key_values=other)


def test_generation_runs_on_it() -> None:
    model = spread()
    cached, again = (
        model.generate(ids(2, 6), max_new_tokens=12, do_sample=False, use_cache=use_cache, pad_token_id=0)
        for use_cache in (True, False)
    )
    assert torch.equal(cached, again)
