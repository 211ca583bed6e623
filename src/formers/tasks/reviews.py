"""Reviews: does a film review praise or pan the film?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from formers.tasks.classification import _TextClassification
from formers.tasks.hub import hub_rows
from formers.tasks.records import Record, labelled, split_records
from formers.tasks.sources import HUB, locate
from formers.tasks.splits import Side

_NAMES = (
    "movie_reviews/movie_reviews.zip",
    "movie_reviews.zip",
    "movie_reviews",
    "reviews.csv",
    "reviews.tsv",
    "reviews",
)
_URL = "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/movie_reviews.zip"
_HOW = (
    f"Get the 2,000 reviews of Pang & Lee with `curl -LO {_URL}` and give reviews(path='movie_reviews.zip'), or put "
    "the file into a folder and set FORMERS_DATA to it. A CSV or TSV with the columns text,label, a folder of "
    "label/*.txt, or a zip file of one will do as well; reviews(path='hub') downloads the IMDb reviews "
    "(stanfordnlp/imdb)"
)
HUB_FILES = ("plain_text/train-00000-of-00001.parquet", "plain_text/test-00000-of-00001.parquet")


class Reviews(_TextClassification):
    """Tell positive film reviews from negative ones: long texts, whole, up to `length` tokens.

    Data: a copy of movie_reviews (Pang & Lee 2004: 1,000 positive, 1,000 negative, about 750 words each) as a zip file
    or a folder `pos/*.txt`, `neg/*.txt`; or labelled texts of one's own, of any labels. A review belongs to training (8
    in 10), validation or test by a checksum of its text.
    """

    description: ClassVar[str] = (
        "Tell positive film reviews from negative ones, from word pieces or bytes. Measured on the tenth of the "
        "reviews that a checksum of the text holds out."
    )
    arms: ClassVar[tuple[str, ...]] = (
        "softmax: mixer=softmax",
        "window: mixer=sparse(pattern=window(64))",
        "linear: mixer=linear",
        "performer: mixer=performer",
        "pool: mixer=pool",
        "identity: mixer=identity",
    )
    budget: ClassVar[dict[str, float]] = {"steps": 200, "batch_size": 16, "learning_rate": 1e-2}

    def place(self) -> Path | None:
        return None if self.path == HUB else locate(self.path, _NAMES, _HOW)

    def read(self, place: Path | None) -> Mapping[Side, Sequence[Record]]:
        return split_records(_downloaded() if place is None else labelled(place), place)


def _downloaded() -> list[Record]:
    """Return the 50,000 labelled IMDb reviews of Maas et al. 2011."""
    names = ("negative", "positive")
    return [
        Record((row["text"],), names[row["label"]]) for file in HUB_FILES for row in hub_rows("stanfordnlp/imdb", file)
    ]
