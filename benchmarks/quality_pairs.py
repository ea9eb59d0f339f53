"""Which of our models does the same as which method elsewhere, and by which settings."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Arguments = Mapping[str, Any]


_NOTHING: Arguments = MappingProxyType({})


class Fit(NamedTuple):
    """A fit of ours, from which arguments of the other side may follow.

    Args:
        info: of `FittedModel.info`.
        users: of train.
    """

    info: Mapping[str, Any]
    users: int


class Library(NamedTuple):
    """Where another method comes from.

    Args:
        title: as the page names it.
        package: the one whose version is on the page.
        packages: requirements of its environment; none where our own Python, or Spark, has it.
    """

    title: str
    package: str
    packages: tuple[str, ...] = ()


LIBRARIES = {
    "surprise": Library("Surprise", "scikit-surprise", ("scikit-surprise==1.1.5", "numpy<2")),
    "scipy": Library("SciPy", "scipy"),
    "implicit": Library("implicit", "implicit", ("implicit==0.7.2", "numpy<2.4")),
    "irspack": Library("irspack", "irspack", ("irspack==0.5.2",)),
    "rectools": Library("RecTools", "rectools", ("rectools==0.19.0",)),
    "lenskit": Library("LensKit", "lenskit", ("lenskit==2025.8.1",)),
    "spark": Library("Spark MLlib", "pyspark"),
}


class Pair(NamedTuple):
    """A model of ours and the same method elsewhere.

    Args:
        model: ours.
        library: one of LIBRARIES; `spark` is MLlib, which a model of that name wraps.
        method: its class.
        metric: by which they are compared.
        ours: settings of ours that are not the default.
        theirs: arguments of the other side that are not the default, or how they follow from our
            fit.
        note: whose values both have, and what differs all the same.
        given: what the other side is given: ratings, or likings.
        weight: of each liking.
    """

    model: str
    library: str
    method: str
    metric: Literal["rmse", "ndcg@10"]
    ours: Arguments = _NOTHING
    theirs: Arguments | Callable[[Fit], Arguments] = _NOTHING
    note: str = ""
    given: Literal["likings", "ratings"] = "likings"
    weight: float = 1.0

    def arguments(self, fit: Fit) -> Arguments:
        return self.theirs(fit) if callable(self.theirs) else self.theirs


def _our_sgd(fit: Fit) -> Arguments:
    return {
        "n_factors": 32, "n_epochs": int(fit.info["best_epoch"]), "lr_all": 0.03, "reg_pu": 0.06,
        "reg_qi": 0.06, "reg_bu": 0.05, "reg_bi": 0.05,
        "init_std_dev": round(0.1 / math.sqrt(32), 6), "random_state": 42,
    }  # fmt: skip


_SURPRISE_SGD = {
    "rank": 100, "epochs": 20, "learning_rate": 0.005, "learning_rate_decay": 1.0,
    "regularization": 0.02, "bias_regularization": 0.02, "initial_scale": 1.0, "patience": 0,
}  # fmt: skip
_SURPRISE_KNN = {
    "similarity": "pearson", "shrinkage": 0.0, "k": 10_000, "max_rated": 40, "centre": "means",
}  # fmt: skip
_IALS = {
    "loss": "ials", "unobserved_weight": 0.1, "regularization": 0.003, "alpha": 1.0,
}  # fmt: skip
_ALS = {"regularization": 0.1, "factors": 64, "iterations": 15, "use_cg": False}
_CONFIDENCE = 1 + 1.5
"""Of a liking: 1 + `alpha`."""


def _lambda(name: str) -> Callable[[Fit], Arguments]:
    return lambda fit: {name: fit.info["regularization"]}


def _slim(fit: Fit) -> Arguments:
    return {"alpha": 51 / fit.users, "l1_ratio": 1 / 51, "n_iter": 1000, "tol": 1e-4}


def _knn(name: str, *, user_based: bool, **rest: Any) -> Arguments:
    return {"sim_options": {"name": name, "user_based": user_based}, "verbose": False, **rest}


_ALL_VALUES = "the same values on both sides"
_NO_DECAY = (
    "our values, as many epochs as ours took; Surprise's step does not become smaller, and it stops"
    " by no validation part"
)
_DEFAULTS = "each with its own defaults"
_OVER_COMMON = (
    "ours: cosine of likings, centred on biases; theirs: of the ratings that both have, on means"
)
_ON_BIASES = "both centred on biases, each with its own similarity"

RATINGS = (
    Pair("sgd", "surprise", "SVD", "rmse", {}, _our_sgd, _NO_DECAY),
    Pair("sgd", "surprise", "SVD", "rmse", {}, {"random_state": 42}, _DEFAULTS),
    Pair("sgd", "surprise", "SVD", "rmse", _SURPRISE_SGD, {"random_state": 42},
         "Surprise's defaults on both sides"),
    Pair("biases", "surprise", "BaselineOnly", "rmse", {},
         {"bsl_options": {"method": "als", "reg_u": 5, "reg_i": 5}, "verbose": False}, _ALL_VALUES),
    Pair("biases", "surprise", "BaselineOnly", "rmse", {}, {"verbose": False}, _DEFAULTS),
    Pair("item_knn", "surprise", "KNNWithMeans", "rmse", _SURPRISE_KNN,
         _knn("pearson", user_based=False), _ALL_VALUES),
    Pair("item_knn", "surprise", "KNNWithMeans", "rmse", {},
         _knn("cosine", user_based=False, k=20), _OVER_COMMON),
    Pair("item_knn", "surprise", "KNNBaseline", "rmse", {},
         _knn("pearson_baseline", user_based=False, k=20), _ON_BIASES),
    Pair("user_knn", "surprise", "KNNWithMeans", "rmse", _SURPRISE_KNN,
         _knn("pearson", user_based=True), _ALL_VALUES),
    Pair("user_knn", "surprise", "KNNWithMeans", "rmse", {},
         _knn("cosine", user_based=True, k=20), _OVER_COMMON),
    Pair("user_knn", "surprise", "KNNBaseline", "rmse", {},
         _knn("pearson_baseline", user_based=True, k=20), _ON_BIASES),
    Pair("svd", "scipy", "svds", "rmse", {}, {"rank": 12},
         "the same values, unknown ratings filled with the user's mean on both sides"),
    Pair("nmf", "surprise", "NMF", "rmse", {},
         {"n_factors": 8, "reg_pu": 0.12, "reg_qi": 0.12, "random_state": 42},
         "the same factors and penalty; 50 multiplicative steps there, 15 alternations here"),
    Pair("nmf", "surprise", "NMF", "rmse", {}, {"random_state": 42}, _DEFAULTS),
    Pair("block_als", "spark", "als_explicit", "rmse", {}, {}, _ALL_VALUES),
)  # fmt: skip
"""By the error of predicted ratings."""

LISTS = (
    Pair("popularity", "rectools", "PopularModel", "ndcg@10", {}, {}, _ALL_VALUES, "ratings"),
    Pair("als_implicit", "implicit", "AlternatingLeastSquares", "ndcg@10", {}, _ALS,
         "the same values, but ours multiplies the penalty by the number of likings",
         weight=_CONFIDENCE),
    Pair("block_als_implicit", "implicit", "AlternatingLeastSquares", "ndcg@10", {}, _ALS,
         "the same values, but ours multiplies the penalty by the number of likings",
         weight=_CONFIDENCE),
    Pair("block_als_implicit", "implicit", "AlternatingLeastSquares", "ndcg@10",
         {"regularization_exponent": 0.0}, _ALS, _ALL_VALUES, weight=_CONFIDENCE),
    Pair("block_als_implicit", "irspack", "IALSRecommender", "ndcg@10", _IALS,
         {"n_components": 64, "alpha0": 0.1, "reg": 0.003, "nu": 1.0, "train_epochs": 15,
          "solver_type": "CHOLESKY", "loss_type": "IALSPP"}, _ALL_VALUES),
    Pair("block_als_implicit", "spark", "als_implicit", "ndcg@10", {}, {}, _ALL_VALUES),
    Pair("ease", "rectools", "EASEModel", "ndcg@10", {}, _lambda("regularization"), _ALL_VALUES),
    Pair("ease", "irspack", "DenseSLIMRecommender", "ndcg@10", {}, _lambda("reg"), _ALL_VALUES),
    Pair("ease", "lenskit", "EASEScorer", "ndcg@10", {}, _lambda("regularization"), _ALL_VALUES),
    Pair("slim", "irspack", "SLIMRecommender", "ndcg@10", {}, _slim, _ALL_VALUES),
    Pair("rp3beta", "irspack", "RP3betaRecommender", "ndcg@10", {},
         {"alpha": 1.0, "beta": 0.4, "top_k": 150},
         "the same values; theirs keeps the best of each item that is recommended, ours of each"
         " that is liked"),
    Pair("rp3beta", "irspack", "RP3betaRecommender", "ndcg@10", {"k": 10_000},
         {"alpha": 1.0, "beta": 0.4}, "the same values; no weight is left out on either side"),
    Pair("item_knn", "implicit", "CosineRecommender", "ndcg@10", {"shrinkage": 0.0}, {"K": 100},
         "the same values; theirs keeps the nearest of each item that is liked, ours of each that"
         " is recommended"),
    Pair("item_knn", "implicit", "CosineRecommender", "ndcg@10", {"shrinkage": 0.0, "k": 10_000},
         {"K": 10_000}, "the same values; no neighbour is left out on either side"),
    Pair("item_knn", "irspack", "CosineKNNRecommender", "ndcg@10", {"shrinkage": 0.0},
         {"top_k": 101, "normalize": True},
         "the same values; theirs keeps the nearest of each item that is liked, with itself"),
    Pair("item_knn", "irspack", "CosineKNNRecommender", "ndcg@10", {},
         {"top_k": 101, "normalize": True, "shrinkage": 10.0},
         "as above, and shrinkage is another formula"),
    Pair("user_knn", "irspack", "CosineUserKNNRecommender", "ndcg@10", {"shrinkage": 0.0},
         {"top_k": 101, "normalize": True},
         "the same values; theirs counts a user as a neighbour of itself"),
    Pair("user_knn", "irspack", "CosineUserKNNRecommender", "ndcg@10", {},
         {"top_k": 101, "normalize": True, "shrinkage": 10.0},
         "the same number for shrinkage, by another formula"),
    Pair("svd_implicit", "rectools", "PureSVDModel", "ndcg@10", {},
         {"factors": 16}, _ALL_VALUES, "ratings"),
    Pair("svd_implicit", "scipy", "svds", "ndcg@10", {}, {"k": 16}, _ALL_VALUES, "ratings"),
)  # fmt: skip
"""By lists of ten."""

PAIRS = (*RATINGS, *LISTS)
