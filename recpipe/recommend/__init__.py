"""The lists of all users: the model's own, filled up where they are short."""

from recpipe.recommend.lists import fill_up, recommend_all, short_lists
from recpipe.recommend.output import to_explanations, to_output, to_similar
from recpipe.recommend.rules import AppliedRules, Catalogue, apply_rules, refuse_impossible

__all__ = [
    "AppliedRules", "Catalogue", "apply_rules", "fill_up", "recommend_all", "refuse_impossible",
    "short_lists", "to_explanations", "to_output", "to_similar",
]  # fmt: skip
