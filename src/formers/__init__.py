"""One library for the Transformer family: swap any part, run it fast on what you have, see what the swap costs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "formers.part": ("Part", "Unsupported"),
    "formers.catalogue": ("CATALOGUE",),
    "formers.models": (
        "CausalLM",
        "DecisionConfig",
        "DecisionTransformer",
        "MaskedLM",
        "PixelConfig",
        "PixelLM",
        "Seq2SeqConfig",
        "Seq2SeqLM",
        "SequenceClassifier",
        "TokenClassifier",
        "Transformer",
        "TransformerConfig",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = [*sorted(_HOME_OF), "__version__"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `import formers.ops` needs torch and nothing else.
    if name not in _HOME_OF:
        raise AttributeError(f"module 'formers' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
