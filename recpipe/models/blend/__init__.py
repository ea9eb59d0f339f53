"""One model of several: a weighted sum of the scores of fitted models."""
