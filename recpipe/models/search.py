"""Which values of a model's settings a search may try."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar

from pydantic import ValidationError

from recpipe.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe.sections import Section

Value = str | int | float | bool
"""Of a setting that can be searched."""


N = TypeVar("N", int, float)


@dataclass(frozen=True)
class _Numbers(Generic[N]):
    """The numbers from `low` to `high`.

    Args:
        low: the lowest.
        high: the highest.
        log: whether each power of ten is as likely as the next: for settings of which a factor
            matters, not a step.
    """

    low: N
    high: N
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"a range must ascend, and by powers lie above 0: {self.low} to {self.high}"
            )

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values that are valid only if all are."""
        return self.low, self.high

    def __contains__(self, value: object) -> bool:
        return _is_number(value) and self.low <= value <= self.high


@dataclass(frozen=True)
class FloatRange(_Numbers[float]):
    """The numbers from `low` to `high`; see `_Numbers`."""

    def plain(self, value: float) -> float:
        """The number of three digits next to a value: what people can read and give again."""
        return min(max(float(f"{value:.3g}"), self.low), self.high)


@dataclass(frozen=True)
class IntRange(_Numbers[int]):
    """The whole numbers from `low` to `high`; see `_Numbers`."""

    def __contains__(self, value: object) -> bool:
        return super().__contains__(value) and _is_number(value) and value == int(value)

    def plain(self, value: float) -> int:
        """The value."""
        return int(value)


@dataclass(frozen=True)
class Choices:
    """A few values, none of which is nearer to one than to another."""

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if len(set(self.values)) != len(self.values) or not self.values[1:]:
            raise ValueError(f"choices must be at least two, each once, not {self.values}")

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values that are valid only if all are."""
        return self.values

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def plain(self, value: Value) -> Value:
        """The value."""
        return value


Range = FloatRange | IntRange | Choices


@dataclass(frozen=True)
class SearchSpace:
    """What `recpipe tune` may change of a model's own section.

    What costs time and brings no quality from some point on, such as a number of epochs that early
    stopping finds, has no place here.

    Args:
        ranges: by setting.
    """

    ranges: Mapping[str, Range]

    def check(self, name: str, section: type[Section] | None) -> None:
        """Raise ValueError unless the ranges are of settings of a section, and valid for them.

        Args:
            name: of the section.
            section: its type; None where the model has no section of its own.
        """
        if section is None or not self.ranges:
            raise ValueError(f"{name}: a search space with no setting to search")
        for setting, of_setting in self.ranges.items():
            if setting not in section.model_fields:
                near = did_you_mean(setting, section.model_fields)
                raise ValueError(
                    f"{name}: its search space names {setting!r}, which is no setting of [{name}]"
                    + (f"; {near}" if near else "")
                )
            for value in of_setting.ends:
                try:
                    section.model_validate({setting: value})
                except ValidationError as error:
                    why = error.errors()[0]["msg"]
                    raise ValueError(
                        f"{name}: its search space has {setting} = {value!r}, which is refused:"
                        f" {why}"
                    ) from error

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Each setting with the arguments of its range."""
        return {
            name: {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(each).items()}
            for name, each in self.ranges.items()
        }


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


__all__ = ["Choices", "FloatRange", "IntRange", "Range", "SearchSpace", "Value"]
