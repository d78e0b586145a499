"""Alarms: which cause has which priority, latched, one per cause, worded with the remedy.

Rules:
1. A cause is latched when it is seen and stays until it is acknowledged *and* gone.
2. A cause is one alarm however many channels have it and however often it comes back; it is raised,
   and heard, at most once in 10 s. What is shown is never held back.
3. Acknowledged is what was on screen: a cause that was raised again since then stays.
4. Priorities differ by sign, by word and by the number of bells, never by colour alone.

Which cause has which priority is decided by risk (clinical.md, 2.2, alarm mapping [E]), since
IEC 60601-1-8 leaves it to the maker; the signs are its exclamation marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import IntEnum

from estim.session.messages import Fault, Notice, Severity, Snapshot
from estim.session.states import ENERGISED, HostState
from estim.units import US_PER_S
from firmware_protocol.messages import MAINS_PERCENT

RAISE_US = 10 * US_PER_S
"""A cause is raised at most once in this time (hazard 33)."""


class Priority(IntEnum):
    """How soon somebody must look."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3

    @property
    def sign(self) -> str:
        """Return what stands beside the word: one to three marks."""
        return "!" * self

    @property
    def bells(self) -> int:
        """Return how many bells it is heard by: three, two or one."""
        return int(self)


REPEAT_US: Mapping[Priority, int] = {
    Priority.HIGH: 10 * US_PER_S,
    Priority.MEDIUM: 30 * US_PER_S,
}
"""How often an alarm that nobody acknowledged is heard again; a low one is heard once."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause that holds now: what is wrong, in words, what to do, and in which channels (from 1).

    Channels stand beside the words, so that one more of them is told from one fewer.
    """

    cause: str
    priority: Priority
    words: str
    remedy: str
    channels: frozenset[int] = frozenset()

    @property
    def text(self) -> str:
        """Return the words, with the channels that have it."""
        if not self.channels:
            return self.words
        numbers = " and ".join(str(number) for number in sorted(self.channels))
        return f"channel{'s' * (len(self.channels) > 1)} {numbers}: {self.words}"

    def adds_to(self, former: Finding) -> bool:
        """Tell whether this says more than what was raised before."""
        return not self.channels <= former.channels or self.words != former.words


@dataclass(frozen=True, slots=True)
class Alarm:
    """A latched finding.

    Attributes:
        finding: as it was seen last.
        raised: as it was raised last; None where 10 s have to pass first.
        is_present: whether the cause still holds.
        is_acknowledged: whether somebody has seen it.
        latched_us: when it was latched.
    """

    finding: Finding
    raised: Finding | None
    is_present: bool
    is_acknowledged: bool
    latched_us: int


class Alarms:
    """Latch findings, say which are news, and which are to be heard."""

    def __init__(self) -> None:
        self._alarms: dict[str, Alarm] = {}
        self._raised_us: dict[str, int] = {}
        self._heard_us = 0

    @property
    def latched(self) -> tuple[Alarm, ...]:
        """Return every alarm: the unacknowledged first, the gravest of them first."""
        order = sorted(
            self._alarms.values(),
            key=lambda each: (each.is_acknowledged, -each.finding.priority, each.latched_us),
        )
        return tuple(order)

    def see(self, findings: Iterable[Finding], now_us: int) -> tuple[Alarm, ...]:
        """Take all that holds now; return the alarms that this raises.

        What happened rather than holds, such as a pause, is given once and stays latched as well.
        """
        present = {finding.cause: finding for finding in findings}
        raised = []
        for cause, finding in present.items():
            alarm = self._alarms.get(cause, Alarm(finding, None, True, False, now_us))
            alarm = replace(alarm, finding=finding, is_present=True)
            if alarm.raised is None or finding.adds_to(alarm.raised):
                alarm = replace(alarm, is_acknowledged=False)
                if cause not in self._raised_us or now_us - self._raised_us[cause] >= RAISE_US:
                    self._raised_us[cause] = now_us
                    alarm = replace(alarm, raised=finding)
                    raised.append(alarm)
            self._alarms[cause] = alarm
        for cause in self._alarms.keys() - present.keys():
            self._alarms[cause] = replace(self._alarms[cause], is_present=False)
        self._drop()
        if raised:
            self._heard_us = now_us
        return tuple(raised)

    def acknowledge(self, drawn: Iterable[Alarm]) -> tuple[Alarm, ...]:
        """Acknowledge what was drawn (rule 3); return what was."""
        done = []
        for alarm in drawn:
            newest = self._alarms.get(alarm.finding.cause)
            if newest is None or newest.is_acknowledged or newest.finding.adds_to(alarm.finding):
                continue
            # What was seen by a person needs no raising any more, held back or not.
            seen = replace(newest, raised=alarm.finding, is_acknowledged=True)
            self._alarms[alarm.finding.cause] = seen
            done.append(seen)
        self._drop()
        return tuple(done)

    def bells_due(self, now_us: int) -> int:
        """Return how many bells repeat the gravest unacknowledged alarm now; 0 for none."""
        waiting = [each.finding.priority for each in self.latched if not each.is_acknowledged]
        gravest = max(waiting, default=Priority.LOW)
        if gravest not in REPEAT_US or now_us - self._heard_us < REPEAT_US[gravest]:
            return 0
        self._heard_us = now_us
        return gravest.bells

    def _drop(self) -> None:
        """Let go of what is acknowledged and gone."""
        self._alarms = {
            cause: alarm
            for cause, alarm in self._alarms.items()
            if alarm.is_present or not alarm.is_acknowledged
        }


def gravest(alarms: Iterable[Alarm]) -> Priority | None:
    """Return the highest priority among alarms, None without any."""
    return max((alarm.finding.priority for alarm in alarms), default=None)


# What a session's snapshot says.

BATTERY_LOW_PERCENT = 20
LOAD_HIGH_OHM = 4_000
"""Warned of above this, or at half as much again as at first (clinical.md, 2.4 [E])."""

_OVERCURRENT = ("overcurrent", Priority.HIGH)
_LINK = ("link_lost", Priority.HIGH)
_STOP = ("stop_failed", Priority.HIGH)
_DEVICE = ("device_fault", Priority.HIGH)
_BATTERY = ("battery", Priority.MEDIUM)
_BUSY = ("computer_busy", Priority.MEDIUM)
_PATIENT = ("patient_stop", Priority.MEDIUM)
_STOPPED = ("output_stopped", Priority.MEDIUM)
_ELECTRODE_OFF = "electrode off"

FAULT_CAUSES: Mapping[str, tuple[str, Priority]] = {
    "device_overcurrent": _OVERCURRENT,
    "not_obeyed": _OVERCURRENT,
    "link_lost": _LINK,
    "device_lease_expired": _LINK,
    "device_line_noise": _LINK,
    "stop_unconfirmed": _STOP,
    "runs_unasked": _STOP,
    "device_supply": _BATTERY,
    "display_frozen": _BUSY,
    "engine_stalled": _BUSY,
    "suspended": _BUSY,
    "device_patient_stop": _PATIENT,
    "device_running_time": _STOPPED,
}
"""Cause and priority of a fault by its code; every other code is a device fault."""


def of_fault(fault: Fault) -> Finding:
    """Return a fault as a finding."""
    cause, priority = FAULT_CAUSES.get(fault.code, _DEVICE)
    return Finding(cause, priority, fault.text, fault.remedy)


class Watch:
    """Find causes in snapshots and notices; remembers each channel's first load."""

    def __init__(self) -> None:
        self._first_ohm: dict[int, int] = {}
        self._notices: list[Notice] = []

    def hear(self, notice: Notice) -> None:
        """Keep an alarm of the engine until the next snapshot says whether it has it too."""
        if notice.severity is Severity.ALARM:
            self._notices.append(notice)

    def findings(
        self, snapshot: Snapshot, *, is_known: bool, also: Sequence[Finding] = ()
    ) -> tuple[Finding, ...]:
        """Return every cause that holds, one finding each, the gravest where two agree.

        Args:
            snapshot: the newest.
            is_known: whether it is fresh.
            also: what others found, such as a skin check that is due.
        """
        found = [*self._of_notices(snapshot), *also]
        if snapshot.fault is not None:
            found.append(of_fault(snapshot.fault))
        elif not is_known and snapshot.state in (*ENERGISED, HostState.STOPPING):
            found.append(
                Finding(
                    *_LINK, "no report of the output for half a second",
                    "press the stop key, look at the device; if in doubt take the electrodes off",
                )
            )  # fmt: skip
        found += _of_battery(snapshot)
        found += _of_electrodes(snapshot)
        found += self._of_loads(snapshot, is_known)
        one_each: dict[str, Finding] = {}
        for finding in sorted(found, key=lambda each: each.priority):
            one_each[finding.cause] = finding
        return tuple(one_each.values())

    def _of_notices(self, snapshot: Snapshot) -> list[Finding]:
        """Return what the engine told, once; faults and electrodes are in the snapshot itself."""
        told = [notice for notice in self._notices if notice.at_us <= snapshot.at_us]
        self._notices = [notice for notice in self._notices if notice.at_us > snapshot.at_us]
        found = []
        for notice in told:
            if snapshot.fault is not None and notice.text == snapshot.fault.text:
                continue
            if _ELECTRODE_OFF in notice.text:
                continue
            cause, priority = _BUSY if "too busy" in notice.text else _STOPPED
            remedy = notice.remedy or "look at the events, then prepare and arm again"
            found.append(Finding(cause, priority, notice.text, remedy))
        return found

    def _of_loads(self, snapshot: Snapshot, is_known: bool) -> list[Finding]:
        drifted = []
        for index, row in enumerate(snapshot.channels):
            if row.is_lead_off or not row.target_ua:
                self._first_ohm.pop(index, None)
            if not is_known or row.contact != "good" or row.load_ohm <= 0 or not row.target_ua:
                continue
            first_ohm = self._first_ohm.setdefault(index, row.load_ohm)
            if row.load_ohm > LOAD_HIGH_OHM or 2 * row.load_ohm > 3 * first_ohm:
                drifted.append(index + 1)
        return _in_channels(
            drifted, "impedance", Priority.LOW, "the pads dry or lose contact",
            "press the edges down; at the next pause moisten or change the pads",
        )  # fmt: skip


def _of_battery(snapshot: Snapshot) -> list[Finding]:
    percent = snapshot.battery_percent
    if percent == MAINS_PERCENT or percent > BATTERY_LOW_PERCENT:
        return []
    return [Finding(*_BATTERY, "the battery is low", "finish soon, then charge or change it")]


def _of_electrodes(snapshot: Snapshot) -> list[Finding]:
    numbered = list(enumerate(snapshot.channels, start=1))
    off = [number for number, row in numbered if row.is_lead_off]
    shorted = [number for number, row in numbered if row.is_shorted]
    return [
        *_in_channels(
            off, "electrode_off", Priority.MEDIUM, f"{_ELECTRODE_OFF}, output at zero",
            "press it on, then l re-arms; raise from zero",
        ),
        *_in_channels(
            shorted, "leads_touch", Priority.LOW, "the leads may touch each other",
            "look at leads and electrodes",
        ),
    ]  # fmt: skip


def _in_channels(
    numbers: Sequence[int], cause: str, priority: Priority, words: str, remedy: str
) -> list[Finding]:
    """Return one finding for all channels that have a cause; none for no channel."""
    if not numbers:
        return []
    return [Finding(cause, priority, words, remedy, frozenset(numbers))]


# What is not in a snapshot.


def skin_check_due() -> Finding:
    """Return that a look at the skin is overdue."""
    remedy = "look beside the pads, then answer the question"
    return Finding("skin_check", Priority.LOW, "the look at the skin is due", remedy)


def skin_harmed(advice: str) -> Finding:
    """Return that skin was found red or painful."""
    remedy = "the stop key first; then pads off, write down what you see"
    return Finding("skin_harmed", Priority.MEDIUM, advice, remedy)


def session_ends() -> Finding:
    """Return that the session ends soon."""
    return Finding(
        "session_end", Priority.LOW, "the session ends soon", "stay near: pads off after zero alone"
    )


def attention_paused() -> Finding:
    """Return that the output was paused since nobody answered."""
    return Finding(
        "nobody_there", Priority.MEDIUM, "paused: nobody answered the attention check",
        "look at the patient, then r resumes from zero",
    )  # fmt: skip


def engine_lost(reason: str) -> Finding:
    """Return that the engine is gone."""
    remedy = "look at the device: if it still delivers, switch it off"
    return Finding(*_LINK, f"the engine has ended: {reason}", remedy)


# The bell is tried once a day.


def was_bell_tried(state: str, today: date) -> bool:
    """Tell from the text of the state file whether the bell was heard today.

    Anything but today's date, a date to come included, means that it was not.
    """
    return state.strip() == today.isoformat()


def bell_state(today: date) -> str:
    """Return the text of the state file once somebody heard the bell."""
    return f"{today.isoformat()}\n"
