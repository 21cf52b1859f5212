"""Runs a program on a terminal of its own, inside a machine, alone: python3 -I on_terminal.py SECONDS WORD...

Prints the last of what it said, without control sequences, and ends as it did; with 124 when it ran past its time.
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

KEPT_BYTES = 64 << 10
ROWS, COLUMNS = 50, 200
CONTROL = re.compile(rb"\x1b[\[(][0-9;?]*[A-Za-z]|\x1b[78]|\x07")


def main():
    deadline, words = time.monotonic() + float(sys.argv[1]), sys.argv[2:]
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(words[0], words)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    said, late = b"", False
    while not late:
        late = time.monotonic() > deadline
        if late:
            os.kill(child, signal.SIGKILL)
        elif select.select([terminal], [], [], 1)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # its end: nobody has it open any more
                break
            if not data:
                break
            said = (said + data)[-KEPT_BYTES:]
    _, status = os.waitpid(child, 0)
    text = CONTROL.sub(b"", said).decode(errors="replace").replace("\r", "\n")
    print("\n".join([line for line in text.splitlines() if line.strip()][-40:]))
    return 124 if late else os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
