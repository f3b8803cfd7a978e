"""The guardian: a tiny process that ends the stack's processes when the one that started them dies.

It reads `+<group>` and `-<group>` lines from its standard input. When that ends without `-` for every
group, the parent was killed: whatever still runs is ended, kindly first. It uses only the standard library,
so that it starts in no time: `python -I -S guardian.py`.
"""

import os
import signal
import sys
import time

PATIENCE = 5.0


def alive(group: int) -> bool:
    """Whether a process of the group still runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so about a group of zombies
        return False
    return True


def end(groups: set[int]) -> None:
    """SIGTERM to each group, and after a while SIGKILL to those that stayed."""
    deadline = time.monotonic() + PATIENCE
    for number in (signal.SIGTERM, signal.SIGKILL):
        for group in filter(alive, groups):
            os.killpg(group, number)
        while any(map(alive, groups)) and time.monotonic() < deadline:
            time.sleep(0.05)


def main() -> None:
    """Keep the list of groups until the parent is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it outlives the parent, by a moment
    groups: set[int] = set()
    for line in sys.stdin:
        sign, group = line[0], int(line[1:])
        if sign == "+":
            groups.add(group)
        else:
            groups.discard(group)
    end(groups)


if __name__ == "__main__":
    main()
