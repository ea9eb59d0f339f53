"""What a search is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recpipe.errors import MissingError, UsageError
from recpipe.models.registry import SPECS, spec_of

if TYPE_CHECKING:
    from recpipe.models.search import SearchSpace


@dataclass(frozen=True)
class Request:
    """What a search is asked for.

    Args:
        model: whose settings are searched.
        trials: how many are made, in addition to those that are there; None: as many as the time
            allows.
        seconds: after which no trial begins; None: no matter how long it takes.
        parallel: trials at a time, in threads of one session.
        restart: whether an earlier search of the model is removed first.
    """

    model: str
    trials: int | None = 30
    seconds: float | None = None
    parallel: int = 1
    restart: bool = False

    @property
    def space(self) -> SearchSpace:
        """What is searched.

        Raises:
            UsageError: if there is no such model, or it has nothing to search.
        """
        spec = spec_of(self.model)
        if spec.search is None:
            tuned = ", ".join(name for name, each in SPECS.items() if each.search is not None)
            what = "a baseline" if spec.baseline or not spec.selectable else "a model"
            raise UsageError(
                f"tune: {self.model} is {what} with no settings to search",
                hint=f"these have some: {tuned}",
            )
        return spec.search


def require_optuna() -> None:
    """Raise MissingError where Optuna is not installed: it is not needed for anything else."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingError(
            "tune: Optuna is not installed",
            hint='install it by pip install "recpipe[tune]"; for a driver on a cluster, by'
            " recpipe pack --extra tune",
        ) from error


__all__ = ["Request", "require_optuna"]
