from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from recpipe.errors import MissingError
from recpipe.runtime import java


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Java."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(java, "_java_installed", lambda: iter(()))


def java_at(home: Path, release: str | None, *, says: str = "") -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    if release is not None:
        (home / "release").write_text(release)
    return home


WHOLE = 'MODULES="java.base jdk.incubator.vector java.sql"\n'


class TestFindJava:
    def test_java_home_comes_first(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        wanted = java_at(tmp_path / "jdk-21", f'JAVA_VERSION="21.0.2"\n{WHOLE}')
        java_at(tmp_path, f'JAVA_VERSION="17.0.1"\n{WHOLE}')
        monkeypatch.setenv("JAVA_HOME", str(wanted))
        assert java.find_java() == wanted

    def test_a_link_on_the_path_leads_to_the_real_home(self, tmp_path: Path) -> None:
        real = java_at(tmp_path / "jvm" / "java-17", f'JAVA_VERSION="17.0.1"\n{WHOLE}')
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "java").symlink_to(real / "bin" / "java")
        assert java.find_java() == real

    def test_an_old_java_home_is_passed_over_for_one_that_suits(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        old = java_at(tmp_path / "jdk-11", f'JAVA_VERSION="11.0.2"\n{WHOLE}')
        good = java_at(tmp_path / "jdk-17", f'JAVA_VERSION="17.0.2"\n{WHOLE}')
        monkeypatch.setenv("JAVA_HOME", str(old))
        monkeypatch.setattr(java, "_java_installed", lambda: iter((good,)))
        assert java.find_java() == good

    def test_says_what_was_found_when_only_an_old_one_is_there(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        old = java_at(tmp_path / "jdk8", 'JAVA_VERSION="1.8.0_402"\n')
        monkeypatch.setenv("JAVA_HOME", str(old))
        with pytest.raises(MissingError, match=r"only 1\.8\.0_402 in .*jdk8") as caught:
            java.find_java()
        assert caught.value.exit_code == 5
        assert caught.value.hint

    def test_a_runtime_without_the_vector_module_cannot_start_spark(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        cut = java_at(tmp_path / "jlinked", 'JAVA_VERSION="21"\nMODULES="java.base java.sql"\n')
        monkeypatch.setenv("JAVA_HOME", str(cut))
        with pytest.raises(MissingError, match=r"without the module jdk\.incubator\.vector"):
            java.find_java()

    def test_one_without_a_release_file_is_asked(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        home = java_at(tmp_path / "x", None, says='openjdk version "25" 2025-09-16')
        monkeypatch.setenv("JAVA_HOME", str(home))
        assert java.java() == java.Java(home, "25")

    @pytest.mark.parametrize(
        ("version", "major"), [("1.8.0_402", 8), ("17.0.15", 17), ("21", 21), ("26-ea", 26)]
    )
    def test_major_version(self, version: str, major: int) -> None:
        assert java.Java(Path("/x"), version).major == major


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
            assert java.java_remedy().startswith(begin + command)

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
        assert java.java_remedy().endswith(f"-y {package}")

    def test_is_homebrews_on_a_mac(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.platform", "darwin")
        assert java.java_remedy() == "brew install openjdk@21"
