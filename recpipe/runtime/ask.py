"""Answers for scripts: `python -m recpipe.runtime.ask --java` prints where Java is.

Needs the standard library only and starts no Spark, so that set-up can ask before anything else
works.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from recpipe.errors import MissingError
from recpipe.runtime.jars import delta_jars
from recpipe.runtime.java import find_java, java_remedy
from recpipe.runtime.spark_home import spark_home

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ANSWERS: Mapping[str, Callable[[], str]] = {
    "--java": lambda: str(find_java()),
    "--java-remedy": java_remedy,
    "--spark": lambda: str(spark_home()),
    "--delta-jars": lambda: ",".join(str(jar) for jar in delta_jars()),
    "--ready": lambda: f"{find_java()} {delta_jars()[0].parent}",
}


def main(question: str) -> int:
    """Print one answer for a script: `python -m recpipe.runtime.ask --java`."""
    try:
        answer = _ANSWERS[question]()
    except MissingError as error:
        sys.stderr.write(f"recpipe: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{answer}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
