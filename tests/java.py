"""The options of every JVM that tests start."""

from contextlib import suppress

from recpipe.errors import MissingError
from recpipe.spark.configuration import java_options

QUICK = ""
"""The first compiler only, as for a run on a laptop: in a JVM of a minute the second takes half of
the time. With the archive of Spark's classes, where `make setup` made it."""

# Without Java, tests that need none run all the same.
with suppress(MissingError):
    QUICK = java_options(short_lived=True)
