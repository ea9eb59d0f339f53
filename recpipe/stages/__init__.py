"""The stages: each reads tables, transforms, checks, and writes tables; nothing else connects them.

`table` lists them, `pipeline` runs them all, and each has a module of its name.
"""
