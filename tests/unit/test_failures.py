"""What Spark's errors say in one line."""

from __future__ import annotations

import pytest

from recpipe.spark.failures import hint, summary

OTHER_PYTHON = """\
[PYTHON_EXCEPTION] An exception was thrown from the worker: Traceback (most recent call last):
  File "/venv/lib/recpipe/spark/chunks.py", line 13, in <module>
    import numpy as np
ModuleNotFoundError: No module named 'numpy'
 SQLSTATE: 38000
"""
CHAIN = """\
Job aborted due to stage failure: Task 0 in stage 3.0 failed 4 times, most recent failure: Lost \
task 0.3 in stage 3.0 (TID 8) (10.0.0.2 executor 1): org.apache.spark.api.python.PythonException: \
Traceback (most recent call last):
  File "a.py", line 1, in f
KeyError: 3

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in f
    raise FitError("no rating")
recpipe.errors.FitError: no rating

\tat org.apache.spark.api.python.BasePythonRunner.read(PythonRunner.scala:665)
"""
OF_JAVA = """\
org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed, \
most recent failure: Lost task 0.0 in stage 0.0 (TID 0) (localhost executor driver): \
java.io.IOException: Cannot run program "/usr/bin/python9": error=2, No such file
\tat java.base/java.lang.ProcessBuilder.start(ProcessBuilder.java:1143)
"""


@pytest.mark.parametrize(
    ("text", "said", "advice"),
    [
        (
            OTHER_PYTHON,
            "a Python worker failed: ModuleNotFoundError: No module named 'numpy'",
            "PYSPARK_PYTHON",
        ),
        (CHAIN, "a Python worker failed: FitError: no rating", "--verbose"),
        (
            OF_JAVA,
            'java.io.IOException: Cannot run program "/usr/bin/python9": error=2, No such file',
            "PYSPARK_PYTHON",
        ),
        ("\n  one line \nat x.Y", "one line", "--verbose"),
        ("", "RuntimeError", "--verbose"),
        ("Traceback (most recent call last):\n", "Traceback (most recent call last):", "--verbose"),
    ],
)
def test_the_line_that_says_most_is_chosen(text: str, said: str, advice: str) -> None:
    error = RuntimeError(text)
    assert summary(error) == said
    assert advice in hint(error)


def test_a_line_has_an_end() -> None:
    assert len(summary(RuntimeError("x" * 10_000))) <= 500
