"""Vectors of words: trained on the words of items, or read from a file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pyspark.ml.feature import Word2Vec
from pyspark.sql import functions as F

from recpipe.errors import InputError
from recpipe.storage.filesystem import file_system
from recpipe.storage.paths import absolute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    Floats = NDArray[np.float32]

_LINE = "a line is a word and its numbers, with one blank between them, and there is no header"


class TermVectors(NamedTuple):
    """The vectors of terms.

    Args:
        rows: (terms, size) the mean of the vectors of a term's words, of length 1; 0 where no word
            of it has one.
        missing: how many terms have none.
        words: how many words have one.
    """

    rows: Floats
    missing: int
    words: int


def words_of(term: str) -> list[str]:
    """The words of a title's word or of a tag."""
    return term.lower().split()


def term_vectors(terms: Sequence[str], words: Mapping[str, Floats]) -> TermVectors:
    """The vectors of terms from those of their words.

    Args:
        terms: in any order.
        words: vectors of the same size; at least one.
    """
    size = len(next(iter(words.values())))
    rows = np.zeros((len(terms), size), np.float32)
    missing = 0
    for place, term in enumerate(terms):
        known = [words[word] for word in words_of(term) if word in words]
        total = np.sum(known, axis=0, dtype=np.float64) if known else np.zeros(size)
        length = float(np.linalg.norm(total))
        if length:
            rows[place] = total / length
        missing += not known
    return TermVectors(rows, missing, len(words))


def trained(terms: DataFrame, *, size: int, min_items: int, seed: int) -> dict[str, Floats]:
    """Vectors of words by MLlib's Word2Vec: skip-gram with hierarchical softmax (Mikolov 2013).

    A sentence is what is said of one item, in the order of its terms. It is trained in one
    partition, so that the seed decides; time grows with the words of all items.

    Args:
        terms: (item int, term string, ...): of titles and tags.
        size: of the vectors.
        min_items: words in fewer sentences have none.
        seed: of the fit.

    Returns:
        None of them where no word is in so many sentences.
    """
    word = F.explode(F.split(F.lower("term"), r"\s+"))
    sentences = (
        terms.select("item", word.alias("word"))
        .distinct()
        .groupBy("item")
        .agg(F.sort_array(F.collect_list("word")).alias("words"))
        .coalesce(1)
        .sortWithinPartitions("item")
    )
    often = terms.select("item", word.alias("word")).distinct().groupBy("word").count()
    if not often.where(F.col("count") >= min_items).limit(1).collect():
        return {}
    learner = Word2Vec(
        vectorSize=size, minCount=min_items, numPartitions=1, seed=seed,
        inputCol="words", outputCol="vector",
    )  # fmt: skip
    # Without a column of arrays: MLlib's vectors come as rows of the driver, words x size numbers.
    rows = learner.fit(sentences).getVectors().collect()
    return {row["word"]: row["vector"].toArray().astype(np.float32) for row in rows}


def read(spark: SparkSession, path: str, wanted: set[str]) -> dict[str, Floats]:
    """The vectors that a file in GloVe's text format has of some words.

    The file is read line by line on the driver, which keeps the wanted words alone. A word with
    blanks in it is passed over: it is none that can be wanted.

    Args:
        spark: whose clients of file systems are used.
        path: local, or a URI.
        wanted: the words, in lower case.

    Raises:
        InputError: if there is no such file, or a line is not a word and as many numbers as the
            first line has, or no wanted word is in it.
    """
    uri = absolute(path)
    store = file_system(uri, spark)
    if not store.exists(uri) or store.is_dir(uri):
        raise InputError(f"{path}: no file of vectors", hint="see content.vectors")
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "vectors.txt"
        store.download(uri, local)
        found = dict(_wanted(path, local, wanted))
    if not found:
        raise InputError(
            f"{path}: none of the {len(wanted)} words of titles and tags has a vector",
            hint="give a file of the language of the titles, or set content.vectors=train",
        )
    return found


def _wanted(path: str, local: Path, wanted: set[str]) -> Iterator[tuple[str, Floats]]:
    width: int | None = None
    with local.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            word, *numbers = line.rstrip().split(" ")
            width = len(numbers) if width is None else width
            if not width:
                raise InputError(f"{path}: line 1 has no numbers", hint=_LINE)
            further = len(numbers) - width
            # GloVe's own files have some words with blanks in them, such as `. . .`.
            if further > 0 and not any(map(_is_number, numbers[:further])):
                continue
            if further:
                raise InputError(
                    f"{path}: line {number} has {len(numbers)} numbers, and line 1 has {width}",
                    hint=_LINE,
                )
            if word in wanted:
                yield word, _numbers(path, number, numbers)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(path: str, line: int, texts: Sequence[str]) -> Floats:
    try:
        found = np.array(texts, np.float32)
    except ValueError:
        found = np.array([np.nan], np.float32)
    if not np.isfinite(found).all():
        raise InputError(
            f"{path}: line {line} has what is no finite number",
            hint=_LINE,
        )
    return found


__all__ = ["TermVectors", "read", "term_vectors", "trained", "words_of"]
