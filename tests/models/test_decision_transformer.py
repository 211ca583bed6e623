"""The Decision Transformer: against the oracle with the same weights, and the laws that apply to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, DecisionTransformerConfig, DecisionTransformerModel

from formers import DecisionConfig, DecisionTransformer, Unsupported
from formers.ffn import Mlp
from formers.mixers import Linear, Softmax, Sparse
from formers.part import Part
from formers.patterns import Window
from formers.positions import Rotary
from formers.residuals import Gated, PostNorm, Reversible
from formers.testing import assert_same

BATCH, STEPS, STATE, ACTIONS = 3, 7, 5, 3
MASK = torch.tensor([[1] * 7, [0] * 3 + [1] * 4, [0] * 6 + [1]])


def small(**choices: Any) -> DecisionTransformer:
    """A small model in float64, in eval mode, whose weights are none of them at their start."""
    sizes: dict[str, Any] = {"width": 24, "depth": 2, "heads": 3, "state_size": STATE, "action_size": ACTIONS}
    torch.manual_seed(0)
    model = DecisionTransformer(DecisionConfig(**sizes, context_length=64, longest_episode=40, **choices))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.double().eval()


def trajectory(discrete: bool, returns: bool = True, seed: int = 0) -> dict[str, Tensor]:
    """Three rows of seven steps, each from another timestep on."""
    draws = torch.Generator().manual_seed(seed)
    real = {"dtype": torch.float64, "generator": draws}
    actions = torch.randint(ACTIONS, (BATCH, STEPS), generator=draws)
    inputs = {
        "states": torch.randn(BATCH, STEPS, STATE, **real),
        "actions": actions if discrete else torch.rand(BATCH, STEPS, ACTIONS, **real) * 2 - 1,
        "timesteps": torch.arange(STEPS) + torch.tensor([[0], [9], [30]]),
    }
    return inputs | ({"returns_to_go": torch.randn(BATCH, STEPS, **real)} if returns else {})


def test_it_is_the_oracle_with_the_same_weights() -> None:
    sizes = {"hidden_size": 24, "n_layer": 2, "n_head": 3, "state_dim": STATE, "act_dim": ACTIONS, "max_ep_len": 40}
    torch.manual_seed(0)
    theirs = DecisionTransformerModel(DecisionTransformerConfig(**sizes)).double().eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        theirs.encoder.wpe.weight.zero_()  # GPT-2's own positions, which the paper has not
    ours = small(discrete_actions=False, mixer=Softmax(bias=True), ffn=Mlp(activation="relu"))
    ours.load_state_dict(our_names(theirs.state_dict()))
    inputs = trajectory(discrete=False)
    with torch.no_grad():
        returns = inputs["returns_to_go"].unsqueeze(-1)
        want = theirs(**inputs | {"returns_to_go": returns}, attention_mask=MASK).action_preds
        got = ours(**inputs, attention_mask=MASK).action_preds
    assert_same(got[MASK.bool()], want[MASK.bool()], "actions")


def our_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the oracle's weights under our names; GPT-2 keeps matrices transposed, and queries to values as one."""
    found = {}
    for name, tensor in weights.items():
        if "predict_state" in name or "predict_return" in name or ".wte" in name or ".wpe" in name:
            continue
        name = name.replace("predict_action.0", "predict_action").replace("embed_ln", "model.embedding_norm")
        name = name.replace("encoder.h.", "model.layers.").replace("encoder.ln_f", "model.norm")
        name = name.replace("ln_1", "mixer_norm").replace("ln_2", "ffn_norm").replace("attn.c_proj", "mixer.o_proj")
        name = name.replace("mlp.c_fc", "ffn.up_proj").replace("mlp.c_proj", "ffn.down_proj")
        tensor = tensor.T if tensor.ndim == 2 and ("mixer." in name or "ffn." in name or "c_attn" in name) else tensor
        if "attn.c_attn" in name:
            for kind, piece in zip("qkv", tensor.chunk(3), strict=True):
                found[name.replace("attn.c_attn", f"mixer.{kind}_proj")] = piece
        else:
            found[name] = tensor
    return found


def test_discrete_actions_are_looked_up_and_scored() -> None:
    """A lookup is the linear embedding of a one-hot action."""
    model, inputs = small(), trajectory(discrete=True)
    same = small(discrete_actions=False)
    weights = model.state_dict()
    weights["embed_action.weight"] = weights["embed_action.weight"].T
    same.load_state_dict(weights | {"embed_action.bias": torch.zeros(24, dtype=torch.float64)})
    one_hot = F.one_hot(inputs["actions"], ACTIONS).double()
    logits = model(**inputs).action_preds
    assert_same(same(**inputs | {"actions": one_hot}).action_preds, logits.tanh(), "actions")
    labels = inputs["actions"].masked_fill(MASK == 0, -100)
    want = F.cross_entropy(logits[MASK.bool()], inputs["actions"][MASK.bool()])
    assert_same(model(**inputs, labels=labels).loss, want, "loss")


def test_the_loss_of_continuous_actions_is_the_mean_square_where_there_are_labels() -> None:
    model, inputs = small(discrete_actions=False), trajectory(discrete=False)
    labels = inputs["actions"].masked_fill(MASK.unsqueeze(-1) == 0, -100.0)
    out = model(**inputs, attention_mask=MASK, labels=labels)
    want = (out.action_preds - inputs["actions"])[MASK.bool()].square().mean()
    assert_same(out.loss, want, "loss", 1e-6)
    assert_same(model(**inputs, attention_mask=MASK, labels=labels, num_items_in_batch=6).loss, want * 36 / 6, "", 1e-6)


PARTS: dict[str, dict[str, Part]] = {
    "published": {},
    "linear": {"mixer": Linear(), "residual": PostNorm()},
    "window": {"mixer": Sparse(pattern=Window(8)), "position": Rotary()},
    "gated": {"residual": Gated()},
    "reversible": {"residual": Reversible()},
}


@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_an_action_does_not_see_itself_nor_what_is_later(parts: dict[str, Part], discrete: bool) -> None:
    model, inputs, other = small(discrete_actions=discrete, **parts), trajectory(discrete), trajectory(discrete, seed=1)
    before = model(**inputs).action_preds
    at = 3
    for name in ("states", "returns_to_go"):
        changed = {**inputs, name: torch.cat([inputs[name][:, : at + 1], 1e4 * other[name][:, at + 1 :]], 1)}
        assert_same(model(**changed).action_preds[:, : at + 1], before[:, : at + 1], name)
        changed = {**inputs, name: torch.cat([inputs[name][:, :at], other[name][:, at:]], 1)}
        assert not torch.allclose(model(**changed).action_preds[:, at], before[:, at])
    later = (inputs["actions"] + 1) % ACTIONS if discrete else -inputs["actions"]
    changed = {**inputs, "actions": torch.cat([inputs["actions"][:, :at], later[:, at:]], 1)}
    after = model(**changed).action_preds
    assert_same(after[:, : at + 1], before[:, : at + 1], "actions")
    assert not torch.allclose(after[:, at + 1], before[:, at + 1])


@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_padding_on_the_left_does_not_matter_whatever_is_in_it(parts: dict[str, Part], discrete: bool) -> None:
    model, inputs = small(discrete_actions=discrete, **parts), trajectory(discrete)
    labels = inputs["actions"]
    filled = dict(inputs)
    for name, tensor in inputs.items():
        hidden = MASK == 0 if tensor.ndim == 2 else (MASK == 0).unsqueeze(-1)
        filled[name] = tensor.masked_fill(hidden, torch.nan if tensor.is_floating_point() else -100)
    hidden_labels = labels.masked_fill(MASK.view(BATCH, STEPS, *(1,) * (labels.ndim - 2)) == 0, -100)
    model.zero_grad()
    padded = model(**filled, attention_mask=MASK, labels=hidden_labels, num_items_in_batch=1)
    padded.loss.backward()
    padded_gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    for row in range(BATCH):
        first = int(MASK[row].argmax())
        alone = {name: tensor[row : row + 1, first:] for name, tensor in inputs.items()}
        out = model(**alone, labels=labels[row : row + 1, first:], num_items_in_batch=1)
        assert_same(padded.action_preds[row, first:], out.action_preds[0], f"row {row}", 1e-6)
        out.loss.backward()
    for name, parameter in model.named_parameters():
        assert_same(padded_gradients[name], parameter.grad, name, 1e-5)


def test_without_returns_it_clones_behaviour_with_all_of_its_parameters() -> None:
    model, inputs = small(return_conditioned=False), trajectory(discrete=True, returns=False)
    model(**inputs, labels=inputs["actions"]).loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert not [name for name, _ in model.named_parameters() if "return" in name]
    assert model.flops_per_token(20) < small().flops_per_token(20)


def test_costs_of_a_single_step() -> None:
    assert small().flops_per_token(1) > 0
    assert small().state_bytes(1) is None
    assert small().state_bytes_per_token(1) is None


@pytest.mark.parametrize("part", ["embed_timestep", "embed_return", "embed_state", "embed_action", "predict_action"])
def test_each_part_matters(part: str) -> None:
    model, inputs = small(), trajectory(discrete=True)
    before = model(**inputs).action_preds
    with torch.no_grad():
        for parameter in getattr(model, part).parameters():
            parameter.zero_()
    assert not torch.allclose(model(**inputs).action_preds, before)


def test_it_saves_whole(tmp_path: Path) -> None:
    model, inputs = small(residual=Gated(), return_conditioned=True, embedding_norm=None), trajectory(discrete=True)
    model.float().save_pretrained(tmp_path)
    inputs = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}
    for loaded in (DecisionTransformer.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert isinstance(loaded, DecisionTransformer)
        assert loaded.config.choices() == model.config.choices()
        assert torch.equal(loaded(**inputs).action_preds, model(**inputs).action_preds)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "states": ({"states": torch.zeros(3, 7, 4)}, r"states have shape \(3, 7, 4\); expected \(3, 7, 5\)"),
    "actions": ({"actions": torch.zeros(3, 7, 3)}, r"actions have shape \(3, 7, 3\); expected \(3, 7\)"),
    "returns": ({"returns_to_go": torch.zeros(3, 7, 1)}, r"returns_to_go have shape"),
    "no returns": ({"returns_to_go": None}, "return_conditioned=True needs returns_to_go"),
    "timesteps": ({"timesteps": torch.full((3, 7), 40)}, "less than longest_episode=40"),
    "labels": ({"labels": torch.full((3, 7), ACTIONS)}, "there are 3 classes"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_wrong_inputs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small()(**trajectory(discrete=True) | changes)


def test_returns_are_not_read_by_a_model_that_clones_behaviour() -> None:
    model, inputs = small(return_conditioned=False), trajectory(discrete=True)
    other = inputs | {"returns_to_go": inputs["returns_to_go"] + 1}
    assert torch.equal(model(**inputs).action_preds, model(**other).action_preds)


def test_its_embeddings_are_not_replaced_as_one() -> None:
    with pytest.raises(Unsupported, match="embeddings of returns, states"):
        small().set_input_embeddings(torch.nn.Embedding(2, 24))


@pytest.mark.parametrize(("name", "value"), [("state_size", 0), ("action_size", 2.5), ("discrete_actions", 1)])
def test_options_are_checked(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        DecisionConfig(**{name: value})


def test_a_misspelt_option_names_the_nearest() -> None:
    with pytest.raises(TypeError, match="DecisionConfig has no option 'state_sise'; did you mean 'state_size'"):
        DecisionConfig(state_sise=3)
