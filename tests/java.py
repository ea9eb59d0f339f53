"""The options of every JVM that tests start."""

from recpipe.session import java_options

QUICK = java_options(short_lived=True)
"""The first compiler only, as for a run on a laptop: in a JVM of a minute the second takes half of
the time. With the archive of Spark's classes, where `make setup` made it."""
