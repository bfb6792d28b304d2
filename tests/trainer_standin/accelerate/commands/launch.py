"""`accelerate launch [options] script.py args…`: starts the script as a child, waits, and fails as the real one does.

A child that ends with anything but 0 becomes a CalledProcessError with the whole command line and return code 1. SIGTERM ends the
launcher alone and leaves the child behind.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys


def main() -> None:
    parser = argparse.ArgumentParser(prog="accelerate launch")
    parser.add_argument("--num_cpu_threads_per_process", type=int)
    parser.add_argument("--mixed_precision", choices=("no", "fp16", "bf16", "fp8"))
    parser.add_argument("--module", action="store_true")
    parser.add_argument("script")
    parser.add_argument("args", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = [sys.executable, *(["-m"] if options.module else []), options.script, *options.args]
    process = subprocess.Popen(command, env=os.environ.copy())
    process.wait()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(returncode=process.returncode, cmd=command)


if __name__ == "__main__":
    main()
