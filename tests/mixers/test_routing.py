"""Routing: full attention with one cluster, centroids that follow the data, and what it does not let through."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import layer_norm, normalize

from formers import testing
from formers.mixers import Routing
from formers.mixers.centroids import Centroids
from formers.models import CausalLM, TransformerConfig
from formers.models.losses import next_token_loss
from formers.part import Site, Unsupported, collect_losses

SITE = Site(width=24, heads=3, causal=True, context_length=64)


def test_one_balanced_cluster_is_softmax():
    torch.manual_seed(0)
    part = Routing(clusters=1, select="balanced", local_heads=0)
    module, x = part.build(replace(SITE, causal=False)).double(), torch.randn(2, 64, 24).double()
    q, k, v = (p(x).unflatten(-1, (3, 8)).transpose(1, 2) for p in (module.q_proj, module.k_proj, module.v_proj))
    weights = (layer_norm(q, (8,)) @ layer_norm(k, (8,)).mT / 8**0.5).softmax(-1)
    torch.testing.assert_close(module(x)[0], module.o_proj((weights @ v).transpose(1, 2).flatten(2)))


def test_one_nearest_cluster_is_causal_softmax_over_the_others():
    torch.manual_seed(0)
    module, x = Routing(clusters=1, local_heads=0).build(SITE).double(), torch.randn(2, 64, 24).double()
    q, v = (p(x).unflatten(-1, (3, 8)).transpose(1, 2) for p in (module.q_proj, module.v_proj))
    q = layer_norm(q, (8,))
    scores = (q @ q.mT / 8**0.5).masked_fill(torch.eye(64, dtype=torch.bool), -1e5)
    weights = scores.masked_fill(torch.ones(64, 64, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)
    torch.testing.assert_close(module(x)[0], module.o_proj((weights @ v).transpose(1, 2).flatten(2)))


def test_centroids_move_to_where_the_vectors_are():
    torch.manual_seed(0)
    true = normalize(torch.randn(1, 4, 16), dim=-1)
    module, fits = Centroids(1, 8, 16, decay=0.9).train(), []
    for _ in range(60):
        x = (true[:, torch.randint(4, (64,))] + 0.1 * torch.randn(1, 64, 16)).unsqueeze(0).requires_grad_()
        fits.append(float(module(normalize(x.detach(), dim=-1)).amax(-1).mean()))
        module.learn_from(x, mask_bl=None)
        x.sum().backward()
    assert fits[0] < 0.6
    assert fits[-1] > 0.8


def test_centroids_follow_in_training_backwards_only():
    torch.manual_seed(0)
    module, x = Routing().build(SITE), torch.randn(2, 30, 24)
    mu = module.centroids.mu_hck
    before = mu.clone()
    module.eval()(x)[0].sum().backward()
    y = module.train()(x)[0]
    assert torch.equal(mu, before)
    y.sum().backward()
    assert not torch.equal(mu, before)
    torch.testing.assert_close(mu.norm(dim=-1), torch.ones(mu.shape[:2]))


def test_padding_teaches_nothing():
    torch.manual_seed(0)
    x, mask = torch.randn(1, 30, 24), torch.ones(1, 30, dtype=torch.bool)
    mask[:, 20:] = False
    module = Routing().build(SITE).train()
    start = module.state_dict()
    start = {name: t.clone() for name, t in start.items()}
    module(x, mask_bl=mask)[0].sum().backward()
    padded = module.centroids.mu_hck.clone()
    module.load_state_dict(start)
    module(x[:, :20])[0].sum().backward()
    torch.testing.assert_close(module.centroids.mu_hck, padded)


def test_balanced_picks_leak_and_say_so():
    with pytest.raises(Unsupported, match="strictly causal"):
        Routing(select="balanced").build(SITE)
    torch.manual_seed(0)
    module, x = Routing(select="balanced", leaks=True, clusters=4, window=4).build(SITE).eval(), torch.randn(1, 64, 24)
    changed = x.clone()
    changed[:, 32:] = torch.randn(1, 32, 24)
    assert (module(x)[0] - module(changed)[0])[:, :32].abs().max() > 1e-3


def test_only_the_top_layers_route():
    part = Routing(top=1)
    below, above = (part.build(replace(SITE, layers=2, layer=layer)) for layer in (0, 1))
    assert below.centroids is None
    assert above.centroids is not None


def test_options_that_cannot_be():
    with pytest.raises(ValueError, match="does not leak"):
        Routing(leaks=True)
    with pytest.raises(ValueError, match="0 to 3"):
        Routing(local_heads=4).build(SITE)


VARIANTS = [Routing(select="balanced"), Routing(clusters=3, window=6, local_heads=0)]


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_variants_keep_the_core_laws(part):
    testing.check(part, site=testing.SITE, only=testing.CORE_LAWS)


@pytest.mark.slow
@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_variants_keep_the_laws(part):
    broken = testing.broken_laws(part)
    broken.pop("runs_under_autocast", None)  # half precision moves tokens at the border of two clusters into the other
    assert broken == {}


@pytest.mark.parametrize("select", ["nearest", "balanced"])
def test_the_commitment_loss_is_the_distance_to_the_centroids(select):
    part = Routing(select=select, clusters=3, window=6, local_heads=0, commitment=0.5)
    module, x = part.build(replace(SITE, causal=False)).double().train(), torch.randn(2, 40, 24).double()
    mask = torch.arange(40).expand(2, 40) < torch.tensor([[40], [25]])
    with collect_losses() as losses:
        module(x, mask_bl=mask)
    total = 0.0
    for project in [module.q_proj] if select == "nearest" else [module.q_proj, module.k_proj]:
        vectors = layer_norm(project(x).unflatten(-1, (3, 8)), (8,))
        unit = normalize(vectors, dim=-1)[:, :, :, None]  # (B, L, H, 1, K)
        nearest = (unit - module.centroids.mu_hck).square().sum(-1).amin(-1)
        total = total + nearest[mask].mean()
    torch.testing.assert_close(losses.total(), 0.5 * total / (1 if select == "nearest" else 2))
    gradient = torch.autograd.grad(losses.total(), module.q_proj.weight)[0]
    assert gradient.abs().max() > 0
    with collect_losses() as losses:
        module.eval()(x)
    assert losses.total() is None


def test_a_model_trains_with_the_commitment_loss():
    config = TransformerConfig(vocab_size=11, width=24, heads=3, depth=1, mixer=Routing(window=8, commitment=1.0))
    model, ids = CausalLM(config).train(), torch.arange(22).view(2, 11) % 11
    both = model(ids, labels=ids).loss
    alone = next_token_loss(model(ids).logits, ids)
    assert both > alone
    for wrong in (Routing.parse("routing(local_heads=3, commitment=1.0)"), Routing(top=0, commitment=1.0)):
        with pytest.raises(Unsupported, match="commitment"):
            wrong.build(SITE)
    with pytest.raises(ValueError, match="commitment must be at least 0"):
        Routing(commitment=-1)
