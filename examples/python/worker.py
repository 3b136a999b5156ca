"""An example worker: python worker.py NAME [--tag T]… [--label KEY=VALUE]… [--slots N]"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any

from worker_stream import PermanentError, Rejected, Step, Worker


def greet(step: Step) -> Any:
    step.log(f"a greeting for {step.input['name']}")
    step.progress("thinking", fraction=0.5)
    return {"greeting": f"hello {step.input['name']}", "attempt": step.order.attempt}


def fail(step: Step) -> Any:
    if step.input == "for good":
        raise PermanentError("no use in trying again")
    raise ValueError(f"cannot work on {step.input!r}")


def load_model(step: Step) -> Any:
    """What work changes about the worker, it says with labels; work that waits for them is matched at once."""
    step.worker.upsert_labels({"model": step.input})
    return {"loaded": step.input}


def work(step: Step) -> Any:
    """Long work in small parts: looks for a cancel between them."""
    parts = step.input["parts"]
    for part in range(1, parts + 1):
        if step.cancelled.wait(timeout=step.input["seconds"] / parts):
            print(f"work: cancelled in part {part}", flush=True)
            step.check()
        step.log(f"part {part} of {parts}")
        step.progress(f"part {part}", fraction=part / parts, phase="working")
    print("work: finished", flush=True)
    return {"parts": parts}


def label(text: str) -> tuple[str, str | float]:
    """`memory=64` is a number, `model=llama` a string."""
    key, _, value = text.partition("=")
    try:
        return key, float(value)
    except ValueError:
        return key, value


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--tag", action="append", default=[])
    parser.add_argument("--label", action="append", type=label)
    parser.add_argument("--slots", type=int, default=1)
    arguments = parser.parse_args()
    worker = Worker(
        os.environ.get("YARDMASTER_ADDRESS", "localhost:7070"),
        arguments.name,
        {"greet": greet, "fail": fail, "load-model": load_model, "work": work},
        tags=arguments.tag,
        labels=None if arguments.label is None else dict(arguments.label),
        slots=arguments.slots,
        token=os.environ.get("YARDMASTER_TOKEN", ""),
        namespace=os.environ.get("YARDMASTER_NAMESPACE", ""),
        say=lambda line: print(line, flush=True),
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: worker.stop())
    try:
        worker.run()
    except Rejected as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
