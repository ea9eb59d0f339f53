"""What a run comes to, in a few sentences: the first thing that a reader sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from recpipe.evaluation.metrics import METRICS, label_of
from recpipe.report.numbers import NONE, decimal, percent, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recpipe.report.differences import Differences
    from recpipe.report.scores import Scores

_POPULARITY = "popularity"


@dataclass(frozen=True)
class Verdict:
    """The head of the page.

    Args:
        tone: good: published, nothing to remark; warned: published, read the warnings; bad:
            refused or failed; open: not at its end.
        headline: one sentence.
        sentences: what it rests on.
        warnings: what to know before trusting it.
        checks: what the checks before publishing said.
    """

    tone: Literal["good", "warned", "bad", "open"]
    headline: str
    sentences: Sequence[str]
    warnings: Sequence[str] = ()
    checks: Sequence[str] = ()


def verdict(manifest: Mapping[str, Any], scores: Scores, pairs: Differences) -> Verdict:
    """The verdict on a run, as far as it came."""
    status = manifest.get("status")
    warnings = list(_warnings(manifest))
    tone: Literal["good", "warned", "bad", "open"]
    if status in {"refused", "failed"}:
        tone, headline = "bad", _ended_early(manifest)
    elif status == "finished":
        tone, headline = "warned" if warnings else "good", _published(manifest)
    else:
        tone, headline = "open", f"Not finished: {manifest.get('stage') or 'nothing'} came last."
    grounds = list(_grounds(manifest, scores, pairs))
    return Verdict(tone, headline, grounds, warnings, list(_checks(manifest)))


def _ended_early(manifest: Mapping[str, Any]) -> str:
    refused = manifest.get("status") == "refused"
    why = str(manifest.get("error") or "no reason was recorded")
    stage = manifest.get("stage")
    where = f" in {stage}" if stage else ""
    nothing = "" if manifest.get("output") else " Nothing was published."
    return f"{'Refused' if refused else 'Failed'}{where}: {why.rstrip('.')}.{nothing}"


def _published(manifest: Mapping[str, Any]) -> str:
    chosen = manifest.get("chosen") or {}
    source = manifest.get("recommended") or chosen.get("model") or "an unnamed model"
    output = manifest.get("output") or {}
    if not output.get("users"):
        return f"Published: the lists of {source}."
    return f"Published: the lists of {source} for {whole(output['users'])} users."


def _grounds(manifest: Mapping[str, Any], scores: Scores, pairs: Differences) -> Iterator[str]:
    chosen = manifest.get("chosen") or {}
    model, metric = chosen.get("model"), chosen.get("metric")
    if not (model and metric):
        return
    if chosen.get("verdict"):
        yield f"On validation, {chosen['verdict']}."
    on_test = scores.value(model, metric, "test")
    if on_test is not None:
        users = scores.users("test", ranking="@" in metric)
        ends = scores.interval(model, metric, "test")
        surely = f"{decimal(ends[0])} to {decimal(ends[1])}; " if ends else ""
        yield (
            f"On test, which no choice has seen, {model} reaches {label_of(metric)}"
            f" {decimal(on_test)} ({surely}{whole(users)} users)."
        )
        yield from _against_popularity(model, metric, scores, pairs)


def _against_popularity(
    model: str, metric: str, scores: Scores, pairs: Differences
) -> Iterator[str]:
    """On test, whether the model is better than the lists that everybody could get."""
    mine, theirs = (scores.value(m, metric, "test") for m in (model, _POPULARITY))
    if model == _POPULARITY or mine is None or theirs is None or _lower_is_better(metric):
        return
    difference = pairs.of(model, _POPULARITY, "test")
    if difference is not None:
        yield f"Popularity reaches {decimal(theirs)} there: {difference}."
        return
    share = percent(mine - theirs, theirs)
    part = "" if share == NONE else f", {share}"
    side = "more" if mine >= theirs else "less"
    yield (
        f"That is {decimal(abs(mine - theirs))} {side} than popularity on test"
        f" ({decimal(theirs)}{part})."
    )


def _lower_is_better(criterion: object) -> bool:
    metric = METRICS.get(str(criterion).partition("@")[0])
    return metric is not None and not metric.higher_is_better


def _warnings(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield from (manifest.get("chosen") or {}).get("warnings") or ()
    for entry in manifest.get("fallbacks") or ():
        yield (
            f"{entry.get('failed')} could not be fitted and {entry.get('used')} took its place:"
            f" {entry.get('error')}"
        )
    for entry in manifest.get("failed") or ():
        yield f"{entry.get('model')} could not be fitted: {entry.get('error')}"
    for gate in manifest.get("gates") or ():
        if gate.get("verdict") == "refused":
            yield f"the gate '{gate.get('gate')}' refused: {gate.get('detail')}"


def _checks(manifest: Mapping[str, Any]) -> Iterator[str]:
    for gate in manifest.get("gates") or ():
        if gate.get("verdict") == "passed":
            yield f"Check passed, {gate.get('gate')}: {gate.get('detail')}"
