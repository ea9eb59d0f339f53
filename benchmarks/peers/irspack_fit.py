"""Sweeps of irspack's iALS from given factors: the file of ratings and first factors, then one
question a line (solver, loss, sweeps, alpha0, reg, nu), answered by the name of a file of factors.

irspack solves users from items first, and ours the other way round, so it is given the transpose.
"""

import json
import sys
from pathlib import Path

import numpy as np
import scipy.sparse
from irspack.recommenders._ials_core import LossType, SolverType
from irspack.recommenders.ials import IALSTrainer

work = Path(sys.argv[1])
data = np.load(work / "start.npz")
users, items = data["users"], data["items"]
likings = np.ones(len(data["user"]), np.float32)
shape = len(items), len(users)
ratings = scipy.sparse.csr_matrix((likings, (data["item"], data["user"])), shape)
for line in sys.stdin:
    solver, loss, sweeps, alpha0, reg, nu, block = line.split()
    trainer = IALSTrainer(
        ratings, users.shape[1], float(alpha0), float(reg), float(nu), 0.1,
        getattr(SolverType, solver), 3, int(block), getattr(LossType, loss), 1, 2, 3, 1,
    )  # fmt: skip
    trainer.core_trainer.user, trainer.core_trainer.item = items, users
    for _ in range(int(sweeps)):
        trainer.run_epoch()
    np.savez(work / "theirs.npz", users=trainer.core_trainer.item, items=trainer.core_trainer.user)
    print(json.dumps("theirs.npz"), flush=True)
