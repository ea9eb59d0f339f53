"""The training loop, in a process: what all networks share of the code that needs PyTorch.

The gradient of a step, over the examples e of the batches of all processes, is

    g = (sum over e of the gradient of loss_e) / (number of e)

and the step is Adam's (Kingma and Ba 2015); for parameters of which a batch touches a few rows it
moves these rows alone (PyTorch's SparseAdam). A process that has no batch left takes part with
zeros until no process has one.

References:
    Diederik Kingma, Jimmy Ba. Adam: A Method for Stochastic Optimization. ICLR 2015.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from recpipe.models.neural.training import CURVE, KEPT, ROWS, Epoch
from recpipe.spark.columns import batch_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from torch import Tensor
    from torch.nn import Module, Parameter

    from recpipe.models.neural.training import Batch, Job, Phase, Plan, Shard, Work


_LARGEST = 1e6
"""The largest parameter that is taken: products of a few such numbers stay finite in float32."""


class Alone:
    """A group of one process: nothing is sent."""

    def sum(self, numbers: Tensor) -> Tensor:
        """The sum over all processes; changes `numbers`."""
        return numbers

    def rows(self, index: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers of rows (n,) and their values (n, k): those of all processes, by rank."""
        return index, values

    def share(self, numbers: Tensor) -> None:
        """Overwrite `numbers` by those of the first process."""


class Processes(Alone):
    """The processes of `torch.distributed`."""

    def sum(self, numbers: Tensor) -> Tensor:
        dist.all_reduce(numbers)
        return numbers

    def rows(self, index: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        world = dist.get_world_size()
        sizes = index.new_zeros(world)
        sizes[dist.get_rank()] = len(index)
        counts = self.sum(sizes).tolist()
        longest = max(counts)
        if not longest:
            return index, values
        # All send as many rows as the longest; the padding is cut off again below.
        padded_index = index.new_zeros(longest)
        padded_index[: len(index)] = index
        padded_values = values.new_zeros(longest, values.shape[1])
        padded_values[: len(index)] = values
        all_index = [torch.empty_like(padded_index) for _ in range(world)]
        all_values = [torch.empty_like(padded_values) for _ in range(world)]
        dist.all_gather(all_index, padded_index)
        dist.all_gather(all_values, padded_values)
        return (
            torch.cat([part[:n] for part, n in zip(all_index, counts, strict=True)]),
            torch.cat([part[:n] for part, n in zip(all_values, counts, strict=True)]),
        )

    def share(self, numbers: Tensor) -> None:
        dist.broadcast(numbers, 0)


def run(job: Job, plan: Plan, shard: Shard, group: Alone) -> Iterator[pa.RecordBatch]:
    """Train, and hand on what came of it.

    Returns:
        `ROWS`: those of the job, and by the first process the curve and the epoch that was kept;
        of a training whose loss is not finite the curve alone.
    """
    torch.set_num_threads(1)
    # Without this PyTorch warns that it does not check the indices of sparse gradients.
    torch.sparse.check_sparse_tensor_invariants.disable()
    # On GPUs some operations have no deterministic algorithm, and would be refused.
    torch.use_deterministic_algorithms(not plan.gpu)
    torch.manual_seed(_rng(plan.seed, shard.rank).integers(2**63))
    device = torch.device("cuda" if plan.gpu else "cpu")
    work = job.begin(shard, plan.seed)
    curve: list[Epoch] = []
    best = 0
    for number, phase in enumerate(work.phases()):
        fit = _Fit(phase.network.to(device), work, plan, group)
        curve, best = fit.epochs(phase, shard.rank, number)
        if not best:
            break
    if best:
        yield from work.rows(phase.network.eval())
    if shard.rank == 0:
        yield _curve_rows(curve, best)


def _rng(*key: int) -> np.random.Generator:
    """Counter-based, so that it depends on the key alone."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([n % 2**32 for n in key])))


def _curve_rows(curve: list[Epoch], best: int) -> pa.RecordBatch:
    """`ROWS` of the parts CURVE and, unless the training diverged, KEPT."""
    parts = [CURVE] * len(curve) + [KEPT] * bool(best)
    numbers = [at.epoch for at in curve] + [best] * bool(best)
    values = [[at.loss] if at.validation is None else [at.loss, at.validation] for at in curve]
    nothing: list[list[float]] = [[]]
    return batch_of(ROWS, parts, numbers, values + nothing * bool(best))


class _Parameters(NamedTuple):
    """The parameters of a network by how gradients travel: whole, by rows, or not at all."""

    dense: list[Parameter]
    sparse: list[Parameter]
    own_dense: list[Parameter]
    own_sparse: list[Parameter]

    @classmethod
    def of(cls, network: Module) -> _Parameters:
        rows = {
            id(module.weight)
            for module in network.modules()
            if isinstance(module, torch.nn.Embedding) and module.sparse
        }
        local: Any = getattr(network, "local", frozenset())
        found = cls([], [], [], [])
        for name, parameter in network.named_parameters():
            found[2 * (name in local) + (id(parameter) in rows)].append(parameter)
        return found


class _Fit:
    """The epochs of one network.

    Args:
        network: on its device.
        work: of the process.
        plan: of the training.
        group: of the processes.
    """

    def __init__(self, network: Module, work: Work, plan: Plan, group: Alone) -> None:
        self.network, self.work, self.plan, self.group = network, work, plan, group
        self.parts = _Parameters.of(network)
        for parameter in (*self.parts.dense, *self.parts.sparse):
            group.share(parameter.data)
        self.device = next(network.parameters()).device
        self.optimizers = self._optimizers()

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        plan, parts = self.plan, self.parts
        found: list[torch.optim.Optimizer] = []
        if dense := parts.dense + parts.own_dense:
            found.append(
                torch.optim.AdamW(
                    dense, lr=plan.learning_rate, betas=plan.betas, weight_decay=plan.weight_decay
                )
            )
        if sparse := parts.sparse + parts.own_sparse:
            found.append(torch.optim.SparseAdam(sparse, lr=plan.learning_rate, betas=plan.betas))
        return found

    def epochs(self, phase: Phase, rank: int, number: int) -> tuple[list[Epoch], int]:
        """Run all epochs; returns the curve and the epoch that is kept, 0 where it diverged.

        Args:
            phase: of the training.
            rank: of the process.
            number: of the phase.
        """
        curve: list[Epoch] = []
        lowest, best = math.inf, 0
        kept: dict[str, Tensor] = {}
        max_epochs = self.plan.epochs if phase.epochs is None else phase.epochs
        for epoch in range(1, max_epochs + 1):
            rng = _rng(self.plan.seed, number, epoch, rank)
            loss = self._epoch(rng)
            found = self._validation() if phase.epochs is None else None
            curve.append(Epoch(epoch, loss, found))
            if not math.isfinite(loss):
                return curve, 0
            if found is None:
                best = epoch
                continue
            if found < lowest:
                lowest, best = found, epoch
                kept = {name: each.clone() for name, each in self.network.state_dict().items()}
            elif self.plan.patience and epoch - best >= self.plan.patience:
                break
        if kept:
            self.network.load_state_dict(kept)
        return curve, best if self._is_sound() else 0

    def _is_sound(self) -> bool:
        """Whether no parameter of any process is so large that a score might overflow."""
        parameters = list(self.network.parameters())
        own = sum(bool((~(each.detach().abs() <= _LARGEST)).any()) for each in parameters)
        return not self.group.sum(torch.tensor(float(own), device=self.device)).item()

    def _epoch(self, rng: np.random.Generator) -> float:
        """One pass; returns the mean loss of all examples of all processes."""
        self.network.train()
        losses, examples = 0.0, 0.0
        batches = iter(self.work.batches(rng))
        while True:
            loss, count = self._step(next(batches, None))
            if not count:
                return losses / examples if examples else 0.0
            losses, examples = losses + loss, examples + count

    def _step(self, batch: Batch | None) -> tuple[float, float]:
        """Returns the sum of the losses and the number of the examples of all processes."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        told = torch.zeros(2, device=self.device)
        if batch is not None:
            tensors = tuple(torch.from_numpy(each).to(self.device) for each in batch.arrays)
            loss = self.work.loss(self.network, tensors)
            loss.backward()
            told[0], told[1] = loss.detach(), batch.count
        dense = self.parts.dense
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in dense]
        flat = self.group.sum(torch.cat([*(each.flatten() for each in gradients), told]))
        found, count = flat[-2:].tolist()
        if not count:
            return found, count
        at = 0
        for parameter in dense:
            size = parameter.numel()
            parameter.grad = flat[at : at + size].view_as(parameter) / count
            at += size
        for parameter in self.parts.sparse:
            parameter.grad = self._rows(parameter, count, self.group)
        for parameter in self.parts.own_sparse:
            parameter.grad = self._rows(parameter, count, _ALONE)
        for parameter in self.parts.own_dense:
            if parameter.grad is not None:
                parameter.grad /= count
        for optimizer in self.optimizers:
            optimizer.step()
        return found, count

    def _rows(self, parameter: Parameter, count: float, group: Alone) -> Tensor | None:
        """The gradient of the rows that a step touches; None where there are none."""
        index = torch.zeros(0, dtype=torch.int64, device=self.device)
        values = torch.zeros((0, parameter.shape[1]), device=self.device)
        if parameter.grad is not None:
            own = parameter.grad.coalesce()
            index, values = own.indices()[0], own.values()
        index, values = group.rows(index, values)
        if not len(index):
            return None
        return torch.sparse_coo_tensor(index[None], values / count, parameter.shape).coalesce()

    def _validation(self) -> float | None:
        """The mean over all processes; None without validation."""
        self.network.eval()
        with torch.no_grad():
            own = torch.tensor(self.work.validation(self.network), device=self.device)
        total, count = self.group.sum(own).tolist()
        return total / count if count else None


_ALONE = Alone()


__all__ = ["Alone", "Processes", "run"]
