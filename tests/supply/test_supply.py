"""What Estim is made of is pinned, listed and found again."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.supply import audit, contains, lock

RUNTIME_MAX = 8
LOCKS = sorted((lock.CHECKOUT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: str(path.name))
def test_every_lock_has_a_hash_for_each_package_and_no_address(path: Path) -> None:
    text = path.read_text("utf-8")
    assert lock.read(text)
    assert "://" not in text
    assert "index-url" not in text


def test_every_group_of_dependencies_has_its_lock() -> None:
    project = tomllib.loads((lock.CHECKOUT / "pyproject.toml").read_text("utf-8"))
    assert {path.stem for path in LOCKS} == {"run", *project["dependency-groups"]}
    assert len(project["project"]["dependencies"]) <= RUNTIME_MAX


def test_a_package_without_a_hash_or_without_a_reason_is_no_lock() -> None:
    hashed = f"a==1 \\\n    --hash=sha256:{'0' * 64}\n"
    good = hashed + "    # via\n    #   b\n    #   estim (pyproject.toml)\n"
    [only] = lock.read(good)
    assert (only.name, only.version, only.wanted_by) == ("a", "1", ("b", "estim"))
    for bad in (good.replace("--hash=sha256", "--md5"), good.split("    # via")[0], "a>=1\n"):
        with pytest.raises(ValueError, match="not a pinned package"):
            lock.read(bad)


def test_whoever_depends_on_a_package_is_in_the_lock_too() -> None:
    pinned = lock.read_run()
    names = {each.name for each in pinned} | {lock.ROOT}
    assert all(set(each.wanted_by) <= names for each in pinned)


def test_which_releases_contain_a_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of three releases the second brought it, through another package."""

    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t", *words],
            check=True, capture_output=True,
        )  # fmt: skip

    def release(tag: str, *pins: str) -> None:
        path = tmp_path / lock.RUN_LOCK
        path.parent.mkdir(exist_ok=True)
        blocks = [f"{pin} \\\n    --hash=sha256:{'0' * 64}\n    # via estim\n" for pin in pins]
        path.write_text("".join(blocks))
        git("add", "-A")
        git("commit", "-m", tag)
        git("tag", tag)

    git("init")
    release("v1", "one==1.0")
    release("v2", "one==1.0", "other-thing==2.0")
    assert contains.main(["other_thing"], tmp_path) == 0
    assert capsys.readouterr().out.splitlines() == [
        "v2: other-thing 2.0, for estim",
        "HEAD: other-thing 2.0, for estim",
    ]
    assert contains.main(["absent"], tmp_path) == 1
    assert contains.main([], tmp_path) == 2


def _told(**changes: Any) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "version": each.version, "vulns": []} | changes
        for each in lock.read_run()
    ]


def test_an_audit_that_was_not_answered_is_no_clean_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert audit.judge(_told()) == 0
    assert audit.judge(_told(skip_reason="not found")) == audit.NOT_ASKED
    assert audit.judge(_told()[1:]) == audit.NOT_ASKED
    assert audit.judge([]) == audit.NOT_ASKED
    capsys.readouterr()
    holes = [{"id": "CVE-1", "fix_versions": ["9"]}]
    assert audit.judge([_told()[0] | {"vulns": holes}]) == audit.FOUND
    assert "CVE-1, mended in: 9" in capsys.readouterr().out


@pytest.mark.long
def test_the_bill_of_materials_is_whole_valid_and_the_same_twice(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx", reason="`make sbom` brings it, into an environment of its own")
    import sysconfig

    for name in ("one", "two"):
        subprocess.run(
            [sys.executable, "-m", "tests.supply.sbom", "--output", str(tmp_path / name),
             "--packages", sysconfig.get_path("purelib")],
            cwd=lock.CHECKOUT, check=True, timeout=100,
        )  # fmt: skip
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    bill = json.loads((tmp_path / "one").read_text("utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert "timestamp" not in bill["metadata"]
    components = {each["name"]: each for each in bill["components"]}
    assert set(components) == {each.name for each in lock.read_run()} | {"estim-firmware-core"}
    for each in lock.read_run():
        held = {one["content"] for one in components[each.name]["hashes"]}
        assert held == set(each.hashes)
        assert components[each.name]["licenses"], each.name
    gate = lock.CHECKOUT / "firmware_protocol" / "c" / "gate.c"
    [file] = [
        each for each in components["estim-firmware-core"]["components"] if each["name"] == "gate.c"
    ]
    assert file["hashes"][0]["content"] == hashlib.sha256(gate.read_bytes()).hexdigest()
    depends = {
        each["ref"].partition("@")[0]: each.get("dependsOn", []) for each in bill["dependencies"]
    }
    assert any(ref.startswith("yarl@") for ref in depends["aiohttp"]), "transitive ones too"
