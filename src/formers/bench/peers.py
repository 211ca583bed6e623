"""Other libraries' mixers, for comparison: timed where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from typing import Any

from torch import Tensor, nn

from formers.part import Site, Unsupported

PREFIX = "pip:"
"""What their names begin with: `pip:local-attention`. It tells them from this library's parts."""


class Wrapped(nn.Module):
    """A peer with a mixer's interface: `y, None = mixer(x)`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x_bld: Tensor) -> tuple[Tensor, None]:
        y: Any = self.inner(x_bld)
        return (y[0] if isinstance(y, tuple) else y), None  # some return a loss as well


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A package, its module's name, and how it makes a mixer."""

    package: str
    make: Callable[[Site], nn.Module]

    @property
    def installed(self) -> bool:
        return find_spec(self.package.replace("-", "_")) is not None

    def build(self, site: Site) -> nn.Module:
        """Its mixer, with as many heads as wide; what it prints about kernels it lacks is left out."""
        with redirect_stdout(StringIO()):
            return Wrapped(self.make(site))


def local_attention(site: Site) -> nn.Module:
    """Window of 128."""
    from local_attention.transformer import LocalMHA

    return LocalMHA(
        dim=site.width,
        window_size=128,
        dim_head=site.head_width,
        heads=site.heads,
        causal=site.causal,
        use_rotary_pos_emb=False,
    )


def performer(site: Site) -> nn.Module:
    from performer_pytorch import SelfAttention

    return SelfAttention(dim=site.width, causal=site.causal, heads=site.heads, dim_head=site.head_width)


def _reformer(site: Site) -> nn.Module:
    from reformer_pytorch import LSHSelfAttention

    return LSHSelfAttention(dim=site.width, heads=site.heads, bucket_size=64, causal=site.causal)


def linformer(site: Site) -> nn.Module:
    """Keys and values shortened to 64, as this library's default."""
    from linformer import LinformerSelfAttention

    if site.causal:
        raise Unsupported("linformer is bidirectional; bench it with --bidirectional")
    return LinformerSelfAttention(dim=site.width, seq_len=site.context_length, k=64, heads=site.heads)


PEERS = (
    Peer(package="local-attention", make=local_attention),
    Peer(package="performer-pytorch", make=performer),
    Peer(package="reformer-pytorch", make=_reformer),
    Peer(package="linformer", make=linformer),
)
