"""Other libraries' mixers, for comparison: timed where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from typing import Any

from torch import Tensor, nn

from formers.bench.measuring.phase_calls import PhaseCall, mixer_call
from formers.bench.phases import STREAMING, Phase
from formers.bench.results import Status
from formers.bench.sizes import Sizes
from formers.bench.subjects.subject import Subject
from formers.part import Site, Unsupported

PREFIX = "pip:"
"Beginning of their names: `pip:local-attention`. It tells them from this library's parts."


class PackageSubject(Subject):
    """The mixer of another library, as it comes.

    Args:
        package: the library's name on PyPI.
        make: returns its mixer. Raises Unsupported where it has none for a site.
    """

    kind = "mixer"

    def __init__(self, package: str, make: Callable[[Site], nn.Module]) -> None:
        self.package, self.make, self.name = package, make, PREFIX + package

    def objection(self, sizes: Sizes, causal: bool) -> tuple[Status, str] | None:
        if find_spec(self.package.replace("-", "_")) is None:
            return "missing", f"not installed: pip install {self.package}"
        try:
            self._build(sizes, causal)
        except Unsupported as error:
            return "unsupported", str(error)
        return None

    def missing_phase(self, phase: Phase, causal: bool) -> str:
        return "a peer is not streamed here" if phase in STREAMING else ""

    def phase_call(self, phase: Phase, sizes: Sizes, causal: bool, device: str) -> PhaseCall:
        return mixer_call(lambda: self._build(sizes, causal), phase, sizes, device)

    def flops(self, phase: Phase, sizes: Sizes, causal: bool) -> None:
        return None

    def _build(self, sizes: Sizes, causal: bool) -> nn.Module:
        """Return the mixer with the interface of this library's; what it prints about kernels it lacks is left out."""
        with redirect_stdout(StringIO()):
            return _AsMixer(self.make(sizes.site(causal)))


class _AsMixer(nn.Module):
    """Gives a module a mixer's interface: `y, None = mixer(x)`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x_bld: Tensor) -> tuple[Tensor, None]:
        y: Any = self.inner(x_bld)
        return (y[0] if isinstance(y, tuple) else y), None  # some return a loss as well


def _local_attention(site: Site) -> nn.Module:
    """Return local-attention's mixer with a window of 128."""
    from local_attention.transformer import LocalMHA

    return LocalMHA(
        dim=site.width,
        window_size=128,
        dim_head=site.head_width,
        heads=site.heads,
        causal=site.causal,
        use_rotary_pos_emb=False,
    )


def _performer(site: Site) -> nn.Module:
    from performer_pytorch import SelfAttention

    return SelfAttention(dim=site.width, causal=site.causal, heads=site.heads, dim_head=site.head_width)


def _reformer(site: Site) -> nn.Module:
    from reformer_pytorch import LSHSelfAttention

    return LSHSelfAttention(dim=site.width, heads=site.heads, bucket_size=64, causal=site.causal)


def _linformer(site: Site) -> nn.Module:
    """Return linformer's mixer with keys and values shortened to 64, as this library's default."""
    from linformer import LinformerSelfAttention

    if site.causal:
        raise Unsupported("linformer is bidirectional; bench it with --bidirectional")
    return LinformerSelfAttention(dim=site.width, seq_len=site.context_length, k=64, heads=site.heads)


PACKAGES = {
    "local-attention": _local_attention,
    "performer-pytorch": _performer,
    "reformer-pytorch": _reformer,
    "linformer": _linformer,
}
"Package → the function that makes its mixer."
