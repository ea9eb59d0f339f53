"""One tree of errors: each says what happened, where, and what to do next.

The exit code of a command is the `exit_code` of the error that ended it (docs/contracts.md).
"""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEAR, _AS_NEAR = 0.6, 0.1
"""How alike a known name must be (1: the same), and how much less than the one most alike."""
_SHORTEST_PART = 3
_MAX_OFFERED = 3


def did_you_mean(given: str, known: Iterable[str], *, prefix: str = "") -> str:
    """`did you mean rank?` where known names are near to the one that was given; else nothing.

    Args:
        given: a name that is not known.
        known: the names that are.
        prefix: put before each name that is offered.
    """
    word = given.lower()
    alike = {name: SequenceMatcher(None, word, name.lower()).ratio() for name in known}
    least = max(_NEAR, max(alike.values(), default=0.0) - _AS_NEAR)
    near = [name for name in sorted(alike, key=lambda name: -alike[name]) if alike[name] >= least]
    if not near and len(word) >= _SHORTEST_PART:
        near = [name for name in alike if word in name.lower()]
    offered = [f"{prefix}{name}" for name in near[:_MAX_OFFERED]]
    if not offered:
        return ""
    *others, last = offered
    return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"


class RecpipeError(Exception):
    """A failure whose message says what happened and what to do, so that no traceback is shown.

    It ends a command with exit code 1 where no class below it says another. Any other exception is
    a fault in recpipe and ends it with 1, too.

    Args:
        message: what happened and where, in one line.
        hint: what to do about it, in one line.
        details: further lines for standard error, such as the first refused rows.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (Python workers to the driver), keyword arguments included.
        return (_rebuild, (type(self), self.message, self.hint, self.details))


def _rebuild(
    kind: type[RecpipeError], message: str, hint: str, details: tuple[str, ...]
) -> RecpipeError:
    return kind(message, hint=hint, details=details)


class UsageError(RecpipeError):
    """Wrong usage or settings, nothing to work on, an unknown user, a finished run."""

    exit_code = 2


class InputError(RecpipeError):
    """The input cannot be used; nothing under the root has changed."""

    exit_code = 3


class CheckError(RecpipeError):
    """A check refused: a leak, a broken contract, a gate. Nothing was published."""

    exit_code = 4


class LeakError(CheckError):
    """A part of a split holds something that would leak from what is evaluated into train."""


class ContractError(CheckError):
    """A table does not hold what its contract promises."""


class MissingError(RecpipeError):
    """The environment lacks something: Java, jars, memory under a guard, a reachable download."""

    exit_code = 5


class LeaseError(RecpipeError):
    """Another run holds the lease on this root. Nothing raises it yet (docs/contracts.md)."""

    exit_code = 6


class FitError(RecpipeError):
    """A model could not be fitted, or no trial of a search has a value.

    A run goes on without the model unless it needs it or `train.on_failure` is `stop`; then, and
    where a search ends with it, the exit code is 1.
    """


class GivenUpError(FitError):
    """A fit that was ended early because its RMSE was above `TrainingData.give_up_above`.

    Args:
        message: what happened and where, in one line.
        curve: the RMSE on validation after each epoch.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        details: tuple[str, ...] = (),
        curve: tuple[float, ...] = (),
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.curve = curve


def nothing_to_fit(model: str) -> FitError:
    """The error for a train part without any rating that the model can be fitted to."""
    return FitError(
        f"{model}: no rating to fit",
        hint="look at the train part of the split, and at preference_from where the model has it",
    )
