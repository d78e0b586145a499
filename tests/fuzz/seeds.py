"""What each target begins with: something whole of every kind, and something wrong."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from estim.dialects import pulsepal
from estim.session import messages as msg
from firmware_protocol import codec, framing
from firmware_protocol.vectors import EXAMPLE_PROGRAMS
from tests.dialects.p24_frames import GOLDEN
from tests.protocol.frames import HAND_WRITTEN
from tests.record.samples import sealed_record
from tests.rig.job_text import INSTRUMENT, JOB
from tests.tui.snapshots import FAULT
from tests.tui.snapshots import snapshot as shown

CHECKOUT = Path(__file__).parents[2]
PROFILES = CHECKOUT / "profiles"


def stream() -> Iterator[bytes]:
    whole = b"".join(written.frame for written in HAND_WRITTEN)
    yield b"\x07" + whole[:900]
    yield b"\x01" + whole[-900:]
    yield b"\xff" + b"\1" * 400 + b"\0" + whole[:300]


def bodies() -> Iterator[bytes]:
    for written in HAND_WRITTEN:
        yield framing.decode_frame(written.frame[:-1])[: -codec.CRC.size]


def programmes() -> Iterator[bytes]:
    for program in EXAMPLE_PROGRAMS.values():
        yield program.canonical_bytes()


def p24_stream() -> Iterator[bytes]:
    frames = [bytes.fromhex(written) for written, _ in GOLDEN.values()]
    yield b"\x05" + b"".join(frames)
    yield b"\x01" + b"\xf0\x81".join(frames)


def p24_payloads() -> Iterator[bytes]:
    for _, frame in GOLDEN.values():
        yield frame.payload
    yield b"\0ABCDE12345"
    yield bytes(13)
    yield bytes.fromhex("80 0c855000")


def pulsepal_answers() -> Iterator[bytes]:
    yield b"\x01\x02" + bytes((pulsepal.HANDSHAKE_REPLY, 21, 0, 0, 0)) + b"\1" * 7
    yield b"\x00\x01\x01\x00\x05\x01"


def pulsepal_commands() -> Iterator[bytes]:
    yield b"\x03" + pulsepal.handshake() + pulsepal.abort() + pulsepal.trigger([1])
    yield b"\x09" + pulsepal.custom_train(1, [0, 1000], [1000, 0]) + pulsepal.disconnect()


def profiles() -> Iterator[bytes]:
    for name in ("bench-burst", "dpn-conventional", "nmes-quadriceps", "entries/h-wave"):
        path = PROFILES / f"{name}.toml"
        if path.is_file():
            yield path.read_bytes()
    yield (PROFILES / "dpn-conventional.toml").read_bytes().replace(b" = ", b" = -", 3)
    yield b"a" * 5 + b" = " + b"[" * 3000


def protocols() -> Iterator[bytes]:
    for path in sorted((PROFILES / "protocols").glob("*.toml"))[::6]:
        yield path.read_bytes()
    yield b'schema = 1\nid = "x"\n[[steps]]\nkind = "stimulate"\n'


@cache
def _record() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return sealed_record(Path(folder), event_count=4).read_bytes()


def records() -> Iterator[bytes]:
    yield b"r" + _record()
    yield b"c" + _record()
    yield b"c" + _record().replace(b'"completed"', b'"=HYPERLINK(1)"')
    yield b"r" + _record()[:-20]


def ledgers() -> Iterator[bytes]:
    yield b"c" + b"".join(_record().splitlines(keepends=True)[:3])
    yield b"r" + _record()[:700]


def captures() -> Iterator[bytes]:
    yield b"a" + b"Time (s),CH1 (mA)\n" + b"".join(b"%d.0e-6,%d\n" % (n, n % 3) for n in range(9))
    yield b"v" + b"time,CH1\ns,V\n\n" + b"".join(b"0,00%d;1,5\n" % n for n in range(5))
    yield b"r" + b"; sigrok\nlogic\n" + b"1.5\n-inf\n2\n" * 4
    yield b"a" + b"t_us,channel,current_ua,duration_us\n0,1,5000,200\n200,1,-5000,200\n"
    yield (
        b"a$timescale 1 us $end\n$var real 64 ! load_ma $end\n$enddefinitions $end\n"
        b"#0\nr0 !\n#10\nr5.5 !\n#20\nr-5.5 !\n#30\nr0 !\n#1000\n"
    )
    yield b"a" + b"PK\x03\x04" + bytes(40)
    yield b"a" + b"Model,TBS\nSample Interval,1e-6\nVertical Units,A\nTIME,CH1\n0,1e-3\n1e-6,0\n"


def fault_scripts() -> Iterator[bytes]:
    yield (
        b"# all\nat 2.0 drop 3\nat 1.5 delay 0.2 to-host\nat 3 lead-off 1\nat 4 load 1 typical\n"
        b"at 5 gain 2 1300\nat 6 patient-stop press\nat 7 battery 255\nat 8 silent 0.5\n"
    )
    yield b"drop 3\n"


def lines() -> Iterator[bytes]:
    for message in (
        msg.Connect(1, "sim:"),
        msg.SetTargets(2, (500,)),
        msg.Arm(3),
        msg.Heartbeat(5),
        shown(fault=FAULT),
    ):
        yield msg.to_line(message)
    yield b'{"message":"Arm","request_id":1e400}'


def snapshots() -> Iterator[bytes]:
    yield msg.to_line(shown(fault=FAULT))
    yield msg.to_line(shown(profile_id="x\x1b[2J\u202e"))
    yield msg.to_line(msg.Arm(1))


def sites() -> Iterator[bytes]:
    yield b"amplitude_ceiling_ua = 50_000\nrequires_patient_stop = true\n"
    yield b"sensation_valid_days = 31\n"
    yield b'"\\u001b[2J" = 1\n'


def rosters() -> Iterator[bytes]:
    entry = {
        "id": "T-1", "role": "therapist", "salt": "A" * 22 + "==", "hash": "A" * 43 + "=",
        "failures": 0, "last_failure_s": 0,
    }  # fmt: skip
    yield json.dumps({"schema": 1, "operators": [entry], "removed": ["T-2"]}).encode()
    yield json.dumps({"schema": 1, "operators": [entry, entry], "removed": []}).encode()
    yield b"native:/dev/ttyACM0\n"


def bench_files() -> Iterator[bytes]:
    yield JOB.encode()
    yield INSTRUMENT.format(due="2099-12-31").encode()
    yield b"kind = " + b"[" * 3000


def campaigns() -> Iterator[bytes]:
    yield (
        b'<testsuites><testsuite><testcase classname="a" name="b" time="0.5">'
        b'<failure message="no"/><properties><property name="blame" value="rig"/></properties>'
        b"</testcase>"
        b'<testcase name="c" time="x"/></testsuite></testsuites>'
    )
    step = {"profile": "p", "channel": 1, "amplitude_ua": 1, "load_ohm": 1, "verdict": "pass"}
    yield json.dumps({"event": "result", "verdict": "pass", "steps": [step]}).encode()
    yield b'{"event":"result","steps":[1]}'


def texts() -> Iterator[bytes]:
    yield b"plain"
    yield "µ × –".encode()
    yield "\x1b[2J\x9b1m\u202e\u2066".encode() + b"\xff\xc2"
