"""Recommendations by what items are: profiles of their genres, titles, years, tags and genome."""
