from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from recpipe.errors import UsageError
from recpipe.models.als.settings import Als
from recpipe.settings import Settings, as_toml, load

ROOT = Path(__file__).parents[2]


def test_later_sources_win_over_earlier_ones(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[sgd]\nrank = 1\nepochs = 1\nlearning_rate = 0.1\nblocks = 1\n")

    settings = load(
        config,
        environment={"RECPIPE__SGD__EPOCHS": "2", "RECPIPE__SGD__BLOCKS": "2", "RECPIPE_ROOT": "x"},
        overrides=["sgd.blocks=3", "sgd.learning_rate=0.3"],
        given={"sgd.learning_rate": 0.4},
    )

    sgd = settings.section("sgd").model_dump()
    assert [sgd[key] for key in ("rank", "epochs", "blocks", "learning_rate")] == [1, 2, 3, 0.4]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("als.bloks=2", "als.bloks: no such setting"),
        ("nothing.here=2", "nothing: no such setting"),
        ("sgd.rank=zero", "sgd.rank"),
        ("sgd.rank=0", "sgd.rank"),
        ("split.fractions=0.8,0.1,0.2", "sum to 1"),
        ("split.test_from=2020-01-01T00:00:00", "go together"),
        ("evaluate.metric=ndcg@7", "evaluate"),
        ("evaluate.ks=5,5,10", "distinct"),
        ("train.models=als", "train.models"),
        ("als.blocks=0", "als.blocks"),
        ("als.intermediate_storage_level=FOO", "als.intermediate_storage_level"),
        ("train.models=", "train.models"),
        ("train.models=random,mean", "never chooses mean or random"),
        ("publish.model=nmf", "none of train.models"),
        ("ingest.rating_scale={min=5, max=1}", "min must not exceed max"),
        ("seed=-1", "seed"),
        ("seed", "no '='"),
        ("seed.of.time=1", "seed"),
    ],
)
def test_wrong_settings_are_refused_with_their_name(override: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        load(overrides=[override], environment={})
    assert refusal.value.exit_code == 2


def test_words_and_lists_need_no_quotes_on_the_command_line() -> None:
    settings = load(
        overrides=["evaluate.ks=1, 10", "train.models=sgd,mean", "als.blocks=cores"], environment={}
    )
    assert settings.evaluate.ks == (1, 10)
    assert settings.train.models == ("sgd", "mean")
    assert settings.section("als") == Als(blocks="cores")


def test_a_single_value_is_a_list_of_one_and_names_of_spark_keep_their_dots() -> None:
    settings = load(
        overrides=["evaluate.ks=10", "train.models=sgd", "session.conf.spark.task.maxFailures=1"],
        environment={},
    )
    assert settings.evaluate.ks == (10,)
    assert settings.train.models == ("sgd",)
    assert settings.session.conf == {"spark.task.maxFailures": "1"}


def test_a_file_that_is_not_toml_is_refused_with_its_path(tmp_path: Path) -> None:
    config = tmp_path / "broken.toml"
    config.write_text("[sgd\n")
    with pytest.raises(UsageError, match=r"broken\.toml"):
        load(config, environment={})
    with pytest.raises(UsageError, match=r"missing\.toml"):
        load(tmp_path / "missing.toml", environment={})


def test_settings_cannot_change_after_they_were_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load(environment={}).evaluate.ks = (1,)  # type: ignore[misc]


def test_hash_speaks_of_what_shapes_a_result_and_of_nothing_else() -> None:
    base = load(environment={}).hash()
    assert load(overrides=["session.driver_memory=9g"], environment={}).hash() == base
    assert load(overrides=["seed=43"], environment={}).hash() != base


def test_every_setting_is_explained() -> None:
    for name, section in Settings():
        fields = type(section).model_fields if hasattr(type(section), "model_fields") else {}
        for key, field in fields.items():
            assert field.description, f"{name}.{key} has no docstring"


def test_base_toml_says_the_defaults_and_is_the_one_that_make_conf_writes() -> None:
    written = (ROOT / "conf" / "base.toml").read_text(encoding="utf-8")
    assert written == as_toml(), "run `make conf`"
    assert load(ROOT / "conf" / "base.toml", environment={}) == Settings()


def test_help_does_not_import_spark_or_pydantic() -> None:
    code = "import sys, recpipe.cli as c; c.main(['--help']); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "From raw ratings to published top-N tables" in shown.stdout
    assert not {"pyspark", "pydantic", "pandas", "numpy"} & set(shown.stdout.split())
