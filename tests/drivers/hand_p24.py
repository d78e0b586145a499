"""A P24 in as few lines as possible, from the vendor's frame layout and from no code of ours.

A test turns its knobs; time is what the test says. What flows is in `playing`: channel index to
(list of (duration_us, current_ua), period_us).
"""

from __future__ import annotations

KEEP_ALIVE_US = 2_000_000


def crc16(octets: bytes | bytearray) -> int:
    """Return CRC-16/XMODEM, bit by bit."""
    crc = 0
    for octet in octets:
        crc ^= octet << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def frame(command: int, number: int, payload: bytes) -> bytes:
    """Return a frame, octet by octet."""
    body = bytearray()
    for octet in ((number << 10 | command) >> 8 & 0xFF, command & 0xFF, *payload):
        body += bytes((0x81, octet ^ 0x55)) if octet in (0xF0, 0x0F, 0x81) else bytes((octet,))
    size, crc = len(body) + 10, crc16(body)
    header = bytearray()
    for octet in (size >> 8, size & 0xFF, crc >> 8, crc & 0xFF):
        header += bytes((0x81, octet ^ 0x55))
    return b"\xf0" + bytes(header) + bytes(body) + b"\x0f"


def request(written: bytes) -> tuple[int, int, bytes]:
    """Return command, number and payload of one whole frame."""
    assert (written[0], written[-1]) == (0xF0, 0x0F), written.hex()
    assert (written[2] ^ 0x55) << 8 | written[4] ^ 0x55 == len(written)
    assert (written[6] ^ 0x55) << 8 | written[8] ^ 0x55 == crc16(written[9:-1])
    plain, escaped = bytearray(), False
    for octet in written[9:-1]:
        if escaped:
            plain.append(octet ^ 0x55)
        elif octet != 0x81:
            plain.append(octet)
        escaped = octet == 0x81 and not escaped
    prefix = plain[0] << 8 | plain[1]
    return prefix & 0x3FF, prefix >> 10, bytes(plain[2:])


class HandP24:
    """Obey, unless a knob says otherwise."""

    def __init__(self) -> None:
        self.serial_number = "P24-000042"
        self.status = 0
        self.playing: dict[int, tuple[list[tuple[int, int]], int]] = {}
        self.states = [0] * 8
        self.results: dict[int, int] = {}
        self.is_mute = False
        self.inactive: set[int] = set()
        self.heard: list[tuple[int, bytes]] = []
        self.highest_ua = 0
        self._alive_us = 0
        self._stop_all = False

    def receive(self, written: bytes, now_us: int) -> bytes:
        """Take one frame; return the answer."""
        self.settle(now_us)
        command, number, payload = request(written)
        self.heard.append((command, payload))
        result = self.results.get(command, 0)
        answer = b"" if result else self._obey(command, payload, now_us)
        if self.is_mute or answer is None:
            return b""
        return frame(command + 1, number, bytes((result,)) + answer)

    def settle(self, now_us: int) -> None:
        """Stop by itself, 2 s after it was kept alive."""
        if self.status == 3 and now_us - self._alive_us >= KEEP_ALIVE_US:
            self.status, self.playing = 2, {}

    def _obey(self, command: int, payload: bytes, now_us: int) -> bytes | None:
        if command == 52:
            return self.serial_number.encode()
        if command == 68:
            return bytes((3, 2, 1, 4, 0, 2)) + bytes(6)
        if command == 62:
            return bytes((self.status, 6 if self.status >= 2 else 1))
        if command == 30:
            self.status, self._stop_all = 2, bool(payload[0])
        elif command == 34:
            self.status, self.playing = 0, {}
        elif command == 32:
            assert self.status >= 2, "an update without Ml_init"
            self._update(payload)
            self.status, self._alive_us = 3, now_us
        elif command == 36:
            self._alive_us = now_us if self.status == 3 else self._alive_us
            active = sum(1 << index for index in self.playing if index not in self.inactive)
            nibbles = bytes(self.states[at] | self.states[at + 1] << 4 for at in range(0, 8, 2))
            return bytes((4, active)) + nibbles
        else:
            raise AssertionError(f"nobody should send command {command}")
        return b""

    def _update(self, payload: bytes) -> None:
        mask, at = payload[0], 1
        self.playing = {}
        for index in range(8):
            if not mask >> index & 1:
                continue
            count, ramp = (payload[at] >> 4) + 1, payload[at] & 15
            assert ramp == 0, "the host rises by itself"
            period = payload[at + 1] << 8 | payload[at + 2]
            points = []
            for start in range(at + 3, at + 3 + 4 * count, 4):
                word = int.from_bytes(payload[start : start + 4], "big")
                current_ua = ((word >> 10 & 0x3FF) - 300) * 500
                points.append((word >> 20, current_ua))
                self.highest_ua = max(self.highest_ua, abs(current_ua))
            self.playing[index] = (points, (period >> 1) * (250 if period & 1 else 500))
            at += 3 + 4 * count
        assert at == len(payload)
