"""Factors of users and items that are sums of the embeddings of their features."""
