"""recpipe as people start it: processes of their own, their exit codes and their lines."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MODEL = ("--set", 'train.models=["als_explicit"]', "--set", "publish.model=als_explicit",
         "--set", "als.blocks=2", "--set", "als_explicit.rank=4",
         "--set", "als_explicit.iterations=3")  # fmt: skip
"""One fit of seconds whose blocks are fixed, so that two runs are alike."""
TIMEOUT_SECONDS = 500


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The line of the error, which is the one that begins with our name."""
        lines = [line for line in self.err.splitlines() if line.startswith("recpipe: ")]
        assert len(lines) == 1, self.err
        return lines[0]


def environment(**changes: str) -> dict[str, str]:
    """This process's, without what would change settings, and with changes."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RECPIPE__", "RECPIPE_ROOT"))}
    return {**kept, "PYTHONUNBUFFERED": "1", **changes}


def recpipe(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Ended:
    """Run a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "recpipe", *map(str, arguments)],
        cwd=cwd, env=dict(env or environment()), capture_output=True, text=True,
        timeout=TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def succeed(*arguments: str | Path, cwd: Path | None = None) -> Ended:
    """Run a command that must end well."""
    ended = recpipe(*arguments, cwd=cwd)
    assert ended.code == 0, ended.err
    return ended
