"""The commands that take recpipe to a cluster: pack what its executors need, submit a stage."""

from __future__ import annotations

from pathlib import Path

import click

from recpipe.errors import UsageError, did_you_mean

_JOB_OF_ALL = "pipeline"
"""What jobs/ calls the command `run`, which runs all stages."""


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
def pack(folder: Path | None, python_prefix: Path | None) -> None:
    """Pack what the executors of a cluster need into FOLDER.

    That is recpipe itself and its dependencies as they are installed here. FOLDER is by default in
    the cache, where `recpipe submit` looks for it; RECPIPE_PACK names another one, also on HDFS.
    """
    from recpipe.runtime.pack import pack as write
    from recpipe.runtime.pack import pack_folder

    for file in write(folder or pack_folder(), python_prefix=python_prefix):
        click.echo(f"{file.stat().st_size / 1e6:8.1f} MB  {file}")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("stage")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def submit(stage: str, options: tuple[str, ...]) -> None:
    """Run a STAGE, or `pipeline` for all of them, on a cluster with Spark's spark-submit.

    The OPTIONS are those of `recpipe STAGE`. Variables say where it runs: SPARK_MASTER,
    SPARK_DEPLOY_MODE (client or cluster), SPARK_CONF_FILE (Spark's properties), RECPIPE_PACK (what
    `recpipe pack` wrote) and SPARK_HOME (another Spark of the same version).
    """
    from recpipe.cli import stages, tuning
    from recpipe.runtime import submit as submission

    known = [_JOB_OF_ALL, *(str(each.name) for each in (*stages.COMMANDS, *tuning.COMMANDS))]
    if stage not in known:
        near = did_you_mean(stage, known)
        raise UsageError(
            f"submit: there is no stage {stage!r}" + (f"; {near}" if near else ""),
            hint=f"the stages are {', '.join(known)}",
        )
    found = submission.from_environment(str(Path(__file__).with_name("job.py")))
    submission.require_pack(found)
    submission.submit(found, ["run" if stage == _JOB_OF_ALL else stage, *options])


COMMANDS = (submit, pack)
