"""SPALM: a language model that mixes its hidden state with the output embeddings of its neighbours' tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from formers.memory import Recurrent
from formers.models import CausalLM, TransformerConfig
from formers.part import Unsupported, evaluating
from formers.retrieval.reading import Reading
from formers.retrieval.representations import represent
from formers.retrieval.retriever import Retriever


class Spalm(CausalLM):
    """softmax(W z), z = (1 − g)·m + g·h, where m = Σ_i softmax_i(y_i·h) y_i and g = σ(w_g·h).

    h is the hidden state of a model with a `recurrent` memory, the short-term memory, and y_i, rows of W, are the
    output embeddings of the tokens of its neighbours in a datastore, the long-term one. The datastore is another
    model's, which is not trained: its keys are frozen. w_g, the embeddings and the model learn. The gate starts at
    g = 1/2, and a token without neighbours has z = h.

    Neighbours are given with each call, `neighbour_ids` (B, L, k), as `neighbours_of` finds them. It is trained, saved
    and loaded as any model. Generation asks for neighbours that depend on what is written, and is not supported.
    Source: Yogatama et al. 2021, arXiv:2102.02557.
    """

    def __init__(self, config: TransformerConfig):
        """Raise Unsupported for a model without a recurrent memory."""
        if not isinstance(config.memory, Recurrent):
            raise Unsupported(
                f"a Spalm needs memory=recurrent(), but has {config.memory}; use config.swap(memory='recurrent()')"
            )
        super().__init__(config)
        self.gate_proj = nn.Linear(config.width, 1, bias=False)
        self.neighbour_ids: Tensor | None = None
        self.post_init()

    def __call__(self, *args: Any, neighbour_ids: Tensor | None = None, **options: Any) -> Any:
        """Run `forward` beside the tokens of the neighbours of each token, (B, L, k); −1 for none."""
        self.neighbour_ids = neighbour_ids
        try:
            return super().__call__(*args, **options)
        finally:
            self.neighbour_ids = None

    def score(self, hidden_bld: Tensor, kept: slice | Tensor) -> Tensor:
        """Return the logits of the kept tokens. Raise ValueError where the neighbours are not given, or misfit."""
        ids_blk = self.neighbour_ids
        if ids_blk is None or ids_blk.shape[:2] != hidden_bld.shape[:2]:
            given = "none" if ids_blk is None else f"{tuple(ids_blk.shape)}"
            raise ValueError(
                f"neighbour_ids of shape ({hidden_bld.shape[0]}, {hidden_bld.shape[1]}, k) are needed, and {given} "
                "given; neighbours_of finds them"
            )
        ids_blk = ids_blk[:, kept].to(hidden_bld.device)
        return self.lm_head(self.mixed(hidden_bld[:, kept], ids_blk))

    def mixed(self, h_bld: Tensor, ids_blk: Tensor) -> Tensor:
        """Return z (B, L, D) from hidden states and the neighbours' tokens (B, L, k)."""
        there_blk = ids_blk >= 0
        y_blkd = nn.functional.embedding(ids_blk.clamp(min=0), self.lm_head.weight)
        s_blk = torch.einsum("blkd,bld->blk", y_blkd, h_bld).masked_fill(~there_blk, torch.finfo(h_bld.dtype).min)
        m_bld = torch.einsum("blk,blkd->bld", s_blk.softmax(-1), y_blkd)
        gate_bl1 = torch.sigmoid(self.gate_proj(h_bld))
        return torch.where(there_blk.any(-1, keepdim=True), (1 - gate_bl1) * m_bld + gate_bl1 * h_bld, h_bld)

    def generate(self, *args: Any, **options: Any) -> Any:
        """Raise Unsupported: see the class."""
        raise Unsupported("a Spalm does not generate: neighbours of what it writes would be needed; use a KnnLM")


def neighbours_of(
    model: CausalLM, retriever: Retriever, ids: Tensor, reading: Reading, k: int, *, is_datastore: bool = False
) -> Tensor:
    """Return the tokens of the k neighbours after each token of a text (N,), (N − 1, k) int32; −1 for none.

    Args:
        model: the frozen model that made the datastores.
        is_datastore: whether the text is what the one datastore was made of. Each context then finds itself, and with
            it the token to predict; it is left out.

    Raise ValueError where that is said, and the datastore is of another text or of several.
    """
    if is_datastore and (len(retriever.stores) > 1 or len(retriever) != len(ids) - 1):
        raise ValueError("is_datastore=True needs the one datastore that was made of this text")
    found = []
    with evaluating(model):
        first = 0
        for batch in reading.batches(ids):
            keys, _ = represent(model, batch.ids_bl, retriever.key)
            queries = batch.at(keys)
            if is_datastore:
                found.append(_others(retriever, queries, first, k))
            else:
                near = retriever.search(queries, k)
                found.append(near.tokens_nk.masked_fill(near.distances_nk.isinf(), -1))
            first += len(queries)
    return torch.cat(found).int()


def _others(retriever: Retriever, queries_nd: Tensor, first: int, k: int) -> Tensor:
    """Return the tokens of the k nearest entries but each query's own: that of query i is `first` + i."""
    [(store, searcher)] = retriever.stores
    entries_nm = searcher.search(queries_nd, k + 1).entries_nk
    own_n1 = torch.arange(first, first + len(queries_nd)).unsqueeze(1)
    last = (entries_nm == own_n1).int().argsort(dim=1, stable=True)[:, :k]  # the own entry goes behind all others
    entries_nk = entries_nm.gather(1, last)
    tokens = store.tokens[entries_nk.clamp(min=0)].long()
    return tokens.masked_fill((entries_nk < 0) | (entries_nk == own_n1), -1)
