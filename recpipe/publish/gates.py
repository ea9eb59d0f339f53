"""What must hold before a table is published, one gate after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from recpipe.errors import CheckError
from recpipe.publish.contract import check_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark.sql import DataFrame

    from recpipe.publish.contract import OutputRules


@dataclass(frozen=True)
class GateVerdict:
    """The verdict of one gate.

    Args:
        gate: its name.
        verdict: what it says.
        detail: what it saw, or why it refuses.
        error: what `hold` raises; None if passed.
    """

    gate: str
    verdict: Literal["passed", "refused"]
    detail: str
    error: CheckError | None = None

    def as_dict(self) -> dict[str, str]:
        """The entry in the manifest's `gates`."""
        return {"gate": self.gate, "verdict": self.verdict, "detail": self.detail}

    def raise_if_refused(self) -> None:
        """Raise the refusal, if it is one.

        Raises:
            CheckError: what the gate refused for.
        """
        if self.error is not None:
            raise self.error


def gates(
    recommendations: DataFrame,
    *,
    ratings: DataFrame,
    n: int,
    unrated: DataFrame | None,
    rules: OutputRules | None = None,
    no_leak: Callable[[], str],
) -> Iterator[GateVerdict]:
    """The verdict of every gate in turn; one that refuses is the last.

    Each verdict is yielded before the next gate runs, so that the manifest has it whatever comes.

    Args:
        recommendations: contracts.RECOMMENDATIONS, the lists to publish.
        ratings: (user_id, item_id, ...): every rating that the run knows.
        n: how many items each user gets.
        unrated: (user_id, item_id, ...): what was seen otherwise; None for nothing.
        rules: that the lists were made by; None for none.
        no_leak: raises LeakError if the metrics behind the choice rest on a leaking split; else
            says what it looked at.
    """

    def output_contract() -> str:
        counts = check_output(recommendations, ratings=ratings, n=n, unrated=unrated, rules=rules)
        return f"{counts.rows} rows of {counts.users} users, {counts.items} items to choose from"

    tests: dict[str, Callable[[], str]] = {
        "no leak": no_leak,
        "output contract": output_contract,
    }
    for name, test in tests.items():
        try:
            detail = test()
        except CheckError as error:
            yield GateVerdict(name, "refused", error.message, error)
            return
        yield GateVerdict(name, "passed", detail)
