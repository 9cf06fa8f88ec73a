"""A wire between two interfaces that delays what passes and loses a share of the first packets of connections.

    wire.py HERE THERE NAMESPACE [--delay-ms 10] [--syn-loss 0.3] [--seed 1]

Makes interface HERE in the namespace that it runs in and THERE in the named one, says "ready", and carries frames
between them, in order, until its input ends: so it goes with whoever started it. Kernels have a queue for this (netem),
but not all of them.

Frames are taken with the header of virtual network cards, so that the kernel hands over up to 64 KiB of a stream at
once and leaves checksums and cutting to whoever comes behind: one call moves what would else be 44 frames.
"""

from __future__ import annotations

import argparse
import collections
import errno
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_OFFLOAD_CHECKSUM, _OFFLOAD_TCP4, _OFFLOAD_TCP6 = 1, 2, 4

_VNET_HEADER = 10
_ETHERNET = 14
_LARGEST = _VNET_HEADER + _ETHERNET + 65536
_SYN, _ACK = 0x02, 0x10
_FRAMES_PER_TURN = 32  # then the other direction has its turn, and what is due leaves
_WAITING_MOST = 64 << 20  # bytes of one direction; what comes beyond is lost, as in a router


def _interface(name: str) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
    fcntl.ioctl(tap, _TUNSETOFFLOAD, _OFFLOAD_CHECKSUM | _OFFLOAD_TCP4 | _OFFLOAD_TCP6)
    return tap


def opens_connection(frame: bytes) -> bool:
    """Whether a frame, from its Ethernet header on, is a TCP packet with SYN and without ACK."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and len(frame) > _ETHERNET and frame[_ETHERNET + 9] == 6:
        flags = _ETHERNET + 4 * (frame[_ETHERNET] & 0x0F) + 13
    elif kind == b"\x86\xdd" and len(frame) > _ETHERNET + 6 and frame[_ETHERNET + 6] == 6:
        flags = _ETHERNET + 40 + 13
    else:
        return False
    return len(frame) > flags and frame[flags] & (_SYN | _ACK) == _SYN


class _Direction:
    """Frames on their way from one interface to the other."""

    def __init__(self, source: int, target: int, delay_s: float, syn_loss: float, lots: random.Random) -> None:
        self._source, self._target = source, target
        self._delay_s, self._syn_loss, self._lots = delay_s, syn_loss, lots
        self._waiting: collections.deque[tuple[float, bytes]] = collections.deque()
        self._bytes = 0

    @property
    def due(self) -> float | None:
        """When the next frame leaves, if one waits."""
        return self._waiting[0][0] if self._waiting else None

    def take(self) -> None:
        """Read what has arrived."""
        for _ in range(_FRAMES_PER_TURN):
            try:
                frame = os.read(self._source, _LARGEST)
            except BlockingIOError:
                return
            if self._syn_loss and opens_connection(frame[_VNET_HEADER:]) and self._lots.random() < self._syn_loss:
                continue
            if self._bytes + len(frame) > _WAITING_MOST:
                continue
            self._waiting.append((time.monotonic() + self._delay_s, frame))
            self._bytes += len(frame)

    def pass_on(self) -> None:
        """Write what is due."""
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, frame = self._waiting.popleft()
            self._bytes -= len(frame)
            try:
                os.write(self._target, frame)
            except OSError as error:
                # An interface that is not up yet, or no longer: its end of the wire hangs loose, the frame is lost.
                if error.errno != errno.EIO:
                    raise


def main() -> None:
    """Make the wire and carry."""
    parser = argparse.ArgumentParser()
    parser.add_argument("here")
    parser.add_argument("there")
    parser.add_argument("namespace")
    parser.add_argument("--delay-ms", type=float, default=0, help="of each way")
    parser.add_argument("--syn-loss", type=float, default=0, help="share of packets with SYN and without ACK, each way")
    parser.add_argument("--seed", type=int, default=1, help="decides which of them")
    options = parser.parse_args()

    # A wire carries at its own pace, however busy the machine is with what hangs at its ends.
    os.setpriority(os.PRIO_PROCESS, 0, -15)
    here, there = _interface(options.here), _interface(options.there)
    subprocess.run(["ip", "link", "set", "dev", options.there, "netns", options.namespace], check=True)
    lots = random.Random(options.seed)
    rest = (options.delay_ms / 1000, options.syn_loss, lots)
    ways = {here: _Direction(here, there, *rest), there: _Direction(there, here, *rest)}
    print("ready", flush=True)

    while True:
        dues = [way.due for way in ways.values() if way.due is not None]
        timeout = max(0.0, min(dues) - time.monotonic()) if dues else None
        ready, _, _ = select.select([*ways, sys.stdin], [], [], timeout)
        if sys.stdin in ready:
            return
        for source, way in ways.items():
            if source in ready:
                way.take()
        for way in ways.values():
            way.pass_on()


if __name__ == "__main__":
    main()
