"""The stages: each reads tables, transforms, checks, and writes tables. They meet nowhere else.

`table` lists them, `pipeline` runs them all, and each has a module of its name.
"""
