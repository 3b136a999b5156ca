"""The other side: python admin.py register|schedule|watch|explain|cancel|workers --help

Exit code 0: it worked; 1: the run that was watched did not succeed; 2: the server said no, or the command was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from typing import Any

import grpc

from yardmaster.v1 import admin_service_pb2 as pb
from yardmaster.v1 import run_pb2, worker_pb2
from yardmaster.v1.admin_service_pb2_grpc import AdminServiceStub

COMPARATORS = {
    "=": run_pb2.COMPARATOR_EQUAL,
    "!=": run_pb2.COMPARATOR_NOT_EQUAL,
    ">": run_pb2.COMPARATOR_GREATER_THAN,
    ">=": run_pb2.COMPARATOR_GREATER_THAN_OR_EQUAL,
    "<": run_pb2.COMPARATOR_LESS_THAN,
    "<=": run_pb2.COMPARATOR_LESS_THAN_OR_EQUAL,
}
TOKEN = os.environ.get("YARDMASTER_TOKEN")
NAMESPACE = os.environ.get("YARDMASTER_NAMESPACE")
METADATA = [("authorization", f"Bearer {TOKEN}")] if TOKEN else []
METADATA += [("yardmaster-namespace", NAMESPACE)] if NAMESPACE else []
# How every call is made, but the watch, which lasts as long as its run.
CALL = {"timeout": 10, "metadata": METADATA}


def condition(text: str) -> run_pb2.DesiredLabel:
    """`memory>256` or `model=llama`: a number is compared as a number."""
    match = re.fullmatch(r"([^=!<>]+)(!=|>=|<=|=|>|<)(.+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY, one of {' '.join(COMPARATORS)}, and VALUE")
    key, comparator, value = match.groups()
    desired = run_pb2.DesiredLabel(key=key, comparator=COMPARATORS[comparator])
    try:
        desired.value.number_value = float(value)
    except ValueError:
        desired.value.string_value = value
    return desired


def short(enum: Any, number: int, prefix: str) -> str:
    """RUN_STATE_PENDING → PENDING. A newer server may know numbers that this client does not."""
    return enum.Name(number).removeprefix(prefix) if number in enum.values() else str(number)


def register(yard: AdminServiceStub, arguments: argparse.Namespace) -> int:
    request = pb.RegisterWorkerRequest(name=arguments.name, tags=arguments.tag)
    answer = yard.RegisterWorker(request, **CALL)
    known = "already registered" if answer.already_registered else "registered"
    print(f"{known} {answer.worker.name} {answer.worker.worker_id} tags {','.join(answer.worker.tags) or '-'}")
    warn(answer.warnings)
    return 0


def schedule(yard: AdminServiceStub, arguments: argparse.Namespace) -> int:
    request = pb.ScheduleRunRequest(
        step=run_pb2.StepDefinition(action=arguments.action, retry=run_pb2.Retry(max_attempts=arguments.attempts)),
        # As text it arrives byte for byte; `input` would take it as a google.protobuf.Value.
        input_json=arguments.input,
        runs_on=arguments.runs_on,
        desired_labels=arguments.label,
        # With one of your own a call may be repeated after UNAVAILABLE, without making a second run.
        request_id=arguments.request_id,
    )
    answer = yard.ScheduleRun(request, **CALL)
    print(answer.run.run_id)
    warn(answer.warnings)
    return 0


def watch(yard: AdminServiceStub, arguments: argparse.Namespace) -> int:
    run = None
    # First the state as it is, then each change; the stream ends after the run's end.
    for event in yard.WatchRun(pb.WatchRunRequest(run_id=arguments.run_id), metadata=METADATA):
        if event.WhichOneof("event") != "changed":
            continue
        run = event.changed
        print(short(run_pb2.RunState, run.state, "RUN_STATE_"), *(describe(step) for step in run.steps), flush=True)
    if run is None or run.state != run_pb2.RUN_STATE_SUCCEEDED:
        if run is not None:
            print(f"error {run.error.reason} {run.error.type}: {run.error.message}")
        return 1
    print(f"output {run.output_json}")
    return 0


def describe(step: run_pb2.Step) -> str:
    state = short(run_pb2.StepState, step.state, "STEP_STATE_")
    worker = f" on {step.attempts[-1].worker_name}" if step.attempts else ""
    fraction = f" {step.progress_fraction:.0%}" if step.HasField("progress_fraction") else ""
    return f"[{step.name}: {state}{worker}{fraction} {step.progress_text}".rstrip() + "]"


def explain(yard: AdminServiceStub, arguments: argparse.Namespace) -> int:
    answer = yard.ExplainRun(pb.ExplainRunRequest(run_id=arguments.run_id), **CALL)
    for step in answer.steps:
        verdict = short(run_pb2.Verdict, step.explanation.verdict, "VERDICT_")
        print(f"{step.step_name}: {verdict}: {step.explanation.summary}")
        for worker in step.explanation.workers:
            failed = [f"{each.clause} {each.key}: has {each.has}, needs {each.needs}" for each in worker.failed]
            print(f"  {worker.worker_name}: {'; '.join(failed) or 'may take it'}")
    return 0


def cancel(yard: AdminServiceStub, arguments: argparse.Namespace) -> int:
    request = pb.CancelRunRequest(run_id=arguments.run_id, reason=arguments.reason)
    answer = yard.CancelRun(request, **CALL)
    print(short(run_pb2.RunState, answer.run.state, "RUN_STATE_"))
    return 0


def workers(yard: AdminServiceStub, _arguments: argparse.Namespace) -> int:
    request = pb.ListWorkersRequest()
    while True:
        page = yard.ListWorkers(request, **CALL)
        for worker in page.workers:
            state = short(worker_pb2.WorkerState, worker.state, "WORKER_STATE_")
            labels = json.dumps(dict(worker.labels), sort_keys=True)
            slots = f"{worker.slots_used}/{worker.slots}"
            print(f"{worker.name} {state} slots {slots} tags {','.join(worker.tags) or '-'} labels {labels}")
        if not page.next_page_token:
            return 0
        request.page_token = page.next_page_token


def warn(warnings: Any) -> None:
    for warning in warnings:
        print(f"warning {warning.reason}: {warning.message}", file=sys.stderr)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("register", help="a worker before it connects; its tags are fixed then")
    command.add_argument("name")
    command.add_argument("--tag", action="append", default=[])
    command.set_defaults(run=register)

    command = commands.add_parser("schedule", help="submits a run and prints its id")
    command.add_argument("action")
    command.add_argument("--input", default="null", help="JSON")
    command.add_argument("--runs-on", action="append", default=[], help="a tag the worker must have")
    command.add_argument("--label", action="append", default=[], type=condition, help="such as memory>256")
    command.add_argument("--attempts", type=int, default=1)
    command.add_argument("--request-id", default="")
    command.set_defaults(run=schedule)

    for name, run, text in (
        ("watch", watch, "follows a run until it ends"),
        ("explain", explain, "says why a run waits"),
        ("cancel", cancel, "ends a run"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("run_id")
        command.set_defaults(run=run)
    command.add_argument("--reason", default="")

    command = commands.add_parser("workers", help="lists all workers")
    command.set_defaults(run=workers)
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    address = os.environ.get("YARDMASTER_ADDRESS", "localhost:7070")
    with grpc.insecure_channel(address) as channel:
        yard = AdminServiceStub(channel)
        try:
            return arguments.run(yard, arguments)
        except grpc.RpcError as error:
            print(f"{error.code().name}: {error.details()}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
