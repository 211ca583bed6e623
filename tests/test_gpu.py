"""Every mixer on a GPU gives what it gives on a CPU. Run with `make test-gpu`."""

from __future__ import annotations

import pytest
import torch

from formers.catalogue import members
from formers.mixers import Mixer
from formers.testing import build, directions, tokens

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("kind", members(Mixer), ids=lambda kind: kind.name())
def test_gpu_equals_cpu(kind):
    for causal in directions(kind()):
        module = build(kind(), causal=causal).eval()
        x = tokens(dtype=torch.float64)
        wanted, _ = module.double()(x)
        found, _ = module.cuda()(x.cuda())
        torch.testing.assert_close(found.cpu(), wanted, rtol=1e-9, atol=1e-10)
