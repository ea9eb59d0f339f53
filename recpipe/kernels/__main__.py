"""Compiles all kernels, for those who would rather wait now than at their first run."""

from __future__ import annotations

import importlib
import multiprocessing
import pkgutil

from recpipe import kernels


def main() -> None:
    """Import every module of kernels, as many at a time as there are cores."""
    names = [
        f"{kernels.__name__}.{module.name}"
        for module in pkgutil.iter_modules(kernels.__path__)
        if module.name != "__main__"
    ]
    with multiprocessing.Pool() as pool:
        pool.map(_compile, names, chunksize=1)


def _compile(name: str) -> None:
    # A module cannot be sent back to the pool's owner.
    importlib.import_module(name)


if __name__ == "__main__":
    main()
