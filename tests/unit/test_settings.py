from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import _pydantic_core

from recpipe.errors import UsageError, did_you_mean
from recpipe.models.als.settings import AlsSettings
from recpipe.settings import Settings, as_toml, load
from recpipe.settings.refusal import refusal
from recpipe.settings.sources import Sources

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
        ("als.bloks=2", r"setting als.bloks: no such setting; did you mean als.blocks\?"),
        ("nothing.here=2", "setting nothing: no such setting; there are seed, session,"),
        ("slit.strategy=random", r"setting slit: no such setting; did you mean split\?"),
        ("rank=5", "rank: no such setting; there are als_explicit.rank, als_implicit.rank,"),
        ("sgd.alpha=1", "sgd.alpha: no such setting; there are als_implicit.alpha,"),
        ("sgd.zzz=1", "sgd.zzz: no such setting; sgd has rank, epochs,"),
        ("sgd.rank=zero", 'sgd.rank = "zero": must be a whole number'),
        ("sgd.rank=1.5", "sgd.rank = 1.5: must be a whole number"),
        ("sgd.rank=0", "sgd.rank = 0: must be at least 1 "),
        ("recommend.n=5000", "recommend.n = 5000: must be at most 1000 "),
        ("sgd.learning_rate=0", "sgd.learning_rate = 0: must be above 0 "),
        ("sgd.learning_rate=inf", "must be a finite number"),
        ("sgd.learning_rate=fast", 'sgd.learning_rate = "fast": must be a number'),
        ("sgd.bounded=perhaps", 'sgd.bounded = "perhaps": must be true or false'),
        ("sgd=3", "setting sgd = 3: must be a section of keys and values"),
        ("split.strategy=globaltime", r"must be auto, .*; did you mean global_time\?"),
        ("split.test_from=tomorrow", "must be an instant such as 2020-01-31T00:00:00Z"),
        ("split.fractions=0.8,0.2", r"fractions = \[0.8, 0.2\]: must have 3 values "),
        ("split.fractions=0.7,0.1,0.1,0.1", "must have 3 values at most"),
        ("split.fractions=1", "split.fractions = 1: must be a list"),
        ("evaluate.ks=a,2", r'evaluate.ks = \["a", 2\]: "a" must be a whole number'),
        ("ingest.rating_scale.stp=1", r"did you mean ingest.rating_scale.step\?"),
        ("als.blocks=crs", r"must be auto or cores, or be a whole number; did you mean cores\?"),
        ("split.fractions=0.8,0.1,0.2", "sum to 1"),
        ("split.validation_from=2020-01-01T00:00:00", "validation_from needs test_from"),
        ("evaluate.metric=ndcg@7", "evaluate"),
        ("evaluate.ks=5,5,10", r"evaluate.ks = \[5, 5, 10\]: must be distinct"),
        (
            "train.models=als",
            r"did you mean als_explicit, als_implicit or block_als\?",
        ),
        (
            "train.models=als_implict",
            r"no model 'als_implict'; did you mean als_implicit\?",
        ),
        ("train.models=xyz", "the models are popularity, biases,"),
        ("als.blocks=0", "als.blocks = 0: must be auto or cores, or be at least 1 "),
        ("als.intermediate_storage_level=FOO", "als.intermediate_storage_level"),
        ("train.models=", "train.models"),
        ("train.models=random,mean", "never chooses mean or random"),
        ("publish.model=nmf", "none of train.models; add it there"),
        ("publish.model=nfm", r"none of train.models; did you mean nmf\?"),
        ("ingest.rating_scale={min=5, max=1}", "min must not exceed max"),
        ("seed=-1", "seed"),
        ("seed", "no '='"),
        ("=1", "no whole name before '='"),
        ("seed.of.time=1", "seed = {of = {time = 1}}: must be a whole number"),
    ],
)
def test_wrong_settings_are_refused_with_their_name(override: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        load(overrides=[override], environment={})
    assert refusal.value.exit_code == 2
    assert not re.search(r"Value error|Input should|\[Errno|conf/base", str(refusal.value))


def test_a_refusal_points_to_the_section_that_the_setting_is_in() -> None:
    for override, command in (
        ("sgd.rank=0", "recpipe settings sgd"),
        ("train.models=als", "recpipe settings train"),
        ("nothing=1", "recpipe settings"),
    ):
        with pytest.raises(UsageError) as refusal:
            load(overrides=[override], environment={})
        assert f"`{command}`" in refusal.value.hint


def test_a_refusal_names_the_file_or_the_variable_and_lists_the_other_faults(
    tmp_path: Path,
) -> None:
    config = tmp_path / "nightly.toml"
    config.write_text("[sgd]\nrnak = 3\n[slit]\nx = 1\n")
    with pytest.raises(UsageError, match=r"nightly\.toml: setting sgd\.rnak: no such") as refusal:
        load(config, environment={})
    assert [line.partition(": ")[2] for line in refusal.value.details] == [
        "setting slit: no such setting; did you mean split?"
    ]
    with pytest.raises(UsageError, match=r"^RECPIPE__SGD__RANK: setting sgd\.rank = 0: must"):
        load(environment={"RECPIPE__SGD__RANK": "0"})
    with pytest.raises(UsageError, match=r"^the settings of the run: setting sgd\.former: no such"):
        load(base={"sgd": {"former": 1}}, environment={})


# The list of them has no public door.
KINDS = _pydantic_core.list_all_errors()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind["type"]))
def test_every_kind_of_fault_that_pydantic_knows_has_a_sentence(kind: Any) -> None:
    context = kind["example_context"] or {}
    if kind["type"] in {"value_error", "assertion_error"}:
        context = {"error": ValueError("no good")}
    error = ValidationError.from_exception_data(
        "Settings",
        [{"type": kind["type"], "loc": ("sgd", "rank"), "input": "x", "ctx": context}],
    )
    said = str(refusal(error, Settings, Sources({"sgd": {"rank": "x"}})))
    assert "setting sgd.rank" in said
    assert not re.search(r"Input should|Value error|Assertion failed", said)


def test_words_and_lists_need_no_quotes_on_the_command_line() -> None:
    settings = load(
        overrides=["evaluate.ks=1, 10", "train.models=sgd,mean", "als.blocks=cores"], environment={}
    )
    assert settings.evaluate.ks == (1, 10)
    assert settings.train.models == ("sgd", "mean")
    assert settings.section("als") == AlsSettings(blocks="cores")


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
    with pytest.raises(UsageError, match="is a directory"):
        load(tmp_path, environment={})
    config.write_bytes(b"seed = 1 # \xff\n")
    with pytest.raises(UsageError, match="not UTF-8 text"):
        load(config, environment={})


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    config = tmp_path / "windows.toml"
    config.write_text("seed = 7\n", encoding="utf-8-sig")
    assert load(config, environment={}).seed == 7


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


def test_a_section_is_printed_alone_and_is_toml() -> None:
    said = as_toml("storage")
    assert tomllib.loads(said) == {"storage": {"format": "parquet"}}
    assert "# " in said
    whole = tomllib.loads(as_toml())
    for name in whole.keys() - {"seed"}:
        assert tomllib.loads(as_toml(name)) == {name: whole[name]}


def test_an_unknown_section_is_refused_with_the_one_that_is_near() -> None:
    with pytest.raises(UsageError, match=r"no section 'spilt'; did you mean split\?"):
        as_toml("spilt")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("rnak", "did you mean rank?"),
        ("RANK", "did you mean rank?"),
        ("ank", "did you mean rank?"),
        ("blocks_", "did you mean blocks?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_a_near_name_is_offered_and_a_far_one_is_not(given: str, said: str) -> None:
    assert did_you_mean(given, ["rank", "blocks", "epochs"]) == said
    assert did_you_mean(given, []) == ""
