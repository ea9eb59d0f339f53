"""Compiles all kernels, for those who would rather wait now than at their first run."""

from __future__ import annotations

import importlib
import multiprocessing
import pkgutil

from recpipe import kernels


def main() -> None:
    """Import every module of kernels, as many at a time as there are cores."""
    names = [
        f"{kernels.__name__}.{module.name}" for module in pkgutil.iter_modules(kernels.__path__)
    ]
    # Of those here the one that is running need not be imported.
    wanted = [name for name in names if not name.endswith("__main__")]
    with multiprocessing.Pool() as pool:
        pool.map(_compile, wanted, chunksize=1)


def _compile(name: str) -> None:
    importlib.import_module(name)


if __name__ == "__main__":
    main()
