from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from recpipe.errors import MissingError
from recpipe.runtime import environment


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Java, cache or settings of ours."""
    for name in ("JAVA_HOME", "RECPIPE_CACHE", "XDG_CACHE_HOME", "RECPIPE_DELTA_JARS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(environment, "_java_installed", lambda: iter(()))


def java_at(home: Path, release: str | None, *, says: str = "") -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    if release is not None:
        (home / "release").write_text(release)
    return home


WHOLE = 'MODULES="java.base jdk.incubator.vector java.sql"\n'


class TestCacheFolder:
    def test_is_below_the_home(self, tmp_path: Path) -> None:
        assert environment.cache_folder() == tmp_path / "home" / ".cache" / "recpipe"

    def test_follows_xdg_and_before_it_our_own_variable(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
        assert environment.cache_folder() == Path("/xdg/recpipe")
        monkeypatch.setenv("RECPIPE_CACHE", "/own")
        assert environment.cache_folder() == Path("/own")

    def test_a_relative_folder_means_where_the_process_started(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("RECPIPE_CACHE", "cache")
        assert environment.cache_folder() == tmp_path / "cache"

    def test_without_a_home_is_among_the_temporary_files_and_the_users_own(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", "/nonexistent")
        assert environment.cache_folder().name == f"recpipe-{os.getuid()}"


class TestFindJava:
    def test_java_home_comes_first(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        wanted = java_at(tmp_path / "jdk-21", f'JAVA_VERSION="21.0.2"\n{WHOLE}')
        java_at(tmp_path, f'JAVA_VERSION="17.0.1"\n{WHOLE}')
        monkeypatch.setenv("JAVA_HOME", str(wanted))
        assert environment.find_java() == wanted

    def test_a_link_on_the_path_leads_to_the_real_home(self, tmp_path: Path) -> None:
        real = java_at(tmp_path / "jvm" / "java-17", f'JAVA_VERSION="17.0.1"\n{WHOLE}')
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "java").symlink_to(real / "bin" / "java")
        assert environment.find_java() == real

    def test_an_old_java_home_is_passed_over_for_one_that_suits(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        old = java_at(tmp_path / "jdk-11", f'JAVA_VERSION="11.0.2"\n{WHOLE}')
        good = java_at(tmp_path / "jdk-17", f'JAVA_VERSION="17.0.2"\n{WHOLE}')
        monkeypatch.setenv("JAVA_HOME", str(old))
        monkeypatch.setattr(environment, "_java_installed", lambda: iter((good,)))
        assert environment.find_java() == good

    def test_says_what_was_found_when_only_an_old_one_is_there(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        old = java_at(tmp_path / "jdk8", 'JAVA_VERSION="1.8.0_402"\n')
        monkeypatch.setenv("JAVA_HOME", str(old))
        with pytest.raises(MissingError, match=r"only 1\.8\.0_402 in .*jdk8") as caught:
            environment.find_java()
        assert caught.value.exit_code == 5
        assert caught.value.hint

    def test_a_runtime_without_the_vector_module_cannot_start_spark(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        cut = java_at(tmp_path / "jlinked", 'JAVA_VERSION="21"\nMODULES="java.base java.sql"\n')
        monkeypatch.setenv("JAVA_HOME", str(cut))
        with pytest.raises(MissingError, match=r"without the module jdk\.incubator\.vector"):
            environment.find_java()

    def test_one_without_a_release_file_is_asked(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        home = java_at(tmp_path / "x", None, says='openjdk version "25" 2025-09-16')
        monkeypatch.setenv("JAVA_HOME", str(home))
        assert environment.java() == environment.Java(home, "25")

    @pytest.mark.parametrize(
        ("version", "major"), [("1.8.0_402", 8), ("17.0.15", 17), ("21", 21), ("26-ea", 26)]
    )
    def test_major_version(self, version: str, major: int) -> None:
        assert environment.Java(Path("/x"), version).major == major


class TestJavaRemedy:
    @pytest.mark.parametrize(
        ("manager", "command"),
        [
            ("apt-get", "apt-get install"),
            ("dnf", "dnf install"),
            ("apk", "apk add"),
            ("pacman", "pacman -S"),
        ],
    )
    def test_is_a_command_of_this_system(
        self, manager: str, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("sys.platform", "linux")
        program = tmp_path / "bin" / manager
        program.parent.mkdir()
        program.touch(mode=0o755)
        for user, begin in ((0, ""), (1000, "sudo ")):
            monkeypatch.setattr(os, "geteuid", lambda user=user: user)
            assert environment.java_remedy().startswith(begin + command)

    @pytest.mark.parametrize(
        ("release", "package"),
        [
            ({"ID": "debian", "VERSION_ID": "11"}, "openjdk-17-jre-headless"),
            ({"ID": "debian", "VERSION_ID": "13"}, "default-jre-headless"),
            ({"ID": "debian"}, "default-jre-headless"),
            ({"ID": "ubuntu", "VERSION_ID": "22.04"}, "openjdk-17-jre-headless"),
        ],
    )
    def test_names_a_package_that_this_release_has(
        self, release: dict[str, str], package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("platform.freedesktop_os_release", lambda: release)
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "apt-get").touch(mode=0o755)
        monkeypatch.setattr("sys.platform", "linux")
        assert environment.java_remedy().endswith(f"-y {package}")

    def test_is_homebrews_on_a_mac(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.platform", "darwin")
        assert environment.java_remedy() == "brew install openjdk@21"


class TestDeltaJars:
    @pytest.fixture
    def pinned(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """Two small jars, pinned, in the cache."""
        monkeypatch.setenv("RECPIPE_CACHE", str(tmp_path / "cache"))
        folder = environment.delta_folder()
        folder.mkdir(parents=True)
        for name in ("a.jar", "b.jar"):
            (folder / name).write_bytes(name.encode())
        pins = {name: environment.file_digest(folder / name) for name in ("a.jar", "b.jar")}
        monkeypatch.setattr(environment, "DELTA_JARS", pins)
        return folder

    def test_are_those_of_the_cache_in_the_order_of_the_pins(self, pinned: Path) -> None:
        assert environment.delta_jars() == [pinned / "a.jar", pinned / "b.jar"]

    def test_a_missing_one_is_named_with_what_to_do(self, pinned: Path) -> None:
        (pinned / "b.jar").unlink()
        with pytest.raises(MissingError, match=r"b\.jar is missing") as caught:
            environment.delta_jars()
        assert "recpipe.runtime.jars" in caught.value.hint

    def test_a_cut_one_is_refused(self, pinned: Path) -> None:
        (pinned / "a.jar").write_bytes(b"a.")
        with pytest.raises(MissingError, match=r"a\.jar: not the pinned jar"):
            environment.delta_jars()

    def test_another_folder_can_be_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("delta-spark_4.2_2.13-4.4.0.jar", "delta-storage-4.4.0.jar", "notes.txt"):
            (tmp_path / name).touch()
        monkeypatch.setenv("RECPIPE_DELTA_JARS", str(tmp_path))
        assert [jar.suffix for jar in environment.delta_jars()] == [".jar", ".jar"]

    def test_the_jars_themselves_can_be_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        first, second = tmp_path / "delta-spark_4.2_2.13-4.4.0.jar", tmp_path / "other.jar"
        monkeypatch.setenv("RECPIPE_DELTA_JARS", f"{first}, {second}")
        first.touch()
        with pytest.raises(MissingError, match=r"no file .*other\.jar"):
            environment.delta_jars()
        second.touch()
        assert environment.delta_jars() == [first, second]

    def test_a_folder_without_delta_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("RECPIPE_DELTA_JARS", str(tmp_path))
        with pytest.raises(MissingError, match="no delta-spark jar"):
            environment.delta_jars()


class TestForScripts:
    def test_an_answer_is_one_line(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("SPARK_HOME", "/opt/spark")
        assert environment.main("--spark") == 0
        assert capsys.readouterr().out == "/opt/spark\n"

    def test_what_is_missing_is_one_line_and_the_exit_code(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert environment.main("--java") == 5
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("recpipe: no Java 17 or later")
        assert err.count("\n") == 1
