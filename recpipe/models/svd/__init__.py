"""Truncated singular value decomposition of the matrix of users and items."""
