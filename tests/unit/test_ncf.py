"""Neural collaborative filtering without Spark: what is drawn, learned and handed to the scorer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recpipe.kernels.perceptron import Layers, network_scores
from recpipe.models.neural.ncf_job import Likings, NcfJob
from recpipe.models.neural.ncf_shape import NcfShape
from recpipe.models.neural.training import CURVE, KEPT, Plan, Shard
from recpipe.spark.interactions import Arrays, paired
from tests.neural import needs_torch

SHAPES = [NcfShape(5), NcfShape(0, 8, (16, 8)), NcfShape(5, 4, (6, 5, 3))]
ITEMS = np.arange(0, 48, 3, dtype=np.int32)


def liked(rng: np.random.Generator, users: int = 30) -> Arrays:
    """A third of the items, of one of two tastes, in no order."""
    rows = []
    for user in range(users):
        taste = ITEMS[(np.arange(len(ITEMS)) + user) % 2 == 0]
        rows += [(2 * user, item) for item in rng.choice(taste, 5, replace=False)]
    pairs = np.array(rows, np.int32)[rng.permutation(len(rows))]
    return Arrays(paired(pairs[:, 0], pairs[:, 1]), np.ones(len(pairs), np.float32))


def held_out(given: Arrays) -> Arrays:
    """Of each user one item of the user's taste that is not among the likings."""
    found = []
    for user in range(0, 60, 2):
        taste = [int(i) for i in ITEMS if (i // 3 + user // 2) % 2 == 0]
        own = {int(key & 0xFFFFFFFF) for key in given.keys if key >> 32 == user}
        found += [(user, item) for item in taste if item not in own][:1]
    pairs = np.array(found, np.int32)
    return Arrays(paired(pairs[:, 0], pairs[:, 1]), np.ones(len(pairs), np.float32))


def job(shape: NcfShape, **changes: Any) -> NcfJob:
    return NcfJob(
        ITEMS, shape, **{"batch_size": 16, "negatives": 3, "regularization": 1e-4} | changes
    )


def trained(given: NcfJob, arrays: list[Any], **changes: Any) -> dict[str, list[Any]]:
    """(number, values) of each part that a training of one process tells."""
    from recpipe.models.neural.loop import Alone, run

    settings: dict[str, Any] = {"epochs": 12, "learning_rate": 0.02, "seed": 3}
    plan = Plan("ncf", **{**settings, **changes})
    found: dict[str, list[Any]] = {}
    for batch in run(given, plan, Shard(0, 1, arrays), Alone()):
        for part, number, values in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            found.setdefault(part, []).append((number, values))
    return found


def test_what_is_drawn_is_any_item_that_the_user_has_not_liked() -> None:
    # User 4 likes all but item 33, user 7 nothing but item 0, user 9 all.
    most = [(4, item) for item in ITEMS if item != 33]
    pairs = np.array([*most, (7, 0), *((9, item) for item in ITEMS)], np.int32)[::-1]
    likings = Likings(Arrays(paired(pairs[:, 0], pairs[:, 1]), np.ones(len(pairs))), ITEMS)
    assert likings.users.tolist() == [4, 7, 9]
    assert likings.free.tolist() == [1, len(ITEMS) - 1, 0]
    rng = np.random.default_rng(5)
    assert set(ITEMS[likings.drawn(np.zeros(50, np.int64), rng)]) == {33}
    counts = np.bincount(likings.drawn(np.ones(15_000, np.int64), rng), minlength=len(ITEMS))
    assert counts[0] == 0
    # Each with the same chance: 1000 times, give or take 32.
    assert np.abs(counts[1:] - 1000).max() < 5 * 32


def test_an_epoch_has_each_liking_once_and_draws_anew() -> None:
    given = liked(np.random.default_rng(1))
    own = job(SHAPES[0], batch_size=64)
    work = own.begin(Shard(0, 1, [given]), seed=3)
    first, again, other = (
        [batch.arrays for batch in work.batches(np.random.default_rng(seed))] for seed in (1, 1, 2)
    )
    users, items, labels, _ = (np.concatenate(column) for column in zip(*first, strict=True))
    keys = paired(work.likings.users[users], ITEMS[items])
    assert sorted(keys[labels == 1]) == sorted(given.keys)
    assert not set(keys[labels == 0]) & set(given.keys)
    assert (labels == 0).sum() == 3 * len(given.keys)
    assert all((a == b).all() for x, y in zip(first, again, strict=True) for a, b in zip(x, y))  # noqa: B905
    assert (first[0][1] != other[0][1]).any()


def test_who_likes_everything_is_no_hindrance() -> None:
    pairs = np.array([(1, item) for item in ITEMS], np.int32)
    given = Arrays(paired(pairs[:, 0], pairs[:, 1]), np.ones(len(pairs), np.float32))
    work = job(SHAPES[0], validated=True).begin(Shard(0, 1, [given, given]), seed=3)
    (batch,) = work.batches(np.random.default_rng(1))
    assert batch.arrays[2].tolist() == [1.0] * len(ITEMS)
    assert work.validation(None) == (0.0, 0.0)


@needs_torch
@pytest.mark.parametrize("shape", SHAPES)
def test_the_scorer_says_what_the_network_says(shape: NcfShape) -> None:
    import torch

    from recpipe.models.neural.ncf_network import Ncf

    torch.manual_seed(3)
    network = Ncf(7, len(ITEMS), shape).eval()
    with torch.no_grad():
        # Far from where it begins, so that no part is too small to be seen.
        for parameter in network.parameters():
            parameter.normal_()
        users, items = np.divmod(np.arange(7 * len(ITEMS)), len(ITEMS))
        due = network(torch.from_numpy(users), torch.from_numpy(items)).numpy()
    layers = Layers.of([each.ravel() for each in network.layer_rows()])
    found = network_scores(network.user_rows(), network.item_rows(), layers).ravel()
    np.testing.assert_allclose(found, due, rtol=1e-5, atol=1e-5 * np.abs(due).max())


@needs_torch
@pytest.mark.parametrize("shape", SHAPES)
def test_a_network_learns_the_tastes(shape: NcfShape) -> None:
    given = liked(np.random.default_rng(1))
    found = trained(job(shape), [given], epochs=40)
    losses = [values[0] for _, values in sorted(found[CURVE])]
    assert losses[-1] < 0.75 * losses[0]
    users, items = (
        np.array([v for _, v in sorted(found[p])], np.float32) for p in ("user", "item")
    )
    scores = network_scores(
        users, items, Layers.of([np.array(v, np.float32) for _, v in sorted(found["layer"])])
    )
    taste = (np.arange(len(ITEMS))[None] + np.arange(30)[:, None]) % 2 == 0
    assert scores[taste].mean() > scores[~taste].mean() + 1


@needs_torch
def test_one_seed_makes_the_same_bits_whatever_the_order_of_the_likings() -> None:
    given = liked(np.random.default_rng(1))
    turned = Arrays(given.keys[::-1].copy(), given.values)
    own = job(NcfShape(5, 4, (6, 3), 0.2), pretrain=1)
    once, again = (trained(own, [arrays], epochs=2) for arrays in (given, turned))
    assert once == again
    assert trained(own, [given], epochs=2, seed=4)["item"] != once["item"]


@needs_torch
def test_the_parameters_of_the_epoch_that_ranks_validation_best_are_kept() -> None:
    given = liked(np.random.default_rng(1))
    own = job(SHAPES[0], validated=True)
    found = trained(own, [given, held_out(given)], epochs=40, patience=3)
    curve = [values for _, values in sorted(found[CURVE])]
    ((best, _),) = found[KEPT]
    lost = [validation for _, validation in curve]
    assert lost.index(min(lost)) == best - 1
    assert len(curve) == best + 3
    # Exactly so many epochs, and no validation, make the same.
    again = trained(job(SHAPES[0]), [given], epochs=best)
    assert again["item"] == found["item"]


@needs_torch
def test_pretrained_parts_score_as_the_mean_of_both() -> None:
    import torch

    from recpipe.models.neural.ncf_network import Ncf

    torch.manual_seed(1)
    product, perceptron = Ncf(4, 5, NcfShape(3)), Ncf(4, 5, NcfShape(0, 2, (4, 3)))
    both = Ncf.of_parts(product, perceptron, 0.0)
    users, items = torch.arange(4), torch.arange(1, 5)
    with torch.no_grad():
        due = (product(users, items) + perceptron(users, items)) / 2
        assert torch.allclose(both(users, items), due, atol=1e-6)


@needs_torch
def test_a_loss_that_is_not_finite_leaves_no_parameters() -> None:
    given = liked(np.random.default_rng(1))
    found = trained(job(SHAPES[0]), [given], learning_rate=1e30)
    assert set(found) == {CURVE}
    assert not np.isfinite(found[CURVE][-1][1][0])
