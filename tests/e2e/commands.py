"""recpipe as people start it: processes of their own, their exit codes and their lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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


_FORKS = """
import json, os, sys
import recpipe.stages.pipeline
from recpipe.cli import main

codes = []
for number, arguments in enumerate(json.load(sys.stdin)):
    child = os.fork()
    if not child:
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{sys.argv[1]}/{number}.{name}", os.O_CREAT | os.O_WRONLY), stream)
        code = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""


def each_of(
    commands: Sequence[Sequence[str | Path]], folder: Path, *, env: Mapping[str, str]
) -> list[Ended]:
    """Run many commands to their ends, each in a process of its own.

    The processes are forks of one that has imported our code, for to import it takes far longer
    than to refuse a command.

    Args:
        commands: their arguments.
        folder: for what they say; it is there, and empty.
        env: their environment.
    """
    done = subprocess.run(
        [sys.executable, "-c", _FORKS, str(folder)],
        input=json.dumps([[*map(str, arguments)] for arguments in commands]),
        env=dict(env), capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [
        [(folder / f"{number}.{name}").read_text() for name in ("out", "err")]
        for number in range(len(commands))
    ]
    codes = json.loads(done.stdout)
    return [Ended(code, out, err) for code, (out, err) in zip(codes, said, strict=True)]


def succeed(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Ended:
    """Run a command that must end well."""
    ended = recpipe(*arguments, cwd=cwd, env=env)
    assert ended.code == 0, ended.err
    return ended


@dataclass(frozen=True)
class WarmJvm:
    """Commands as spark-submit runs them: processes of their own, with a JVM that is there already.

    The JVM stays when they end, so that the next command finds it warm and ends sooner. What a JVM
    of one's own decides (memory, Java's options, signals, how it ends) is tested with `recpipe`.

    Args:
        gateway: the variables by which a process of Python finds the JVM.
    """

    gateway: Mapping[str, str]

    def recpipe(self, *arguments: str | Path, cwd: Path | None = None) -> Ended:
        """See `recpipe`."""
        return recpipe(*arguments, cwd=cwd, env=environment(**self.gateway))

    def succeed(self, *arguments: str | Path, cwd: Path | None = None) -> Ended:
        """See `succeed`."""
        return succeed(*arguments, cwd=cwd, env=environment(**self.gateway))


@contextmanager
def warm_jvm(log: Path) -> Iterator[WarmJvm]:
    """A JVM for commands that come one after the other, with two cores.

    Args:
        log: of Spark.
    """
    from pyspark import SparkConf
    from pyspark.java_gateway import launch_gateway

    from recpipe.runtime.java import find_java
    from recpipe.spark.configuration import local_configuration
    from recpipe.spark.settings import Session

    settings = Session(master="local[2]", driver_memory="2g")
    conf = SparkConf(loadDefaults=False)
    conf.setAll(list(local_configuration(settings, delta=True, input_bytes=0).items()))
    # Over rows so few it takes longer to compile an expression than to interpret it.
    conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
    # As the session of the fast tests has it.
    os.environ["JAVA_HOME"] = str(find_java())
    with log.open("w") as stream:
        gateway: Any = launch_gateway(conf, {"stdout": stream, "stderr": stream})  # type: ignore[no-untyped-call]
        try:
            at = gateway.gateway_parameters
            yield WarmJvm(
                {
                    "PYSPARK_GATEWAY_PORT": str(at.port),
                    "PYSPARK_GATEWAY_SECRET": at.auth_token,
                    "PYSPARK_PYTHON": sys.executable,
                }
            )
        finally:
            gateway.shutdown()
            # It ends when its standard input does.
            gateway.proc.stdin.close()
            gateway.proc.wait(30)
