"""The section `publish`."""

from __future__ import annotations

from pydantic import Field

from recpipe.sections import Many, Section


class Publish(Section):
    """What other systems read."""

    model: str = "auto"
    """The model whose lists are published; auto: the best by `evaluate.metric` on validation, as
    far as the users there can tell, and a baseline only where it is shown to be better."""
    prefer: Many[str] = (
        "block_als_implicit", "ease", "als_implicit", "blend", "sgd", "block_als", "als_explicit",
        "nmf", "popularity", "biases",
    )  # fmt: skip
    """With model = auto, models in the order in which they are taken where no difference is shown:
    first those that learn likings, the faster before the slower, then those that predict ratings,
    then baselines. A model that is not named comes after them."""
    files: int = Field(0, ge=0)
    """Number of Parquet files of the published table; 0: by the number of its rows."""
    keep_versions: int = Field(3, ge=2)
    """How many published versions are kept, the current one included."""
