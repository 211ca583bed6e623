"""The page that is saved beside a model, and says what made it and how to load it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from formers import __version__

if TYPE_CHECKING:
    from formers.models.config import TransformerConfig

_CARD = """---
library_name: formers
tags:
- formers
---

# {name}

A `{name}` made by the Python library formers {version}: {depth} layers of width {width}, {heads} heads.

{choices}

Its classes are not part of Transformers. `import formers.models` registers them, so that `AutoConfig` and `AutoModel…`
find them; without it, Transformers asks for an update, which does not help.

```python
from {module} import {name}

model = {name}.from_pretrained("path/to/this/folder")
```
"""


def model_card(model_class: type, config: TransformerConfig) -> str:
    """Return the text of a model's card, in the Hub's Markdown."""
    module = model_class.__module__
    return _CARD.format(
        name=model_class.__name__,
        module="formers.models" if module.startswith("formers.models.") else module,
        version=__version__,
        depth=config.depth,
        width=config.width,
        heads=config.heads,
        choices="\n".join(f"- {axis}: `{choice}`" for axis, choice in config.choices().items()),
    )
