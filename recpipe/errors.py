"""One tree of errors: each says what happened, where, and what to do next.

The exit code of a command is the `exit_code` of the error that ended it (docs/contracts.md).
"""

from __future__ import annotations

from typing import ClassVar


class RecpipeError(Exception):
    """A failure that recpipe foresaw.

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
    """The parts of a split know something of each other that they must not."""


class ContractError(CheckError):
    """A table does not hold what its contract promises."""


class MissingError(RecpipeError):
    """The environment lacks something: Java, jars, memory under a guard, a reachable download."""

    exit_code = 5


class LeaseError(RecpipeError):
    """Another run holds the lease on this root."""

    exit_code = 6


class FitError(RecpipeError):
    """A model could not be fitted; `train.fallback_for` decides whether the run goes on."""
