"""The commands that take recpipe to a cluster: pack what its executors need, submit a job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from recpipe.errors import UsageError, did_you_mean


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--python-prefix",
    metavar="DIR",
    type=click.Path(path_type=Path),
    envvar="PACK_PYTHON_PREFIX",
    show_envvar=True,
    help="Where the executors' hosts have their Python, such as /usr. Default: as here.",
)
@click.option(
    "--extra",
    "extras",
    metavar="NAME",
    multiple=True,
    envvar="PACK_EXTRAS",
    show_envvar=True,
    help="With what an extra needs, such as tune or mlflow; may be given many times. Only drivers"
    " need it, so only those that run on the cluster.",
)
def pack(folder: Path | None, python_prefix: Path | None, extras: tuple[str, ...]) -> None:
    """Pack what the executors of a cluster need into FOLDER.

    That is recpipe itself and its dependencies as they are installed here. FOLDER is by default in
    the cache, where `recpipe submit` looks for it; RECPIPE_PACK names another one, also on HDFS.
    """
    from recpipe.runtime.pack import pack as write
    from recpipe.runtime.pack import pack_folder

    for file in write(folder or pack_folder(), python_prefix=python_prefix, extras=extras):
        click.echo(f"{file.stat().st_size / 1e6:8.1f} MB  {file}")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("job")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def submit(job: str, options: tuple[str, ...]) -> None:
    """Run a JOB on a cluster with Spark's spark-submit.

    A job is a stage, `pipeline` for all of them, or another command that computes by Spark, such as
    `backtest`. The OPTIONS are those of `recpipe JOB`, of `pipeline` those of `run`. Variables say
    where it runs: SPARK_MASTER, SPARK_DEPLOY_MODE (client or cluster), SPARK_CONF_FILE (Spark's
    properties), RECPIPE_PACK (what `recpipe pack` wrote) and SPARK_HOME (another Spark of the same
    version).
    """
    from recpipe.cli import jobs
    from recpipe.runtime import submit as submission

    known = jobs()
    if job not in known:
        near = did_you_mean(job, known)
        raise UsageError(
            f"submit: there is no job {job!r}" + (f"; {near}" if near else ""),
            hint=f"the jobs are {', '.join(known)}",
        )
    found = submission.from_environment(str(Path(__file__).with_name("job.py")))
    submission.require_pack(found)
    found = replace(found, name=f"recpipe {job}")
    submission.submit(found, [str(known[job].name), *options])


COMMANDS = (submit, pack)
