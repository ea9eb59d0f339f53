"""A barrier stage whose tasks talk to each other while they compute."""

from recpipe.distributed.stage import admitted, obstacle, slots
from recpipe.distributed.transport import Keys, PeerLostError, Ring

__all__ = ["Keys", "PeerLostError", "Ring", "admitted", "obstacle", "slots"]
