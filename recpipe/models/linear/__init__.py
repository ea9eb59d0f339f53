"""Linear models over items: a user's scores are weighted sums of what the user has taken up."""
