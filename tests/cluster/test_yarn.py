"""The pipeline on a real YARN with its root on a real HDFS, in client and in cluster mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyspark
import pytest
from pandas.testing import assert_frame_equal

from tests.cluster.submit import PACK, SUBMITTED, submit
from tests.roots import DATE, RUN, metrics, published

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hadoop import Hadoop

pytestmark = SUBMITTED

PROPERTIES = f"""
spark.yarn.jars local:{pyspark.__path__[0]}/jars/*
spark.yarn.maxAppAttempts 1
spark.yarn.am.memory 512m
spark.executor.instances 1
spark.executor.cores 2
"""
"""Node managers on this machine have Spark's jars: nothing to send, which takes half a minute. Two
executors meet each other on the standalone cluster."""


@pytest.fixture(scope="module")
def source_on_hdfs(hadoop_cluster: Hadoop, planted: Path) -> str:
    hadoop_cluster.put(planted, "/source")
    return f"{hadoop_cluster.uri}/source"


@pytest.fixture(scope="module")
def pack_on_hdfs(hadoop_cluster: Hadoop) -> str:
    """The pack put there once, for all submissions; YARN unpacks it once on each node."""
    hadoop_cluster.put(PACK, "/pack")
    return f"{hadoop_cluster.uri}/pack"


def test_yarn_publishes_on_hdfs_what_one_machine_does(
    hadoop_cluster: Hadoop,
    source_on_hdfs: str,
    pack_on_hdfs: str,
    planted_root: Path,
    tmp_path: Path,
) -> None:
    """The driver here, then in the cluster."""
    ended = submit(
        "ingest", "--input", source_on_hdfs, "--root", "hdfs:///root", *DATE,
        master="yarn", folder=tmp_path, SPARK_DEPLOY_MODE="client",
        HADOOP_CONF_DIR=str(hadoop_cluster.conf), RECPIPE_PACK=pack_on_hdfs, properties=PROPERTIES,
    )  # fmt: skip
    assert ended.code == 0, ended.said + hadoop_cluster.container_logs()
    ended = submit(
        # The last of two options holds: one model is enough here.
        "pipeline", "--root", "hdfs:///root", *RUN, "--models", "sgd",
        master="yarn", folder=tmp_path, SPARK_DEPLOY_MODE="cluster",
        HADOOP_CONF_DIR=str(hadoop_cluster.conf), RECPIPE_PACK=pack_on_hdfs, properties=PROPERTIES,
    )  # fmt: skip
    assert ended.code == 0, ended.said + hadoop_cluster.container_logs()
    root = tmp_path / "root"
    hadoop_cluster.get("/root", root)
    # By its own promise, sgd is the same to the bit wherever its blocks were computed.
    assert_frame_equal(published(root), published(planted_root))
    found, due = (own_metrics(each) for each in (root, planted_root))
    assert found == pytest.approx(due, abs=1e-6)
    assert not (root / ".scratch").exists()


def own_metrics(root: Path) -> dict[tuple[Any, ...], float]:
    """Those of sgd that do not depend on what other models predict."""
    found = metrics(root, "sgd")
    return {key: value for key, value in found.items() if not key[2].endswith("_common")}


def test_in_cluster_mode_yarn_turns_every_failure_into_1(
    hadoop_cluster: Hadoop, pack_on_hdfs: str, tmp_path: Path
) -> None:
    ended = submit(
        "ingest", "--input", "hdfs:///nowhere", "--root", "hdfs:///roots/none",
        master="yarn", folder=tmp_path, SPARK_DEPLOY_MODE="cluster",
        HADOOP_CONF_DIR=str(hadoop_cluster.conf), RECPIPE_PACK=pack_on_hdfs, properties=PROPERTIES,
    )  # fmt: skip
    assert ended.code == 1, ended.said
    assert "nowhere" in hadoop_cluster.container_logs()
