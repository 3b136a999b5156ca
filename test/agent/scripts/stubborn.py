"""Ignores SIGTERM, and so does its child, which holds the pipe; says who they are once both do."""

import os
import signal
import subprocess
import sys
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, __file__, "child"], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    print(f"here are {os.getpid()} {child.pid}", flush=True)
else:
    print("ready", flush=True)
time.sleep(600)
