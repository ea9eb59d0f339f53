"""A search for the settings of a model: trials, what to try next, and the page about them.

Nothing is imported here: `recpipe tune` says that Optuna is missing before anything needs it.
"""
