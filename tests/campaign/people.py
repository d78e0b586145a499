"""The operator and the interface: a person who wants output, and a display that proves itself.

Rules:
1. The operator goes by what the interface shows and by the answers to requests, like a person.
2. Left alone the operator brings a session to `aims_ua`, again and again; steps of the script come
   on top, at their own instants.
3. A frozen interface sends nothing and shows nothing; one that died is noticed by the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from estim.session import messages as msg
from estim.session.gate import READ_BACK, REQUIRED
from estim.session.messages import Outcome, Reply, Request, Snapshot
from estim.session.states import HostState
from tests.campaign.host import Host
from tests.campaign.log import Asked, Log
from tests.campaign.sessions import session_named

ACT_US = 120_000
BEAT_US = 100_000
READING_US = 1_500_000
PATIENCE_US = 2_500_000
RESTART_US = 300_000
URL = "sim:"
NEW_VISIT = ("record", "open a new session")
"""What an answer says where only a new visit helps."""
BUSY = (HostState.ARMED, HostState.RUNNING)


class Operator:
    """One person at one interface."""

    def __init__(
        self, log: Log, folder: Path, session: str, start_host: Callable[[], Host]
    ) -> None:
        self.log = log
        self.folder = folder
        self.session, self.bounds = session_named(session)
        self.aims_ua = [self.session.envelope.amplitude_ua] * self.session.channel_count
        self.is_resting = False
        self.frozen_until_us = 0
        self.blank_until_us = 0
        self.act_us = 0
        self.host: Host | None = None
        self._start_host = start_host
        self._beat = 0
        self._beat_us = 0
        self._next_id = 1
        self._open: dict[int, Asked] = {}
        self._waiting: tuple[int, int] | None = None
        self._snapshot: Snapshot | None = None
        self._is_record_open = False
        self._kept: set[str] = set()
        self._read_back = ""
        self._needs_new_visit = False
        self._leave_us = 0
        self._ended_us = 0
        self._is_snapshot_new = False
        self._repeat: tuple[int, int, int] | None = None
        self._notes = 0

    # What the interface sees.

    def take(self, reply: Reply, now_us: int) -> None:
        if isinstance(reply, Snapshot):
            self._snapshot = reply
            self._is_snapshot_new = True
        elif isinstance(reply, Outcome):
            asked = self._open.pop(reply.request_id, None)
            if asked is None:
                return
            asked.is_done = reply.is_done
            if self._waiting is not None and self._waiting[0] == reply.request_id:
                self._waiting = None
                self._is_snapshot_new = False
            if asked.kind == "OpenRecord":
                self._is_record_open = reply.is_done
                self._needs_new_visit = not reply.is_done
            elif asked.kind == "Annotate" and reply.is_done:
                self._kept.add(str(asked.content[0]))
            if any(word in reason for reason in reply.reasons for word in NEW_VISIT):
                self._needs_new_visit = True
        elif isinstance(reply, msg.Notice) and "record cannot be written" in reply.text:
            self._needs_new_visit = True

    def host_ended(self, now_us: int) -> None:
        """Note that the engine is gone."""
        self.host = None
        self._ended_us = now_us
        self._leave_us = 0
        self._snapshot = None
        self._waiting = None
        self._open.clear()
        self._is_record_open = self._needs_new_visit = False
        self._kept.clear()
        self._read_back = ""

    # Time.

    def next_us(self) -> int:
        due_us = self.act_us
        if self._shows_output:
            due_us = min(due_us, max(self._beat_us, self.blank_until_us))
        if self._repeat is not None:
            due_us = min(due_us, self._repeat[0])
        return max(due_us, self.frozen_until_us)

    def advance(self, now_us: int) -> None:
        if now_us < self.frozen_until_us:
            return
        if self._shows_output and now_us >= max(self._beat_us, self.blank_until_us):
            self._beat += 1
            self._beat_us = now_us + BEAT_US
            if self.host is not None:
                self.log.beats_us.append(now_us)
                self.host.request(msg.Heartbeat(self._beat))
        if self._repeat is not None and now_us >= self._repeat[0]:
            at_us, until_us, index = self._repeat
            self._repeat = (at_us + 33_000, until_us, index) if at_us < until_us else None
            self.ask(now_us, msg.Raise, (index,), "held key")
        if now_us >= self.act_us:
            self.act_us = now_us + ACT_US
            self._act(now_us)

    @property
    def _shows_output(self) -> bool:
        shown = self._snapshot
        return shown is not None and (shown.state in BUSY or shown.is_busy)

    # Requests.

    def ask(self, now_us: int, kind: Callable[..., Request], *content: Any) -> None:
        """Make a request, if there is anybody to make it to."""
        if self.host is None or now_us < self.frozen_until_us:
            return
        request_id = self._next_id
        self._next_id += 1
        request = kind(request_id, *content)
        name = type(request).__name__
        asked = Asked(now_us, self.host.life.number, name, content, request_id)
        self._open[request_id] = asked
        self.log.asked.append(asked)
        self.host.request(request)

    def _await(self, now_us: int, kind: Callable[..., Request], *content: Any) -> None:
        self._waiting = (self._next_id, now_us + PATIENCE_US)
        self.ask(now_us, kind, *content)

    def step(self, words: tuple[str, ...], now_us: int) -> None:
        """Do a step of the script."""
        latch = self._snapshot.latch_count if self._snapshot is not None else 0
        number = int(words[1]) if len(words) > 1 else 0
        every = tuple(range(self.session.channel_count))
        one = (number % self.session.channel_count,)
        simple: dict[str, Callable[..., Request]] = {
            "stop": msg.Stop, "pause": msg.Pause, "resume": msg.Resume, "start": msg.Start,
            "arm": msg.Arm, "finish": msg.Finish, "self-test": msg.SelfTest,
            "disconnect": msg.Disconnect, "close": msg.CloseVisit,
        }  # fmt: skip
        if words[0] in simple:
            self.ask(now_us, simple[words[0]])
        elif words[0] == "connect":
            self.ask(now_us, msg.Connect, URL)
        elif words[0] == "prepare":
            self._prepare(now_us)
        elif words[0] == "raise":
            self.ask(now_us, msg.Raise, one)
        elif words[0] == "lower":
            self.ask(now_us, msg.Lower, one, int(words[2]))
        elif words[0] == "targets":
            self.ask(now_us, msg.SetTargets, tuple(int(w) for w in words[1:])[: len(every)])
        elif words[0] == "hold":
            self._repeat = (now_us, now_us + number * 1000, 0)
        elif words[0] == "acknowledge":
            self.ask(now_us, msg.Acknowledge, latch)
        elif words[0] == "rearm":
            self.ask(now_us, msg.Rearm, every, latch)
        elif words[0] == "note":
            self._notes += 1
            self.ask(now_us, msg.Annotate, "remark", {"text": f"note {self._notes}"})
        elif words[0] == "open":
            self._open_record(now_us)
        elif words[0] == "aim":
            self.aims_ua = ([int(w) for w in words[1:]] * len(every))[: len(every)]
        elif words[0] == "freeze":
            self.frozen_until_us = now_us + number * 1000
        elif words[0] == "blank":
            self.blank_until_us = now_us + number * 1000
        elif words[0] == "die":
            if self.host is not None:
                self.host.interface_gone()
        else:
            raise ValueError(f"nothing that an operator does: {words[0]}")

    # Left alone.

    def _act(self, now_us: int) -> None:
        if self.host is None:
            is_due = now_us >= self._ended_us + RESTART_US or now_us == 0
            if is_due and not self.is_resting:
                self.host = self._start_host()
            return
        if self._waiting is not None:
            if now_us < self._waiting[1]:
                return
            self._waiting = None
        if not self._is_record_open and not self._needs_new_visit:
            self._open_record(now_us)
            return
        shown = self._snapshot
        if shown is None or not self._is_snapshot_new:
            return
        if self._needs_new_visit:
            self._leave(shown, now_us)
        elif shown.state is HostState.DISCONNECTED:
            self._await(now_us, msg.Connect, URL)
        elif shown.state is HostState.FAULT:
            self._await(now_us, msg.Acknowledge, shown.latch_count)
        elif shown.state is HostState.IDENTIFIED or not shown.has_program:
            if shown.state in (HostState.IDENTIFIED, HostState.READY):
                self._ready(now_us)
        elif not self.is_resting:
            self._go_on(shown, now_us)

    def _leave(self, shown: Snapshot, now_us: int) -> None:
        if shown.state in BUSY:
            # A person takes time to read: by then the engine has ended output by itself.
            self._leave_us = self._leave_us or now_us + READING_US
            if now_us >= self._leave_us:
                self._await(now_us, msg.Stop)
        elif shown.state is HostState.FAULT and shown.channels and not shown.is_busy:
            self._await(now_us, msg.CloseVisit)
        else:
            self._await(now_us, msg.CloseVisit)

    def _ready(self, now_us: int) -> None:
        missing = [kind for kind in REQUIRED if kind not in self._kept]
        if missing and not self.session.is_bench:
            self._await(now_us, msg.Annotate, missing[0], {"answer": "yes"})
            self.act_us = now_us + 20_000
        else:
            self._prepare(now_us)

    def _prepare(self, now_us: int) -> None:
        settings = msg.SessionSettings(
            "campaign", 0 if self.session.is_bench else 600, self.session.envelope.step_ua,
            500, "1", "ab" * 32,
        )  # fmt: skip
        self._read_back = ""
        program = self.session.program.canonical_bytes().hex()
        self._await(now_us, msg.Prepare, program, self.bounds, settings)

    def _open_record(self, now_us: int) -> None:
        number = self.host.life.number if self.host is not None else 0
        session_id = f"campaign-{number}"
        header = {
            "schema": 1, "session_id": session_id, "operator": "tech-7", "pseudonym": "P-1",
            "kind": "bench" if self.session.is_bench else "clinical",
        }  # fmt: skip
        self._await(
            now_us, msg.OpenRecord, str(self.folder), str(self.folder / "key"), session_id, header
        )

    def _go_on(self, shown: Snapshot, now_us: int) -> None:
        latched = tuple(i for i, row in enumerate(shown.channels) if row.is_lead_off)
        if latched and not any(shown.channels[i].target_ua for i in latched):
            self._await(now_us, msg.Rearm, latched, shown.latch_count)
        elif shown.state is HostState.READY:
            digest = shown.prepared_digest
            if not self.session.is_bench and self._read_back != digest:
                self._read_back = digest
                self._await(now_us, msg.Annotate, READ_BACK, {"prepared_digest": digest})
                self.act_us = now_us + 20_000
            else:
                self._await(now_us, msg.Arm)
        elif shown.state is HostState.ARMED:
            was_on = any(row.marker_ua for row in shown.channels)
            self._await(now_us, msg.Resume if was_on else msg.Start)
        elif shown.state is HostState.RUNNING:
            self._raise(shown, now_us)

    def _raise(self, shown: Snapshot, now_us: int) -> None:
        targets = tuple(row.target_ua for row in shown.channels)
        if len(targets) != len(self.aims_ua) or list(targets) == self.aims_ua:
            return
        if self.session.is_bench:
            self._await(now_us, msg.SetTargets, tuple(self.aims_ua))
            return
        below = tuple(i for i, ua in enumerate(targets) if ua + 1000 <= self.aims_ua[i])
        if below:
            self._await(now_us, msg.Raise, below)
            self.act_us = now_us + 1_010_000
