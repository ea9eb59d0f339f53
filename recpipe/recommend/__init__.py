"""The lists of all users: the model's own, filled up where they are short."""

from recpipe.recommend.lists import fill_up, recommend_all, short_lists
from recpipe.recommend.output import to_output

__all__ = ["fill_up", "recommend_all", "short_lists", "to_output"]
