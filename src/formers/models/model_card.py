"""The page that is saved beside a model, and says what made it and how to load it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from formers import __version__
from formers.models.layer_ranges import layer_ranges

if TYPE_CHECKING:
    from formers.models.config import TransformerConfig

_CARD = """---
{header}
---

# {name}

A `{name}` made by the Python library formers {version}: {depth} layers of width {width}, {heads} heads.{origin}

{choices}

Its classes are not part of Transformers. `import formers.models` registers them, so that `AutoConfig` and `AutoModel…`
find them; without it, Transformers asks for an update, which does not help.

```python
from {module} import {name}

model = {name}.from_pretrained("path/to/this/folder")
```
"""
_WITH_TOKENIZER = """
Its tokenizer is beside it:

```python
import formers.models
from transformers import pipeline

run = pipeline("{task}", model="path/to/this/folder")
```
"""
_TASKS = {
    "CausalLM": "text-generation",
    "MaskedLM": "fill-mask",
    "SequenceClassifier": "text-classification",
    "TokenClassifier": "token-classification",
    "Transformer": "feature-extraction",
}
"""Names of our classes → the pipeline of Transformers that runs them."""
_ON_THE_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")
"""Names that a model on the Hub may have."""


_SHORT = 4
"""The most mixers that are listed one after the other."""


def model_card(model_class: type, config: TransformerConfig, *, origin: str = "", has_tokenizer: bool = False) -> str:
    """Return the text of a model's card, in the Hub's Markdown; `origin` is the model that its weights come from."""
    module, name = model_class.__module__, model_class.__name__
    header, task = ["library_name: formers", "tags:", "- formers"], _TASKS.get(name)
    if task is not None:
        header.append(f"pipeline_tag: {task}")
    if _ON_THE_HUB.fullmatch(origin) and not Path(origin).exists():
        header.append(f"base_model: {origin}")
    card = _CARD.format(
        header="\n".join(header),
        name=name,
        module="formers.models" if module.startswith("formers.models.") else module,
        version=__version__,
        depth=config.depth,
        width=config.width,
        heads=config.heads,
        origin=f" Its weights come from `{origin}`." if origin else "",
        choices="\n".join(f"- {axis}: {choice}" for axis, choice in _choices(config).items()),
    )
    return card + (_WITH_TOKENIZER.format(task=task) if has_tokenizer and task is not None else "")


def _choices(config: TransformerConfig) -> dict[str, str]:
    """Return the parts by axis; mixers by layer, where a list of them would be long."""
    choices = {axis: f"`{choice}`" for axis, choice in config.choices().items()}
    if isinstance(config.mixer, tuple) and len(config.mixer) > _SHORT:
        layers: dict[str, list[int]] = {}
        for layer in range(config.depth):
            layers.setdefault(str(config.mixer_at(layer)), []).append(layer)
        choices["mixer"] = ", ".join(f"`{mixer}` in layers {layer_ranges(found)}" for mixer, found in layers.items())
    return choices
