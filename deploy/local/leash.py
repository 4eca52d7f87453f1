"""`python leash.py PARENT COMMAND…` becomes COMMAND, which the kernel ends when the process PARENT does.

A program of its own because the alternative, code between fork and exec, runs the fork handlers of whatever
libraries the parent has loaded; gRPC's break the child.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)

parent, *command = sys.argv[1:]
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() == int(parent):  # else it ended before the call above
    os.execvp(command[0], command)
