from __future__ import annotations

import pytest

from recpipe.errors import UsageError
from recpipe.models import registry
from recpipe.models.base import Model
from recpipe.settings import MODELS, Scale, Settings


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_built_by_its_name_and_again_from_its_sections(name: str) -> None:
    tree = {
        "als": {"blocks": 3},
        "als_explicit": {"rank": 5},
        "als_implicit": {"rank": 6, "alpha": 2.5},
        "nmf": {"rank": 7},
        "sgd": {"rank": 8, "epochs": 3},
        "biases": {"user_regularization": 1.5},
    }
    settings = Settings.model_validate(tree)
    model = registry.build(name, settings, scale=Scale(min=1, max=5, step=1))
    assert isinstance(model, Model)
    assert model.name == name
    again = registry.build(name, Settings.model_validate(model.sections()))
    assert again == model
    if model.sections():
        assert again != registry.build(name, Settings())


def test_the_scale_comes_from_the_caller_or_the_settings() -> None:
    settings = Settings.model_validate({"ingest": {"rating_scale": {"min": 0, "max": 10}}})
    by_settings = registry.build("mean", settings)
    assert by_settings == registry.build("mean", Settings(), scale=Scale(min=0, max=10))
    assert by_settings != registry.build("mean", Settings())


def test_an_unknown_model_is_a_wrong_usage() -> None:
    with pytest.raises(UsageError, match=r"no model 'svd'.*als_explicit.*random"):
        registry.build("svd", Settings())
