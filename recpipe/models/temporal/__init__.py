"""Models whose scores depend on the instant of the question."""
