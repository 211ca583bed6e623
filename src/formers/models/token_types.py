"""Types of tokens, as BERT's first and second text of a pair."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from formers.ops import require_data
from formers.part import Unsupported


class TokenTypes(nn.Module):
    """A trained vector for each type of token, added to its embedding: x_i + e(type of i).

    Source: Devlin et al. 2018, arXiv:1810.04805, section 3 (segment embeddings).
    """

    def __init__(self, count: int, width: int):
        super().__init__()
        self.table = nn.Embedding(count, width)

    def forward(self, x_bld: Tensor, types: Tensor | None) -> Tensor:
        """Add the vectors of types (B, L) or (1, L), or longer with the past in front; None: type 0 everywhere.

        Raise ValueError for another shape, and for a type that there is not.
        """
        if types is None:
            first: Tensor = self.table(torch.zeros(1, 1, dtype=torch.long, device=x_bld.device))
            return x_bld + first
        batch, length, _ = x_bld.shape
        if types.dim() != 2 or types.shape[0] not in (1, batch) or types.shape[1] < length:
            raise ValueError(
                f"token_type_ids has shape {tuple(types.shape)}; expected (batch, length) = ({batch}, {length}), "
                "as the tokenizer returns it"
            )
        types_bl, count = types[:, types.shape[1] - length :], self.table.num_embeddings
        unknown = ValueError(f"token_type_ids must be from 0 to {count - 1}: the model has token_types={count}")
        require_data((types_bl >= 0) & (types_bl < count), unknown)
        return x_bld + self.table(types_bl)


def check_no_types(token_type_ids: Tensor | None) -> None:
    """Raise Unsupported for token types other than 0; RuntimeError, when it runs, in a compiled or exported model."""
    if token_type_ids is not None:
        message = (
            "token_type_ids must be 0: the model has no token types, so that it would read both texts of a pair as "
            "one; tokenize with return_token_type_ids=False to have it so, or build it with token_types=2"
        )
        require_data(token_type_ids == 0, Unsupported(message))
