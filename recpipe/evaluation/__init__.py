"""How good models are: rating and ranking metrics, and the choice that rests on them."""

from recpipe.evaluation.choice import Choice, choose
from recpipe.evaluation.confidence import Difference, differences, with_intervals
from recpipe.evaluation.facts import item_facts
from recpipe.evaluation.ranking import evaluated_users, ranking_metrics, relevant_pairs
from recpipe.evaluation.rating import rating_metrics
from recpipe.evaluation.rows import DEFINITIONS, MetricRow, document
from recpipe.evaluation.subgroups import SubgroupRow, Subgroups, groups_of_items, groups_of_users

__all__ = [
    "DEFINITIONS",
    "Choice",
    "Difference",
    "MetricRow",
    "SubgroupRow",
    "Subgroups",
    "choose",
    "differences",
    "document",
    "evaluated_users",
    "groups_of_items",
    "groups_of_users",
    "item_facts",
    "ranking_metrics",
    "rating_metrics",
    "relevant_pairs",
    "with_intervals",
]
