"""Models of neighbourhoods: an item is scored by the items or the users that are most alike."""
