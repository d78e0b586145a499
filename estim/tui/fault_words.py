"""What may go wrong at the simulator, in words, with a line to begin from.

The simulator is an independent witness and not imported here; a test holds this table against it.
"""

from __future__ import annotations

from dataclasses import dataclass

ON_LINE = "; to-device or to-host at the end means that way alone"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One verb of the fault language.

    Attributes:
        verb: the word itself.
        line: a whole line to begin from.
        arguments: what may stand after the verb.
        words: what happens.
    """

    verb: str
    line: str
    arguments: str
    words: str


FAULTS = (
    FaultKind("drop", "drop 3", "FRAMES", f"the next frames are lost{ON_LINE}"),
    FaultKind(
        "delay", "delay 0.2", "SECONDS", f"each frame takes so long from now on; 0 ends it{ON_LINE}"
    ),
    FaultKind(
        "corrupt", "corrupt 3", "FRAMES", f"one bit of each of the next frames is flipped{ON_LINE}"
    ),
    FaultKind("duplicate", "duplicate 3", "FRAMES", f"the next frames come twice{ON_LINE}"),
    FaultKind("silent", "silent 0.5", "SECONDS", f"nothing passes for so long{ON_LINE}"),
    FaultKind("reboot", "reboot", "", "the device starts again"),
    FaultKind("hang", "hang", "", "the device freezes with its output at zero, until a reboot"),
    FaultKind("lead-off", "lead-off 1", "CHANNEL", "a lead of the channel comes off"),
    FaultKind("lead-on", "lead-on 1", "CHANNEL", "it is put back"),
    FaultKind(
        "load", "load 1 2000", "CHANNEL OHM|NAME",
        "another load: ohms, or good-gel, typical, dry, open, short",
    ),
    FaultKind(
        "gain", "gain 1 1300", "CHANNEL PERMILLE",
        "the output stage of the channel delivers so much of what it should",
    ),
    FaultKind(
        "patient-stop", "patient-stop press", "press|release", "the patient's stop is pressed"
    ),
    FaultKind("battery", "battery 4", "PERCENT", "the charge in percent; 255 is mains"),
)  # fmt: skip
