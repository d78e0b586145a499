"""`estim devices` and `estim doctor` on this very machine, and on folders with something wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from estim.cli.devices import access_remedy
from estim.engine.viewers import Viewers
from estim.record import station_key
from tests.cli.commands import Shell


def checks(estim: Shell, *arguments: str | Path) -> tuple[int, dict[str, dict[str, Any]]]:
    answer = estim("doctor", "--json", *arguments)
    assert {item["schema"] for item in answer.objects} == {"estim.doctor/1"}
    return answer.code, {item["check"]: item for item in answer.objects}


def test_the_simulator_is_always_listed_last(estim: Shell) -> None:
    answer = estim("devices", "--json")
    assert answer.code == 0
    assert answer.objects[-1]["url"] == "sim:"
    assert all(item["url"].startswith("native:") for item in answer.objects[:-1])
    assert estim("devices").out.splitlines()[-1].startswith("sim:")


def test_the_remedy_for_a_denied_port_names_its_group(tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch()
    port.chmod(0o600)
    assert access_remedy(str(port)) == "ask whoever looks after this computer for access to it"
    if os.getuid() == 0:
        import grp

        group = next(entry for entry in grp.getgrall() if entry.gr_gid)
        os.chown(port, 0, group.gr_gid)
        port.chmod(0o660)
        assert f"usermod -aG {group.gr_name} " in access_remedy(str(port))


def test_doctor_finds_nothing_wrong_where_nothing_is(estim: Shell, tmp_path: Path) -> None:
    code, found = checks(estim, "--records", tmp_path)
    for name in ("python", "pyserial", "serial module", "record folder", "station key", "clock"):
        assert found[name]["state"] == "ok", found[name]
    assert found["serial module"]["found"].endswith("serial/__init__.py")
    ports = [item for name, item in found.items() if name.startswith("port ")]
    assert code == int(any(item["state"] == "FAILED" for item in ports))
    assert list(tmp_path.glob("*.jsonl")) == []


def test_doctor_tells_a_folder_that_can_hold_no_records(estim: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        code, found = checks(estim, "--records", folder)
        assert code == 1
        assert found["record folder"]["state"] == "FAILED"
        assert "--records" in found["record folder"]["remedy"]


def test_doctor_tells_where_to_look_on_and_which_sessions_run(
    estim: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / "estim"
    assert checks(estim)[1]["looking on"]["found"] == f"no session runs; sockets are in {folder}"
    assert not folder.exists()
    viewers = Viewers(folder)
    assert checks(estim)[1]["looking on"]["found"] == str(viewers.path)
    viewers.close()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    found = checks(estim)[1]["looking on"]
    assert found["state"] == "note"
    assert str(folder) in found["found"]
    assert "XDG_RUNTIME_DIR" in found["remedy"]


def test_doctor_leaves_a_folder_that_is_not_there_yet_to_the_first_session(
    estim: Shell, tmp_path: Path
) -> None:
    _, found = checks(estim, "--records", tmp_path / "a" / "b")
    assert found["record folder"]["state"] == "ok"
    assert not (tmp_path / "a").exists()


def test_doctor_tells_an_open_key_and_a_damaged_site_policy(estim: Shell, home: Path) -> None:
    configuration = home / "config" / "estim"
    station_key.load_or_make(configuration)
    (configuration / station_key.FILE_NAME).chmod(0o644)
    (configuration / "site.toml").write_text("amplitude_ceiling_ua = -1\n")
    (configuration / "interface.toml").write_text("alarm_bell = false\n")
    (configuration / "roster.json").write_text("{}")
    code, found = checks(estim)
    assert code == 1
    assert found["station key"]["state"] == "FAILED"
    assert "chmod 600" in found["station key"]["found"]
    assert found["site policy"]["state"] == "FAILED"
    assert "amplitude_ceiling_ua" in found["site policy"]["found"]
    assert "alarm_bell" in found["interface settings"]["found"]
    assert "roster.json" in found["roster"]["found"]
    assert found["roster"]["state"] == "FAILED"


def test_every_failed_check_has_a_remedy_on_standard_error(estim: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = estim("doctor", "--records", tmp_path / "file")
    assert answer.code == 1
    assert "record folder" in answer.out
    assert "FAILED" in answer.out
    assert "estim: record folder: make it writable" in answer.err
