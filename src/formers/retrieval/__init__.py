"""Datastores of what a model has read, and language models that ask them: kNN-LM and SPALM."""

from formers.retrieval.build import build_datastore
from formers.retrieval.datastore import Datastore
from formers.retrieval.distribution import KnnOptions, knn_log_probs, mixed_log_probs
from formers.retrieval.exact import Exact
from formers.retrieval.faiss_index import Flat, IvfPq
from formers.retrieval.index import Found, Index, Searcher
from formers.retrieval.knn_lm import KnnLM
from formers.retrieval.reading import Reading
from formers.retrieval.retriever import NearTokens, Retriever
from formers.retrieval.spalm import LongTermMemory, Spalm, neighbours_of
from formers.retrieval.tuning import Score, Tuned, score_text, tune

__all__ = [
    "Datastore",
    "Exact",
    "Flat",
    "Found",
    "Index",
    "IvfPq",
    "KnnLM",
    "KnnOptions",
    "LongTermMemory",
    "NearTokens",
    "Reading",
    "Retriever",
    "Score",
    "Searcher",
    "Spalm",
    "Tuned",
    "build_datastore",
    "knn_log_probs",
    "mixed_log_probs",
    "neighbours_of",
    "score_text",
    "tune",
]
