"""SPALM: a language model that mixes its hidden state with the output embeddings of its neighbours' tokens."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from formers.memory import Recurrent
from formers.models import CausalLM, TransformerConfig
from formers.part import Unsupported, evaluating
from formers.retrieval.reading import Reading
from formers.retrieval.representations import represent, tapped
from formers.retrieval.retriever import Retriever


@dataclass(frozen=True, kw_only=True)
class LongTermMemory:
    """The datastore that a SPALM asks while it writes, and the frozen model that made it.

    Attributes:
        model, retriever: the model, and what finds its contexts.
        k: neighbours of a token, as many as in training.
        length: tokens that the model reads before each token that is written: the windows of `neighbours_of`.
    """

    model: CausalLM
    retriever: Retriever
    k: int
    length: int

    def neighbours(self, ids_bl: Tensor, mask_bl: Tensor | None) -> Tensor:
        """Return the tokens of the neighbours after the last token of each row, (B, k); −1 for none.

        Costs a pass of the model over the last `length` tokens, and a search.
        """
        mask_bl = None if mask_bl is None else mask_bl[:, -self.length :].to(self.model.device)
        ids_bl = ids_bl[:, -self.length :].to(self.model.device)
        with evaluating(self.model), tapped(self.model, self.retriever.key) as tap:
            self.model(input_ids=ids_bl, attention_mask=mask_bl, use_cache=False)
        near = self.retriever.search(tap.keys(tuple(ids_bl.shape))[:, -1], self.k)
        return near.tokens_nk.masked_fill(near.distances_nk.isinf(), -1)


class _GivenNeighbours(threading.local):
    """The tokens of the neighbours that the call in this thread was given."""

    ids_blk: Tensor | None = None


_given = _GivenNeighbours()


class Spalm(CausalLM):
    """softmax(W z), z = (1 − g)·m + g·h, where m = Σ_i softmax_i(y_i·h) y_i and g = σ(w_g·h).

    h is the hidden state of a model with a `recurrent` memory, the short-term memory, and y_i, rows of W, are the
    output embeddings of the tokens of its neighbours in a datastore, the long-term one. The datastore is another
    model's, which is not trained: its keys are frozen. w_g, the embeddings and the model learn. The gate starts at
    g = 1/2, and a token without neighbours has z = h.

    Neighbours are given with each call, `neighbour_ids` (B, L, k), as `neighbours_of` finds them. It is trained, saved
    and loaded as any model. Generation finds the neighbours of what is written in `long_term`, which has to be set for
    it, and is not saved.
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
        self.long_term: LongTermMemory | None = None
        self.post_init()

    def __call__(self, *args: Any, neighbour_ids: Tensor | None = None, **options: Any) -> Any:
        """Run `forward` beside the tokens of the neighbours of each token, (B, L, k); −1 for none."""
        outer, _given.ids_blk = _given.ids_blk, neighbour_ids
        try:
            return super().__call__(*args, **options)
        finally:
            _given.ids_blk = outer

    def score(self, hidden_bld: Tensor, kept: slice | Tensor) -> Tensor:
        """Return the logits of the kept tokens. Raise ValueError where the neighbours are not given, or misfit."""
        ids_blk = _given.ids_blk
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
        """Write on as any model does. Raise Unsupported unless `long_term` is set."""
        if self.long_term is None:
            raise Unsupported(
                "a Spalm asks for the neighbours of what it writes: set its long_term = LongTermMemory(model=…, "
                "retriever=…, k=…, length=…) before generate()"
            )
        return super().generate(*args, **options)

    @wraps(CausalLM.prepare_inputs_for_generation)  # whose signature transformers looks at
    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the inputs of a step of `generate`, with the neighbours of the last token of each row.

        The earlier tokens of a prompt get none: their hidden states, which the memory takes, do not depend on them.
        """
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(*args, **kwargs)
        if self.long_term is not None:
            written_bl = args[0] if args else kwargs["input_ids"]
            last_bk = self.long_term.neighbours(written_bl, kwargs.get("attention_mask"))
            new = inputs["input_ids"]
            ids_blk = new.new_full((*new.shape, self.long_term.k), -1)
            ids_blk[:, -1] = last_bk.to(new.device)
            inputs["neighbour_ids"] = ids_blk
        return inputs


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
