"""Each index finds what comparing everything in float64 finds, or as much of it as it says."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from formers.retrieval import Datastore, Exact, Flat, Index, IvfPq, Retriever, index_checkpoint, index_file
from formers.retrieval.datastore import Progress
from formers.retrieval.header import Header
from formers.retrieval.naive import naive_neighbours

HEADER = Header(
    model="m",
    corpus="c",
    key="hidden",
    dtype="float32",
    entries=1,
    width=8,
    vocab_size=9,
    length=4,
    context=0,
    block=64,
)


def stored(keys: Tensor, folder: Path) -> Datastore:
    """A datastore of these keys in memory, with a folder for the files of its indices."""
    folder.mkdir(exist_ok=True)
    header = replace(HEADER, entries=len(keys), width=keys.shape[1], content=f"{float(keys.sum())}")
    return Datastore(folder, header, keys, torch.arange(len(keys), dtype=torch.int32) % 9)


@pytest.fixture
def store(tmp_path: Path) -> Datastore:
    """1,000 keys around 40 centres."""
    torch.manual_seed(2)
    return stored(torch.randn(40, 8).repeat(25, 1) + 0.3 * torch.randn(1000, 8), tmp_path / "index")


def truth(store: Datastore, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    near = [naive_neighbours(query, store.keys.double().tolist(), k) for query in queries.double().tolist()]
    return torch.tensor([[d for d, _ in row] for row in near]), torch.tensor([[i for _, i in row] for row in near])


@pytest.mark.parametrize(
    "index",
    [
        Exact(block=300),
        Flat(),
        IvfPq(lists=8, probes=8, code_bytes=8, fetch=8),
        IvfPq(lists=8, probes=8, code_bytes=4, fetch=20, bits=4),
    ],
    ids=str,
)
def test_the_nearest_are_found(store: Datastore, index: Index) -> None:
    queries = torch.randn(5, 8)
    found = index.open(store).search(queries, 7)
    distances, entries = truth(store, queries, 7)
    torch.testing.assert_close(found.distances_nk, distances.float(), rtol=1e-5, atol=1e-5)
    assert torch.equal(found.entries_nk, entries)


def test_near_duplicates_far_from_the_origin_keep_their_order(tmp_path: Path) -> None:
    """‖q‖² − 2q·k + ‖k‖² alone loses these distances to rounding."""
    keys = 100 + torch.arange(20.0)[:, None] * 1e-3 * torch.ones(20, 8)
    found = Exact().open(stored(keys, tmp_path / "far")).search(keys[:1], 5)
    assert found.entries_nk.tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("index", [Exact(), Flat()])
def test_fewer_keys_than_neighbours(tmp_path: Path, index: Index) -> None:
    searcher = index.open(stored(torch.randn(3, 8), tmp_path / "few"))
    found = searcher.search(torch.randn(2, 8), 5)
    assert (found.entries_nk[:, 3:] == -1).all()
    assert found.distances_nk[:, 3:].isinf().all()
    assert searcher.search(torch.empty(0, 8), 5).entries_nk.shape == (0, 5)
    with pytest.raises(ValueError, match=r"expected \(n, 8\)"):
        searcher.search(torch.randn(2, 7), 5)


def test_a_trained_index_is_kept_and_checked(store: Datastore, monkeypatch: pytest.MonkeyPatch) -> None:
    index, queries = IvfPq(lists=8, code_bytes=4), torch.randn(5, 8)
    first = index.open(store).search(queries, 5)
    [file] = store.folder.glob("ivf_pq-*.faiss")
    monkeypatch.setattr(IvfPq, "train", None)  # it is read, also for other options of the search
    assert torch.equal(index.open(store).search(queries, 5).entries_nk, first.entries_nk)
    index.swap(probes=2, rescore=False).open(store).search(queries, 5)
    moved = replace(store, header=replace(store.header, content="another"))
    with pytest.raises(ValueError, match=r"index of another datastore; remove .*\.faiss"):
        index.open(moved)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="missing, damaged or cut short"):
        index.open(store)
    file.with_suffix(".json").write_text(json.dumps({"file": "x", "sha256": "y"}))
    with pytest.raises(ValueError, match="is damaged"):
        index.open(store)


def stop_at(entry: int, error: type[BaseException]) -> Progress:
    """Progress that ends the build when so many keys are in the index."""

    def tell(done: int, total: int) -> None:
        if done >= entry > 0:
            raise error

    return tell


@pytest.mark.parametrize(
    ("error", "kept"),
    [(KeyboardInterrupt, 400), (SystemError, 0), (SystemError, 400)],
    ids=["stopped", "early", "later"],
)
def test_a_build_goes_on_from_where_it_was_stopped(
    store: Datastore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], kept: int
) -> None:
    monkeypatch.setattr(index_file, "_ADDED", 100)
    monkeypatch.setattr(index_checkpoint, "_LEAST_SECONDS", 0.0 if kept else 1e9)
    monkeypatch.setattr(index_checkpoint, "_MOST_SHARE", 1e9)
    index = IvfPq(lists=8, code_bytes=4)
    index.open(stored(store.keys, tmp_path / "whole"))
    with pytest.raises(error):
        index.open(store, stop_at(400, error))
    assert not list(store.folder.glob("ivf_pq*"))
    [partial] = store.folder.glob(".*.partial")
    assert partial.name.endswith(f".{kept}.partial")
    monkeypatch.setattr(IvfPq, "train", None)  # its training is not lost
    told: list[int] = []
    index.open(store, lambda done, total: told.append(done))
    assert told == [*range(kept, 1001, 100)]
    [whole], [file] = (folder.glob("*.faiss") for folder in (tmp_path / "whole", store.folder))
    assert file.read_bytes() == whole.read_bytes()
    assert not list(store.folder.glob(".*"))


def test_what_was_cut_off_or_is_anothers_does_not_count(store: Datastore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_file, "_ADDED", 100)
    index, trained = IvfPq(lists=8, code_bytes=4), []
    train = IvfPq.train
    monkeypatch.setattr(IvfPq, "train", lambda self, store: trained.append(1) or train(self, store))
    for entry in (200, 300):
        with pytest.raises(KeyboardInterrupt):
            index.open(store, stop_at(entry, KeyboardInterrupt))
    assert len(trained) == 1
    [partial] = store.folder.glob(".*.300.partial")
    partial.write_bytes(partial.read_bytes()[:-1])
    with pytest.raises(KeyboardInterrupt):
        index.open(store, stop_at(300, KeyboardInterrupt))
    assert len(trained) == 2
    index.open(replace(store, header=replace(store.header, content="another")))
    assert len(trained) == 3


def test_what_cannot_be_indexed_is_refused(store: Datastore) -> None:
    with pytest.raises(ValueError, match="code_bytes must divide the width of the keys, 8"):
        IvfPq(code_bytes=3).open(store)
    with pytest.raises(ValueError, match="twice code_bytes must divide the width of the keys, 8"):
        IvfPq(code_bytes=8, bits=4).open(store)
    with pytest.raises(ValueError, match="1000 keys for 2000 lists"):
        IvfPq(lists=2000).open(store)
    with pytest.raises(ValueError, match="needs 256 keys"):
        IvfPq().open(replace(store, header=replace(store.header, entries=200)))
    with pytest.raises(ValueError, match="rescore=True"):
        IvfPq(fetch=2, rescore=False)
    assert Index.parse("ivf_pq(probes=8)") == IvfPq(probes=8)


def test_without_faiss_the_error_names_the_extra(store: Datastore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install 'formers\[retrieval\]', or search exactly"):
        Flat().open(store)
    Exact().open(store)


def test_joined_datastores_are_searched_as_one(tmp_path: Path) -> None:
    torch.manual_seed(3)
    keys = torch.randn(100, 8)
    whole = stored(keys, tmp_path / "whole")
    halves = [replace(stored(keys[s], tmp_path / "half"), tokens=whole.tokens[s]) for s in np.s_[:30, 30:]]
    queries = torch.randn(6, 8)
    one = Retriever([(whole, Exact().open(whole))]).search(queries, 9)
    joined = Retriever([(half, Exact().open(half)) for half in halves]).search(queries, 9)
    assert torch.equal(one.tokens_nk, joined.tokens_nk)
    torch.testing.assert_close(one.distances_nk, joined.distances_nk)
    other = replace(whole, header=replace(whole.header, model="another"))
    with pytest.raises(ValueError, match="cannot be joined: they differ in model"):
        Retriever([(store, Exact().open(store)) for store in (whole, other)])
