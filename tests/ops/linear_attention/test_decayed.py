"""Linear attention with a decay against its recurrence."""

import pytest
import torch
from torch.nn.functional import logsigmoid

from formers.ops import LinearState, decayed_linear_attention, linear_attention
from formers.testing.tolerance import assert_close_derived


def given(length: int = 150) -> list[torch.Tensor]:
    torch.manual_seed(0)
    q, k = (torch.rand(2, 3, length, 5, dtype=torch.float64) for _ in range(2))
    v, gate = torch.randn(2, 3, length, 4, dtype=torch.float64), torch.randn(2, 3, length, dtype=torch.float64)
    return [q, k, v, logsigmoid(3 * gate)]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("length", [1, 64, 150])
def test_equals_the_recurrence(normalize, length):
    mask = torch.rand(2, length) < 0.8
    s, z = torch.rand(2, 3, 5, 4), torch.rand(2, 3, 5)

    def form(impl):
        def run(q, k, v, g, s, z):
            state = LinearState(s, z if normalize else None)
            return decayed_linear_attention(q, k, v, g, key_mask_bl=mask, state=state, normalize=normalize, impl=impl)

        return run

    names = ["q", "k", "v", "log decay", "S", "z"]
    assert_close_derived(form("torch"), form("naive"), [*given(length), s, z], names=names)


def test_without_decay_is_linear_attention():
    q, k, v, g = given()
    got, state = decayed_linear_attention(q, k, v, torch.zeros_like(g))
    want, end = linear_attention(q, k, v, causal=True)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(state.s_bhmv, end.s_bhmv)


def test_pieces_agree():
    q, k, v, g = given()
    whole, end = decayed_linear_attention(q, k, v, g)
    state, ys = None, []
    for i in range(0, 150, 37):
        y, state = decayed_linear_attention(*(t[:, :, i : i + 37] for t in (q, k, v, g)), state=state)
        ys.append(y)
    torch.testing.assert_close(torch.cat(ys, 2), whole)
    torch.testing.assert_close(state.z_bhm, end.z_bhm)


def test_strong_decay_does_not_overflow():
    q, k, v, g = given()
    y, _ = decayed_linear_attention(q.float(), k.float(), v.float(), 1000 * g.float())
    assert y.isfinite().all()
