"""From checked lists to what other systems read: gates, export, and one pointer."""

from recpipe.publish.arrow_root import ArrowFolder, arrow_root
from recpipe.publish.contract import OutputCounts, check_output
from recpipe.publish.gates import GateVerdict, gates
from recpipe.publish.parquet import Export, OutputFile, export
from recpipe.publish.people import explanations_of, lookup, profiles, typical_users
from recpipe.publish.pointer import Published, current, point_to, published
from recpipe.publish.profile import Profile, Rated, Recommended

__all__ = [
    "ArrowFolder",
    "Export",
    "GateVerdict",
    "OutputCounts",
    "OutputFile",
    "Profile",
    "Published",
    "Rated",
    "Recommended",
    "arrow_root",
    "check_output",
    "current",
    "explanations_of",
    "export",
    "gates",
    "lookup",
    "point_to",
    "profiles",
    "published",
    "typical_users",
]
