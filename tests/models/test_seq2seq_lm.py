"""The encoder–decoder: its formula, its laws, generation, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM

from formers import Seq2SeqConfig, Seq2SeqLM, TransformerConfig, Unsupported
from formers.models import EncoderDecoder, StateCache
from formers.testing import assert_same

STACKS: list[dict[str, Any]] = [
    {},
    {"encoder_mixer": "fourier", "mixer": "linear", "cross": "linear"},
    {"encoder_mixer": ["linear", "sparse(pattern=window(2))"], "mixer": "sparse(pattern=window(3))"},
    {"mixer": "bigbird(block=2)", "cross": "linear(feature=relu)", "residual": "post_norm"},
    {"residual": "gated", "position": "rotary", "cross": "softmax(kv_heads=1)", "mixer": "softmax(kv_heads=1)"},
]


def config(**changes: Any) -> Seq2SeqConfig:
    sizes = {"vocab_size": 13, "width": 16, "depth": 2, "encoder_depth": 3, "heads": 2, "context_length": 32}
    return Seq2SeqConfig(**{**sizes, "position": "learned", "initializer_range": 0.3, "norm": "layer_norm", **changes})


def model(**changes: Any) -> Seq2SeqLM:
    torch.manual_seed(0)
    return Seq2SeqLM(config(**changes)).double().eval()


def tokens(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(1, 13, (rows, length), generator=torch.Generator().manual_seed(seed))


# --- the formula ---


def layer_norm(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def attended(x: Tensor, source: Tensor, weights: dict[str, Tensor], name: str, seen: Tensor) -> Tensor:
    """Two heads of eight numbers each, one after the other."""
    heads = []
    for h in range(2):
        q, k, v = (
            t @ weights[f"{name}.{p}_proj.weight"][8 * h : 8 * h + 8].T
            for p, t in (("q", x), ("k", source), ("v", source))
        )
        scores = (q @ k.mT / math.sqrt(8)).masked_fill(~seen, -torch.inf)
        heads.append(scores.exp() / scores.exp().sum(-1, keepdim=True) @ v)
    return torch.cat(heads, -1) @ weights[f"{name}.o_proj.weight"].T


def fed(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    hidden = x @ weights[f"{name}.up_proj.weight"].T + weights[f"{name}.up_proj.bias"]
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    return hidden @ weights[f"{name}.down_proj.weight"].T + weights[f"{name}.down_proj.bias"]


def by_the_formula(weights: dict[str, Tensor], source: Tensor, inputs: Tensor) -> Tensor:
    """Logits of a pre-norm encoder–decoder with softmax attention everywhere and learned positions."""
    table = weights["model.encoder.embed_tokens.weight"]
    x = table[source] + weights["model.encoder.input_position.table.weight"][: source.shape[1]]
    everything = torch.ones(1, 1, dtype=torch.bool)
    for i in range(3):
        at = f"model.encoder.layers.{i}"
        normed = layer_norm(x, weights, f"{at}.mixer_norm")
        x = x + attended(normed, normed, weights, f"{at}.mixer", everything)
        x = x + fed(layer_norm(x, weights, f"{at}.ffn_norm"), weights, f"{at}.ffn")
    memory = layer_norm(x, weights, "model.encoder.norm")
    y = table[inputs] + weights["model.decoder.input_position.table.weight"][: inputs.shape[1]]
    past = torch.ones(inputs.shape[1], inputs.shape[1]).tril().bool()
    for i in range(2):
        at = f"model.decoder.layers.{i}"
        normed = layer_norm(y, weights, f"{at}.block.mixer_norm")
        y = y + attended(normed, normed, weights, f"{at}.block.mixer", past)
        read = attended(layer_norm(y, weights, f"{at}.cross_wiring.norm"), memory, weights, f"{at}.cross", everything)
        y = y + read
        y = y + fed(layer_norm(y, weights, f"{at}.block.ffn_norm"), weights, f"{at}.block.ffn")
    return layer_norm(y, weights, "model.decoder.norm") @ table.T


def test_equal_to_the_formula_with_gradients() -> None:
    net = model()
    source, target = tokens(3, 7), tokens(3, 5, seed=1)
    out = net(source, labels=target)
    inputs = torch.cat([torch.zeros(3, 1, dtype=torch.long), target[:, :-1]], 1)
    weights = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    logits = by_the_formula(weights, source, inputs)
    loss = cross_entropy(logits.flatten(0, 1), target.flatten())
    assert_same(out.logits, logits, "logits")
    assert_same(out.loss, loss, "loss")
    got = torch.autograd.grad(out.loss, list(net.parameters()))
    want = torch.autograd.grad(loss, list(weights.values()))
    for (name, _), a, b in zip(net.named_parameters(), got, want, strict=True):
        assert_same(a, b, f"gradient of {name}", allowed=1e-11)


@pytest.mark.parametrize("norm_first", [True, False])
def test_equal_to_torchs_transformer(norm_first: bool) -> None:
    own = model(
        residual="pre_norm" if norm_first else "post_norm",
        final_norm="layer_norm",
        position="none",
        **dict.fromkeys(("mixer", "encoder_mixer", "cross"), "softmax(bias=True)"),
        ffn="mlp(activation=relu)",
    ).model
    theirs = nn.Transformer(
        *(16, 2, 3, 2), 4 * 16, dropout=0.0, norm_first=norm_first, batch_first=True, dtype=torch.float64
    ).eval()
    copy_into(theirs, own)
    source, inputs = torch.randn(2, 3, 7, 16, dtype=torch.float64).unbind()
    inputs = inputs[:, :5]
    real = torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [0] * 3 + [1] * 4])
    want = theirs(
        source,
        inputs,
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64),
        src_key_padding_mask=(real == 0),
        memory_key_padding_mask=(real == 0),
    )
    got = own(attention_mask=real, inputs_embeds=source, decoder_inputs_embeds=inputs)
    assert_same(got.last_hidden_state, want, "the decoder's hidden states")


@torch.no_grad()
def copy_into(theirs: nn.Transformer, own: EncoderDecoder) -> None:
    """Give torch's Transformer the weights of ours."""

    def attention(to: nn.MultiheadAttention, of: Any) -> None:
        for kind, to_rows, of_rows in (
            ("weight", to.in_proj_weight, [of.q_proj.weight, of.k_proj.weight, of.v_proj.weight]),
            ("bias", to.in_proj_bias, [of.q_proj.bias, of.k_proj.bias, of.v_proj.bias]),
        ):
            assert to_rows is not None, kind
            to_rows.copy_(torch.cat(of_rows))
        to.out_proj.load_state_dict(of.o_proj.state_dict())

    for to, layer in zip(theirs.encoder.layers, own.encoder.layers, strict=True):
        fill(to, layer, [("norm1", "mixer_norm"), ("norm2", "ffn_norm")])
        attention(to.self_attn, layer.mixer)
    for to, layer in zip(theirs.decoder.layers, own.decoder.layers, strict=True):
        fill(to, layer.block, [("norm1", "mixer_norm"), ("norm3", "ffn_norm")])
        to.norm2.load_state_dict(layer.cross_wiring.norm.state_dict())
        attention(to.self_attn, layer.block.mixer)
        attention(to.multihead_attn, layer.cross)
    theirs.encoder.norm.load_state_dict(own.encoder.norm.state_dict())
    theirs.decoder.norm.load_state_dict(own.decoder.norm.state_dict())


def fill(to: Any, block: Any, norms: list[tuple[str, str]]) -> None:
    to.linear1.load_state_dict(block.ffn.up_proj.state_dict())
    to.linear2.load_state_dict(block.ffn.down_proj.state_dict())
    for theirs, ours in norms:
        getattr(to, theirs).load_state_dict(getattr(block, ours).state_dict())


# --- laws ---


@pytest.mark.parametrize("stacks", [one for one in STACKS if one.get("encoder_mixer") != "fourier"], ids=str)
def test_padding_on_both_sides_changes_nothing(stacks: dict[str, Any]) -> None:
    net = model(**stacks)
    rows = [(tokens(1, 7), tokens(1, 5, seed=1)), (tokens(1, 4, seed=2), tokens(1, 3, seed=3))]
    alone = [net(source, decoder_input_ids=inputs).logits[0] for source, inputs in rows]
    for left in (True, False):
        source, inputs = torch.full((2, 9), 5), torch.full((2, 6), 5)
        masks = torch.zeros(2, 9, dtype=torch.long), torch.zeros(2, 6, dtype=torch.long)
        for b, pair in enumerate(rows):
            for into, mask, ids in zip((source, inputs), masks, pair, strict=True):
                at = slice(-ids.shape[1], None) if left else slice(ids.shape[1])
                into[b, at], mask[b, at] = ids[0], 1
        found = net(source, masks[0], inputs, masks[1]).logits
        for b, want in enumerate(alone):
            assert_same(found[b][masks[1][b].bool()], want, f"row {b}, padding {'left' if left else 'right'}")


@pytest.mark.parametrize("stacks", [one for one in STACKS if "bigbird" not in str(one)], ids=str)
def test_steps_and_chunks_equal_one_pass(stacks: dict[str, Any]) -> None:
    net, source, inputs = model(**stacks), tokens(3, 7), tokens(3, 6, seed=1)
    whole = net(source, decoder_input_ids=inputs).logits
    out = net(source, decoder_input_ids=inputs[:, :3], use_cache=True)
    parts, cache = [out.logits], out.past_key_values
    assert isinstance(cache, StateCache)
    for i in (3, 4, 5):
        out = net(decoder_input_ids=inputs[:, i : i + 1], past_key_values=cache)
        assert out.encoder_last_hidden_state is None
        parts.append(out.logits)
    assert_same(torch.cat(parts, 1), whole, "steps")


@pytest.mark.parametrize("stacks", STACKS, ids=str)
@pytest.mark.parametrize("how", [{"do_sample": False}, {"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}])
def test_generation_equals_recomputation(stacks: dict[str, Any], how: dict[str, Any]) -> None:
    net, source = model(**stacks), tokens(3, 7)
    mask = None if "fourier" in str(stacks) else torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [0] * 3 + [1] * 4])
    given = {"attention_mask": mask, "max_new_tokens": 6, "eos_token_id": 3, "pad_token_id": 0, **how}
    found = net.generate(source, **given)
    assert found.equal(net.generate(source, use_cache=False, **given))
    assert not found[:, 0].any()


def test_the_encoder_runs_once() -> None:
    net, calls = model(), []
    net.model.encoder.register_forward_hook(lambda *_: calls.append(1))
    net.model.decoder.layers[0].cross.k_proj.register_forward_hook(lambda *_: calls.append(2))
    net.generate(tokens(2, 7), max_new_tokens=5, num_beams=2)
    assert calls == [1, 2]
    out = net.model.encoder(tokens(2, 7))
    net.generate(encoder_outputs=out, max_new_tokens=5)
    assert calls[2:] == [1, 2]


def test_rows_are_independent_and_the_source_matters() -> None:
    net, source, inputs = model(), tokens(3, 7), tokens(3, 5, seed=1)
    whole = net(source, decoder_input_ids=inputs).logits
    assert_same(net(source[1:2], decoder_input_ids=inputs[1:2]).logits, whole[1:2], "one row alone")
    changed = source.clone()
    changed[1, -1] = changed[1, -1] % 12 + 1
    other = net(changed, decoder_input_ids=inputs).logits
    assert_same(other[::2], whole[::2], "other rows")
    assert (other[1] - whole[1]).abs().amin() > 0


def test_the_decoder_cannot_see_the_future() -> None:
    net, source, inputs = model(), tokens(2, 7), tokens(2, 6, seed=1)
    whole = net(source, decoder_input_ids=inputs).logits
    inputs[:, 4] = inputs[:, 4] % 12 + 1
    assert_same(net(source, decoder_input_ids=inputs).logits[:, :4], whole[:, :4], "logits before the changed token")


def test_checkpointed_equals_plain() -> None:
    net, source, target = model(), tokens(3, 7), tokens(3, 5, seed=1)
    net.train()
    plain = torch.autograd.grad(net(source, labels=target).loss, list(net.parameters()))
    net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    again = torch.autograd.grad(net(source, labels=target).loss, list(net.parameters()))
    for (name, _), a, b in zip(net.named_parameters(), again, plain, strict=True):
        assert_same(a, b, f"gradient of {name}")
    net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    with pytest.raises(Unsupported, match="read of its source"):
        net(source, labels=target)


@pytest.mark.parametrize("stacks", STACKS, ids=str)
def test_every_parameter_trains(stacks: dict[str, Any]) -> None:
    net = model(**stacks).train()
    net(tokens(3, 7), labels=tokens(3, 5, seed=1)).loss.backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]


# --- around it ---


@pytest.mark.parametrize("tied", [True, False])
def test_saves_and_loads(tmp_path: Path, tied: bool) -> None:
    net = model(tie_word_embeddings=tied, cross="linear", encoder_mixer=["softmax", "linear"])
    tables = net.model.encoder.embed_tokens.weight, net.model.decoder.embed_tokens.weight, net.lm_head.weight
    assert len({table.data_ptr() for table in tables}) == (1 if tied else 3)
    net.save_pretrained(tmp_path)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, dtype=torch.float64).eval()
    assert isinstance(loaded, Seq2SeqLM)
    given = {"input_ids": tokens(2, 7), "decoder_input_ids": tokens(2, 5, seed=1)}
    assert_same(loaded(**given).logits, net(**given).logits, "logits of the loaded model")
    assert loaded.config.choices() == net.config.choices()
    assert AutoConfig.from_pretrained(tmp_path).is_encoder_decoder
    stacks = AutoModel.from_pretrained(tmp_path, dtype=torch.float64).eval()
    assert isinstance(stacks, EncoderDecoder)
    assert_same(stacks(**given).last_hidden_state, net.model(**given).last_hidden_state, "states of the loaded stacks")


def test_labels() -> None:
    net, source, target = model(), tokens(2, 7), tokens(2, 5, seed=1)
    inputs = net.prepare_decoder_input_ids_from_labels(target)
    assert inputs[:, 1:].equal(target[:, :-1])
    assert not inputs[:, 0].any()
    padded = torch.cat([target, torch.full((2, 3), -100)], 1)
    assert_same(net(source, labels=padded).loss, net(source, labels=target).loss, "loss of padded labels")
    counted = net(source, labels=target, num_items_in_batch=20).loss
    assert_same(counted, net(source, labels=target).loss / 2, "loss over a count")
    with pytest.raises(ValueError, match="on the right only"):
        net(source, labels=padded.flip(1))


def test_costs_are_of_a_source_and_an_output() -> None:
    net = model()
    assert net.flops_per_token(8) > 2 * sum(p.numel() for p in net.model.decoder.layers.parameters())
    own = 2 * 2 * 8 * 16 * 8  # keys and values of 8 tokens in 2 layers, in float64
    assert own * 2 <= net.state_bytes(8) <= own * 2 + 100
    fixed = model(mixer="linear", cross="linear")
    assert fixed.state_bytes(16) == fixed.state_bytes(8)


@pytest.mark.parametrize("draft", [{}, {"depth": 1, "width": 8, "cross": "linear"}], ids=str)
@pytest.mark.parametrize("stacks", [{}, {"cross": "linear", "position": "rotary"}], ids=str)
def test_assisted_generation_is_greedy_generation(stacks: dict[str, Any], draft: dict[str, Any]) -> None:
    net, small = model(**stacks), model(**{"encoder_depth": 1, **draft})
    source = tokens(1, 7)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1]])
    how = {"attention_mask": mask, "max_new_tokens": 15, "do_sample": False, "pad_token_id": 0}
    assert net.generate(source, assistant_model=small, **how).equal(net.generate(source, **how))


@pytest.mark.parametrize("main", [True, False])
def test_assisted_generation_where_a_state_keeps_its_tokens_is_refused(main: bool) -> None:
    nets = model(mixer="linear"), model()
    net, small = nets if main else nets[::-1]
    with pytest.raises(Unsupported, match="assisted generation takes tokens back"):
        net.generate(tokens(1, 7), assistant_model=small, max_new_tokens=3, do_sample=False, pad_token_id=0)


@pytest.mark.parametrize("marks", [("seq_idx",), ("cu_seq_lens_q", "max_length_q"), ("position_ids",)], ids=" ".join)
def test_packed_documents_are_refused(marks: tuple[str, ...]) -> None:
    values = {
        "seq_idx": tokens(1, 6),
        "position_ids": tokens(1, 6),
        "cu_seq_lens_q": tokens(1, 2)[0],
        "max_length_q": 3,
    }
    with pytest.raises(Unsupported, match="which of the outputs follows from which source"):
        model()(tokens(1, 6), labels=tokens(1, 6), **{name: values[name] for name in marks})


def test_what_is_refused() -> None:
    net = model()
    with pytest.raises(ValueError, match="needs a source"):
        net(decoder_input_ids=tokens(1, 3))
    with pytest.raises(ValueError, match="attention_mask has shape"):
        net(
            decoder_input_ids=tokens(1, 3),
            encoder_outputs=(torch.zeros(1, 4, 16).double(),),
            attention_mask=tokens(1, 3),
        )
    for wrong, message in (
        ({"cross": "dense"}, "cannot be cross"),
        ({"cross": "linear(feature=favor)"}, "exponential features"),
        ({"residual": "danet"}, "no place for cross-attention"),
        ({"residual": "reversible"}, "no place for cross-attention"),
        ({"mixer": "fourier"}, "cannot be causal"),
        ({"encoder_mixer": "rfa(gate=True)"}, "cannot be bidirectional"),
        ({"is_encoder_decoder": False}, "an encoder and a decoder"),
    ):
        with pytest.raises(Unsupported, match=message):
            model(**wrong)
    with pytest.raises(ValueError, match="causal"):
        model(causal=False)
    with pytest.raises(Unsupported, match="one stack"):
        TransformerConfig(is_encoder_decoder=True)
    with pytest.raises(TypeError, match="needs a DecoderState with a source"):
        net.model.decoder(tokens(1, 3))
    with pytest.raises(TypeError, match="LinearCross reads a LinearMixerState"):
        model(cross="linear").model.decoder.layers[0].cross(
            torch.zeros(1, 2, 16).double(), net.model.decoder.read(torch.zeros(1, 2, 16).double())[0].source
        )
