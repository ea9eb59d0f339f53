"""The options of every JVM that tests start."""

QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=256m"
"""The first compiler only: in a JVM of a minute the second takes half of the time. With room for
all of its code, which Java would else throw away and compile again."""
