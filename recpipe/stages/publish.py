"""Check the lists, export them, and replace one pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recpipe import publish as publishing
from recpipe.contracts import EXPLANATIONS, SIMILAR_ITEMS
from recpipe.errors import UsageError
from recpipe.stages.context import Context, folds_of, ratings_of, seen_otherwise, stage
from recpipe.stages.rules import written_rules
from recpipe.storage.runs import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from recpipe.contracts import Table
    from recpipe.storage import Run


def publish(context: Context, run: Run) -> None:
    """Check the lists, export them under a new folder, and replace one pointer."""
    if "recommended" not in run.manifest:
        raise UsageError(f"run {run.id} has no lists", hint="run `recpipe recommend` first")
    with stage(context, run, "publish"):
        lists = (run.folder / "recommendations").read_table(run.manifest["recommended"])
        run.record(gates=[])
        for gate in publishing.gates(
            lists,
            ratings=ratings_of(context, run).frame,
            n=context.settings.recommend.n,
            unrated=seen_otherwise(context, run),
            rules=written_rules(run),
            no_leak=lambda: _no_leak(context, run),
        ):
            run.record(gates=[*run.manifest["gates"], gate.as_dict()])
            gate.raise_if_refused()
        export = publishing.export(
            lists, root=context.root, run_id=run.id, files=context.settings.publish.files
        )
        beside = {
            contract.name: publishing.export(
                (run.folder / contract.name).read_table(run.manifest["recommended"]),
                root=context.root,
                run_id=run.id,
                contract=contract,
            )
            for contract in _beside(run)
        }
        run.record(output=export.as_dict() | _tables(beside))
        publishing.point_to(
            export,
            root=context.root,
            keep=context.settings.publish.keep_versions,
            beside=beside,
        )
    run.record(status=FINISHED)


def _beside(run: Run) -> Iterator[Table]:
    """The tables that the run has made beside its lists, and that have a row."""
    for contract in (SIMILAR_ITEMS, EXPLANATIONS):
        if run.manifest.get(contract.name, {}).get("rows"):
            yield contract


def _tables(beside: Mapping[str, publishing.Export]) -> dict[str, Any]:
    """What the manifest says of the tables beside the lists; nothing where there is none."""
    told = {name: table.as_dict() for name, table in beside.items()}
    for each in told.values():
        # Who has a row in them is no user.
        del each["users"]
    return {"tables": told} if told else {}


def _no_leak(context: Context, run: Run) -> str:
    """What was looked at; a leak is raised."""
    folds = folds_of(context, run, check=True)
    what = "the split" if len(folds) == 1 else f"all {len(folds)} folds of the split"
    return f"read {what} back from the run and found no leak"
