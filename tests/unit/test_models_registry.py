from __future__ import annotations

import pytest

from recpipe.errors import UsageError
from recpipe.models import registry
from recpipe.models.base import Model
from recpipe.settings import Settings


@pytest.mark.parametrize("name", registry.SPECS)
def test_every_model_is_built_by_its_name_and_from_its_sections_alone(name: str) -> None:
    tree = {
        "als": {"blocks": 3},
        "als_explicit": {"rank": 5},
        "als_implicit": {"rank": 6, "alpha": 2.5},
        "nmf": {"rank": 7},
        "sgd": {"rank": 8, "epochs": 3},
        "biases": {"user_regularization": 1.5},
    }
    settings = dict(Settings.model_validate(tree))
    model = registry.build(name, settings)
    assert isinstance(model, Model)
    assert model.name == name
    own = registry.SPECS[name].sections
    assert registry.build(name, {key: settings[key] for key in own}) == model


def test_an_unknown_model_is_a_wrong_usage() -> None:
    with pytest.raises(UsageError, match=r"no model 'svg'.*popularity.*als_explicit"):
        registry.build("svg", {})
