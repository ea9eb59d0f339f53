"""The runs under a root: one folder each, with a manifest that says how far it came."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from recpipe.errors import UsageError
from recpipe.storage.paths import absolute, local_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe.storage.folder import Folder

RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MANIFEST = "manifest.json"

RUNNING, REFUSED, FAILED, FINISHED = "running", "refused", "failed", "finished"


def check_run_id(run_id: str) -> None:
    """Raise UsageError if no run, and no backtest, can have that id."""
    if not RUN_ID.fullmatch(run_id) or run_id in {".", ".."}:
        raise UsageError(f"{run_id!r} is no run id", hint=f"it must match {RUN_ID.pattern}")


class Run:
    """One run: its folder and its manifest, replaced whole at every change.

    A run counts as finished only when its manifest says so.
    """

    def __init__(self, folder: Folder, run_id: str, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.id = run_id
        self.manifest = manifest

    @property
    def finished(self) -> bool:
        return bool(self.manifest.get("status") == FINISHED)

    def record(self, **sections: Any) -> None:
        """Replace sections of the manifest and write it."""
        changed = {**self.manifest, **sections}
        self.folder.write_json(_MANIFEST, changed)
        self.manifest = changed

    def forget(self, *sections: str) -> None:
        """Take sections out of the manifest, where they are in it, and write it."""
        self.manifest = {k: v for k, v in self.manifest.items() if k not in sections}
        self.record()

    def add(self, section: str, entries: Mapping[str, Any]) -> None:
        """Add entries to a section of the manifest that is an object, and write it."""
        self.record(**{section: {**self.manifest.get(section, {}), **entries}})


class Runs:
    """Finds and starts runs below a root."""

    def __init__(self, root: Folder) -> None:
        self.root = root
        self.folder = root / "runs"

    def start(self, run_id: str, manifest: Mapping[str, Any]) -> Run:
        """A new run, or an unfinished one started over: what it had is removed.

        Raises:
            UsageError: if the id is malformed or the run is finished.
        """
        self.refuse_finished(run_id)
        folder = self._folder(run_id)
        folder.delete()
        run = Run(folder, run_id, {"run_id": run_id, **manifest})
        run.record(status=RUNNING, started_at=datetime.now(UTC).isoformat(timespec="microseconds"))
        return run

    def refuse_finished(self, run_id: str) -> None:
        """Raise UsageError if no run of that id may start: malformed, or finished."""
        check_run_id(run_id)
        if self._exists(run_id) and self._load(run_id).finished:
            raise UsageError(f"run {run_id} is finished", hint="give another --run-id")

    def newest(self, run_id: str | None) -> Run:
        """The run of that id, or the newest, finished or not.

        Raises:
            UsageError: if there is none.
        """
        if run_id is not None:
            return self.get(run_id)
        runs = self.all()
        if not runs:
            raise UsageError(f"{self.folder.uri}: no run", hint="start one with `recpipe run`")
        return runs[-1]

    def unfinished(self, run_id: str | None) -> Run:
        """The run of that id, or the newest unfinished one.

        Raises:
            UsageError: if there is none, or it is finished.
        """
        if run_id is not None:
            run = self.get(run_id)
            if run.finished:
                raise UsageError(f"run {run_id} is finished", hint="start another with `split`")
            return run
        runs = [run for run in self.all() if not run.finished]
        if not runs:
            raise UsageError(
                f"{self.folder.uri}: no unfinished run", hint="start one with `recpipe split`"
            )
        return runs[-1]

    def get(self, run_id: str) -> Run:
        """The run of that id, finished or not.

        Raises:
            UsageError: if there is none.
        """
        if not RUN_ID.fullmatch(run_id) or not self._exists(run_id):
            known = ", ".join(run.id for run in self.all()[-5:]) or "none"
            raise UsageError(f"{self.folder.uri}: no run {run_id!r}", hint=f"newest runs: {known}")
        return self._load(run_id)

    def all(self) -> list[Run]:
        """Every run that has a manifest, oldest first."""
        names = [name for name in self.folder.list() if RUN_ID.fullmatch(name)]
        runs = [self._load(name) for name in names if self._exists(name)]
        return sorted(runs, key=lambda run: _age(run.manifest, run.id))

    def _folder(self, run_id: str) -> Folder:
        folder = self.folder / run_id
        folder.tag = run_id
        return folder

    def _exists(self, run_id: str) -> bool:
        return (self.folder / run_id).exists(_MANIFEST)

    def _load(self, run_id: str) -> Run:
        folder = self._folder(run_id)
        return Run(folder, run_id, folder.read_json(_MANIFEST))


def local_settings(root: str, run_id: str | None) -> dict[str, Any] | None:
    """The settings of the run that a later stage goes on with, known before there is a session.

    None where the root is not local or there is no such run: `Runs.unfinished` says which.

    Args:
        root: the folder given by `--root`.
        run_id: of the run; None for the newest unfinished one.
    """
    folder = local_path(absolute(root))
    if folder is None or (run_id is not None and not RUN_ID.fullmatch(run_id)):
        return None
    found = []
    for place in (folder / "runs").glob(f"{run_id or '*'}/{_MANIFEST}"):
        try:
            manifest = json.loads(place.read_text(encoding="utf-8"))
            if run_id is not None or manifest.get("status") != FINISHED:
                found.append((_age(manifest, place.parent.name), manifest["settings"]))
        except (OSError, ValueError, KeyError, AttributeError):
            return None
    return max(found, key=lambda run: run[0])[1] if found else None


def _age(manifest: Mapping[str, Any], run_id: str) -> tuple[str, str]:
    return str(manifest.get("started_at", "")), run_id
