from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from recpipe import errors

CONTRACTS = Path(__file__).parents[2] / "docs" / "contracts.md"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.RecpipeError, 1),
        (errors.FitError, 1),
        (errors.UsageError, 2),
        (errors.InputError, 3),
        (errors.CheckError, 4),
        (errors.LeakError, 4),
        (errors.ContractError, 4),
        (errors.MissingError, 5),
        (errors.LeaseError, 6),
    ],
)
def test_each_error_carries_an_exit_code_that_the_contract_lists(
    kind: type[errors.RecpipeError], code: int
) -> None:
    assert kind("x").exit_code == code
    listed = re.findall(r"^\| (\d+)(?:, (\d+))? \|", CONTRACTS.read_text(), flags=re.MULTILINE)
    assert str(code) in {number for row in listed for number in row}


def test_an_error_reads_as_what_where_and_what_to_do_also_after_a_process_border() -> None:
    error = errors.InputError("a.csv: no rows", hint="give a file with ratings", details=("one",))
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    for e in (error, copy):
        assert str(e) == "a.csv: no rows (give a file with ratings)"
        assert e.details == ("one",)
        assert isinstance(e, errors.InputError)
