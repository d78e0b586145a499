"""Run the virtual stimulator as a process of its own, in real time.

Rules:
1. Everything due before bytes arrived happens before they are acted on, at its own scheduled time,
   even when this process wakes late.
2. Its own lateness is told on standard error, so that nobody blames the host for it.
3. It listens on a pseudo-terminal or on the loopback address, never beyond this machine.
"""

from __future__ import annotations

import argparse
import gc
import os
import select
import signal
import sys

from estim.clock import SystemClock
from estim.errors import EstimError, UsageError
from estim.priority import ask_to_come_first
from estim.simulator.faults import SCRIPT_HELP, parse_line
from estim.simulator.line import FaultyLine
from estim.simulator.models import MODELS
from estim.simulator.options import SimulatorOptions
from estim.simulator.server import READ_SIZE, Endpoint, PtyEndpoint, TcpEndpoint
from estim.simulator.trace import CsvTrace

US_PER_S = 1_000_000
US_PER_MS = 1000
LATE_US = 20_000
LATE_TOLD_EVERY_US = US_PER_S
LINGER_US = 2 * US_PER_S
PORT_MAX = 65_535
STDIN = 0
LIVE_LINE_MAX = 1024
END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(argv: list[str] | None = None) -> int:
    """Run until ended by a signal; return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        process = Simulator(arguments)
    except EstimError as error:
        print(f"estim simulate: {error}", file=sys.stderr)
        return error.exit_code
    try:
        print(process.address, flush=True)
        process.run()
    finally:
        process.close()
    return 0


class Simulator:
    """Join a device on a faulty line to the place where a host connects."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._clock = SystemClock()
        options = _options(arguments)
        self._model = MODELS[arguments.model]
        self._channel_count = self._model.channel_count(options)
        self._ends_when_closed: bool = arguments.until_closed
        self._closed_since_us: int | None = None
        self._told_late_us = -LATE_TOLD_EVERY_US
        self._live_input = b""
        self._is_stdin_open = True
        self._is_ended = False
        self._endpoint: Endpoint = (
            PtyEndpoint() if arguments.tcp is None else TcpEndpoint(arguments.tcp)
        )
        self._line: FaultyLine
        self._trace: CsvTrace | None
        self._line, self._trace = options.build(self._clock.now_us(), self._model)
        self._wake_reader, self._wake_writer = os.pipe()

    @property
    def address(self) -> str:
        """Return what a host opens."""
        return self._endpoint.address

    def run(self) -> None:
        """Turn the loop until a signal, or until closed where that was asked."""
        ask_to_come_first()  # a device of its own would not wait for this computer either
        self._catch_signals()
        if self._trace is not None:
            self._trace.write_behind()
        gc.collect()
        gc.freeze()
        while not self._is_ended:
            self._turn()

    def close(self) -> None:
        """Write the rest of the trace and give everything back."""
        signal.set_wakeup_fd(-1)
        if self._trace is not None:
            self._line.advance(self._clock.now_us())
            self._trace.close()
        self._endpoint.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def _turn(self) -> None:
        deadline_us = self._line.next_deadline_us()
        now_us = self._clock.now_us()
        readers = [*self._endpoint.readers(), self._wake_reader]
        if self._is_stdin_open:
            readers.append(STDIN)
        timeout_s = self._timeout_s(deadline_us, now_us)
        readable, _, _ = select.select(readers, self._endpoint.writers(), [], timeout_s)
        now_us = self._clock.now_us()
        if deadline_us is not None:
            self._tell_lateness(now_us - deadline_us, now_us)
        self._line.advance(now_us)
        if self._wake_reader in readable:
            self._is_ended = True
        if STDIN in readable:
            self._read_stdin(now_us)
        received = self._endpoint.read()
        if received:
            self._line.receive(received, now_us)
        if self._endpoint.is_idle:
            self._endpoint.write(self._line.take_output(now_us))
        else:
            self._endpoint.write(b"")
        if self._trace is not None:
            self._trace.flush()
        self._end_when_closed(now_us)

    def _timeout_s(self, deadline_us: int | None, now_us: int) -> float | None:
        due = [] if deadline_us is None else [deadline_us]
        if self._closed_since_us is not None:
            due.append(self._closed_since_us + LINGER_US)
        return max(0, min(due) - now_us) / US_PER_S if due else None

    def _end_when_closed(self, now_us: int) -> None:
        if not self._ends_when_closed or self._is_stdin_open:
            return
        if self._line.device.is_energised:
            self._closed_since_us = None
        elif self._closed_since_us is None:
            self._closed_since_us = now_us
        elif now_us >= self._closed_since_us + LINGER_US:
            self._is_ended = True

    def _read_stdin(self, now_us: int) -> None:
        """Take live faults, one a line."""
        try:
            received = os.read(STDIN, READ_SIZE)
        except OSError:
            # A terminal does not let a background process read.
            received = b""
        if not received:
            self._is_stdin_open = False
        *lines, self._live_input = (self._live_input + received).split(b"\n")
        self._live_input = self._live_input[:LIVE_LINE_MAX]
        for line in lines:
            try:
                fault = parse_line(
                    line.decode("utf-8", "replace"), self._channel_count, self._model.verbs
                )
            except UsageError as error:
                print(f"simulator: {error}", file=sys.stderr, flush=True)
                continue
            if fault is not None:
                self._line.schedule(fault, now_us)

    def _tell_lateness(self, late_us: int, now_us: int) -> None:
        if late_us > LATE_US and now_us - self._told_late_us >= LATE_TOLD_EVERY_US:
            self._told_late_us = now_us
            print(
                f"simulator: woke {late_us // US_PER_MS} ms late, its own doing",
                file=sys.stderr,
                flush=True,
            )

    def _catch_signals(self) -> None:
        os.set_blocking(self._wake_writer, False)
        signal.set_wakeup_fd(self._wake_writer)
        for number in END_SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)


def _options(arguments: argparse.Namespace) -> SimulatorOptions:
    """Return the options given, the rest as they are by default.

    Raises:
        UsageError: the model has no such option.
    """
    given = {
        name: text
        for name in SimulatorOptions.__slots__
        if (text := getattr(arguments, name)) is not None
    }
    model = MODELS[arguments.model]
    for name in given:
        if name not in model.options:
            raise UsageError(f"--{name.replace('_', '-')}: {model.title} has no such option")
    return SimulatorOptions(**given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="estim simulate",
        description="A virtual stimulator on a pseudo-terminal or TCP port.",
        epilog=SCRIPT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", choices=MODELS, default="native", help="which device to be")
    parser.add_argument("--load", help="ohms, or good-gel, typical, dry, open, short")
    parser.add_argument("--trace", help="CSV file of what reached the load")
    parser.add_argument("--faults", help="file with a fault script")
    parser.add_argument("--seed", help="decides random choices")
    parser.add_argument("--channels", help="number of channels")
    parser.add_argument("--serial", help="serial number")
    parser.add_argument("--patient-stop", help="yes or no: a stop for the patient")
    parser.add_argument("--trigger", help="yes or no: tell in the trace when the trigger rises")
    parser.add_argument("--answer-us", help="microseconds from a request to its answer: p24")
    parser.add_argument("--tcp", type=_port, metavar="PORT", help="listen on 127.0.0.1; 0 for any")
    parser.add_argument(
        "--until-closed",
        action="store_true",
        help="end 2 s after standard input ended and output is off",
    )
    return parser


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= PORT_MAX:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected 0 to {PORT_MAX}, got {text!r}")


if __name__ == "__main__":
    sys.exit(main())
