"""`estim devices` and `estim doctor` on this very machine, and on folders with something wrong."""

from __future__ import annotations

import os
import pty
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from serial.tools import list_ports

from estim.cli import devices, doctor
from estim.cli.devices import access_remedy
from estim.drivers.registry import driver_name
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
    assert all(driver_name(item["url"]) for item in answer.objects[:-1])
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


@pytest.mark.parametrize(("waits_ms", "state"), [("1", "ok"), ("16", "note"), ("2", "note")])
def test_doctor_tells_of_adapters_that_hold_bytes_back(
    estim: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits_ms: str, state: str
) -> None:
    timer = tmp_path / "ttyUSB3" / "latency_timer"
    timer.parent.mkdir()
    timer.write_text(f"{waits_ms}\n")
    monkeypatch.setattr(doctor, "USB_SERIAL", tmp_path)
    found = checks(estim)[1]["latency of ttyUSB3"]
    assert (found["state"], waits_ms in found["found"]) == (state, True)
    assert (str(timer) in found["remedy"]) is (state == "note")


# Asking who is there.


class FoundPort(NamedTuple):
    """A port as pyserial lists it."""

    device: str
    vid: int | None
    pid: int | None
    description: str = "n/a"
    serial_number: str | None = None
    manufacturer: str | None = None
    product: str | None = None


@contextmanager
def a_port() -> Iterator[tuple[int, str]]:
    """Give a pseudo-terminal: the end that sees what is written, and its name."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    try:
        yield master, os.ttyname(slave)
    finally:
        os.close(master)
        os.close(slave)


def written_to(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except BlockingIOError:
        return b""


def test_nothing_is_written_to_a_port_unless_asked_and_known(
    estim: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_port() as (plain, plain_name), a_port() as (known, known_name):
        found = [FoundPort(plain_name, 0x0403, 0x6001), FoundPort(known_name, 0x0483, 0x5740)]
        monkeypatch.setattr(list_ports, "comports", lambda: found)
        listed = {item.get("port"): item for item in estim("devices", "--json").objects}
        assert listed[plain_name]["url"] == f"native:{plain_name}"
        assert listed[known_name]["url"] == f"p24:{known_name}"
        assert (written_to(plain), written_to(known)) == (b"", b"")
        told = {item.get("port"): item for item in estim("devices", "--probe", "--json").objects}
        assert written_to(plain) == b""
        assert written_to(known).startswith(b"\xf0\x81\x55")
        assert told[plain_name]["answer"] is None
        assert "no P24 answered" in told[known_name]["answer"]


def test_a_name_that_stays_is_preferred(
    estim: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_port() as (_, name):
        (tmp_path / "usb-HASOMED_P24_42-if00").symlink_to(name)
        monkeypatch.setattr(devices, "STABLE_NAMES", tmp_path)
        monkeypatch.setattr(list_ports, "comports", lambda: [FoundPort(name, 0x0483, 0x5740)])
        (port, _) = estim("devices", "--json").objects
        assert port["url"] == f"p24:{tmp_path}/usb-HASOMED_P24_42-if00"
        assert port["port"] == name


def test_a_url_is_asked_who_it_is(estim: Shell) -> None:
    answer = estim("devices", "sim:", "--json")
    told = [item for item in answer.objects if "answer" in item and item["url"] == "sim:"]
    assert told[0]["answer"].endswith("SIM-0001")
    estim("devices", "usb:x").assert_one_message(2)
