"""A worker's side of yardmaster.v1.WorkerService/Connect, over as many streams as it takes.

Copy this file. It knows nothing of your work: give `Worker` a handler for each action and call `run()`.

How it is built: whatever has to be told to the server is a *fact*. Facts go into one list, the outbox, and stay there
until the server has acknowledged or refused them, so a broken stream loses nothing: the next one starts with all that
is left. One thread writes what the outbox holds, one reads orders, and each step runs in a thread of its own, so that
a handler which blocks or computes never holds up a heartbeat. Everything shared is guarded by one lock.
"""

from __future__ import annotations

import json
import platform
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from yardmaster.v1 import worker_service_pb2 as pb
from yardmaster.v1.run_pb2 import StepError
from yardmaster.v1.worker_pb2 import Sdk
from yardmaster.v1.worker_service_pb2_grpc import WorkerServiceStub

# With these the server refuses a hello for what it says, and would refuse it again.
PERMANENT = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAUTHENTICATED,
}
# After these the identity is somebody else's, or gone: coming back would only take it away again.
FINAL_EVICTIONS = {
    pb.EVICTION_REASON_SUPERSEDED,
    pb.EVICTION_REASON_DELETED,
    pb.EVICTION_REASON_TOKEN_REVOKED,
}
LABELS, SLOTS = "labels", "slots"
# The facts that end an assignment.
ENDS = {"step_succeeded", "step_failed", "step_cancelled", "step_returned"}

RECONNECT_SECONDS_FIRST = 0.1
RECONNECT_SECONDS_MAX = 10.0
# A stream without a welcome after this long is given up; then Welcome.silence_timeout counts.
WELCOME_SECONDS_MAX = 10.0
# After goodbye the server ends the stream, within a second.
GOODBYE_SECONDS_MAX = 3.0
# Handlers that log faster than the server takes it wait when so many facts are unsettled: memory has an end.
UNSETTLED_FACTS_MAX = 1000
# What is told of an error, so that no stack trace outgrows a message.
ERROR_CHARACTERS_MAX = 8000

CHANNEL_OPTIONS = [
    # A new channel must not be handed the half-dead connection of the last one.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
]

Handler = Callable[["Step"], Any]


class Cancelled(Exception):
    """Raised by Step.check() when the step is not wanted any more."""


class PermanentError(Exception):
    """Raise it from a handler when trying again would be no use, whatever the step's retry says."""


class Rejected(Exception):
    """The server refused hello, or ended the session, for good: coming back would be no use."""


class Step:
    """One assignment, as its handler sees it. Its methods may be called from any thread."""

    def __init__(self, worker: Worker, order: pb.RunStep) -> None:
        self.worker = worker
        self.order = order  # run_id, action, attempt, metadata, device, …
        self.input = json.loads(order.input_json or "null")
        self.cancelled = threading.Event()
        self._ended = False  # The handler has returned.
        self._void = False  # The server listens to nothing more about it but that it is over.
        self._lines = 0

    def log(self, text: str, level: int = pb.LOG_LEVEL_INFO) -> None:
        self.worker._log(self, text, level)

    def progress(self, text: str = "", fraction: float | None = None, phase: str = "") -> None:
        self.worker._progress(self, text, fraction, phase)

    def check(self) -> None:
        """Call it now and then in long work: a cancel reaches only handlers that look."""
        if self.cancelled.is_set():
            raise Cancelled()


@dataclass(eq=False)
class _Fact:
    kind: str  # Name of the field in ConnectRequest.
    message: Any
    about: str  # Its assignment's id, else LABELS or SLOTS: facts about one thing keep their order.
    sequence: int = 0  # Its number on the stream that is open now; 0: not sent on it.
    not_before: float = 0.0  # Seconds of time.monotonic().


@dataclass(eq=False)
class _Stream:
    call: grpc.Call | None = None
    welcomed: bool = False
    closed: bool = False
    said_goodbye: bool = False
    sequence: int = 0
    silence_seconds: float = WELCOME_SECONDS_MAX
    heard_at: float = field(default_factory=time.monotonic)
    heartbeat_seconds: float = 0.0
    heartbeat_at: float = 0.0
    next_line_at: float = 0.0


class Worker:
    """One worker by name. `run()` serves until `stop()`; `handlers` maps each action to what does it."""

    def __init__(
        self,
        address: str,
        name: str,
        handlers: Mapping[str, Handler],
        *,
        tags: Sequence[str] = (),
        labels: Mapping[str, str | float] | None = None,
        slots: int = 1,
        token: str = "",
        namespace: str = "",
        stop_seconds: float = 30.0,
        say: Callable[[str], None] = print,
    ) -> None:
        self._address = address
        self._name = name
        self._handlers = handlers
        self._tags = tags
        self._labels = labels
        self._slots = slots
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        self._metadata += [("yardmaster-namespace", namespace)] if namespace else []
        self._stop_seconds = stop_seconds
        self._say = say

        # Guards all that follows; notified whenever there may be something to write or nothing more to wait for.
        self._changed = threading.Condition()
        self._session_id = ""
        self._limits = pb.Limits()
        self._outbox: list[_Fact] = []
        self._held: dict[str, Step] = {}  # Every assignment whose end is not yet settled.
        self._running = 0  # Handlers that have not ended, those of void assignments included.
        self._stopping = False
        self._told_no_slots = False
        self._stop_at = 0.0
        self._evicted = ""
        self._reconnect_at = 0.0

    def run(self) -> None:
        """Serves until stop(). Raises Rejected."""
        failures = 0
        while not self._is_over():
            stream = _Stream()
            try:
                self._serve(stream)
                reason = "the server ended the stream"
            except grpc.RpcError as error:
                reason = f"{error.code().name}: {error.details()}"
                if error.code() in PERMANENT and not stream.welcomed:
                    raise Rejected(reason) from error
            finally:
                self._disconnected(stream)
            if self._evicted:
                raise Rejected(self._evicted)
            if stream.said_goodbye:
                return
            failures = 0 if stream.welcomed else failures + 1
            self._say(f"disconnected: {reason}")
            self._wait_to_reconnect(failures)

    def stop(self) -> None:
        """Takes nothing new, lets what runs finish, says goodbye; run() returns then. A signal handler may call it."""
        # Only flags: a signal handler interrupts the main thread anywhere, also in the middle of a change.
        with self._changed:
            if not self._stopping:
                self._stop_at = time.monotonic() + self._stop_seconds
                self._stopping = True
            self._changed.notify_all()

    def upsert_labels(self, labels: Mapping[str, str | float | None]) -> None:
        """Merges into the worker's labels, None removes one; waiting work is matched anew. Returns at once."""
        message = pb.UpsertLabels()
        message.labels.update(labels)
        with self._changed:
            self._tell("upsert_labels", message, LABELS)

    # One stream.

    def _serve(self, stream: _Stream) -> None:
        with grpc.insecure_channel(self._address, options=CHANNEL_OPTIONS) as channel:
            stream.call = WorkerServiceStub(channel).Connect(self._requests(stream), metadata=self._metadata)
            for response in stream.call:
                with self._changed:
                    stream.heard_at = time.monotonic()
                    self._received(stream, response)
                    # After the message: a refusal may come with the acknowledgement that covers it.
                    self._settle(response.acknowledged)
                    self._changed.notify_all()

    def _requests(self, stream: _Stream) -> Iterator[pb.ConnectRequest]:
        """All this worker writes on one stream; gRPC runs it in a thread. Nothing is yielded under the lock."""
        yield self._hello()
        while True:
            with self._changed:
                request = None
                while request is None:
                    if stream.closed:
                        return
                    request, wait_until = self._next(stream)
                    if request is None:
                        self._changed.wait(max(0.0, wait_until - time.monotonic()))
            yield request
            if stream.said_goodbye:
                break
        with self._changed:
            self._changed.wait_for(lambda: stream.closed, GOODBYE_SECONDS_MAX)
        stream.call.cancel()

    def _hello(self) -> pb.ConnectRequest:
        with self._changed:
            hello = pb.Hello(
                name=self._name,
                tags=self._tags,
                actions=list(self._handlers),
                slots=0 if self._stopping else self._slots,
                sdk=Sdk(name="yardmaster-example-python", language=f"python {platform.python_version()}"),
            )
            self._told_no_slots = self._stopping
            if self._session_id:
                # Without it this would be a new process: all that was accepted would be lost at once.
                hello.resume.session_id = self._session_id
                hello.resume.held_assignment_ids.extend(self._held)
            elif self._labels is not None:
                # Labels replace the stored set, so only a new process states them. Later the stored set is right, but
                # for upserts nobody has acknowledged; they are in the outbox, and merging one twice changes nothing.
                hello.labels.update(self._labels)
            return pb.ConnectRequest(hello=hello)

    def _next(self, stream: _Stream) -> tuple[pb.ConnectRequest | None, float]:
        """What to write now, or None and the time at which to ask again."""
        now = time.monotonic()
        if now >= stream.heard_at + stream.silence_seconds:
            stream.call.cancel()  # The connection is dead, whatever its socket says.
            stream.closed = True
            return None, now
        wait_until = stream.heard_at + stream.silence_seconds
        if not stream.welcomed:
            return None, wait_until  # Nothing may be sent before the welcome.
        if now >= stream.heartbeat_at:
            stream.heartbeat_at = now + stream.heartbeat_seconds
            heartbeat = pb.WorkerHeartbeat()
            heartbeat.send_time.GetCurrentTime()
            return pb.ConnectRequest(heartbeat=heartbeat), now
        wait_until = min(wait_until, stream.heartbeat_at)
        if self._stopping:
            if not self._told_no_slots:
                self._told_no_slots = True
                self._tell("slots_changed", pb.SlotsChanged(slots=0), SLOTS)
            if now >= self._stop_at or not (self._held or self._outbox):
                stream.said_goodbye = True
                return pb.ConnectRequest(goodbye=pb.Goodbye(reason="stopped")), now
            wait_until = min(wait_until, self._stop_at)
        return self._next_fact(stream, now, wait_until)

    def _next_fact(self, stream: _Stream, now: float, wait_until: float) -> tuple[pb.ConnectRequest | None, float]:
        waiting = set()
        for fact in self._outbox:
            if fact.sequence:
                if fact.about == LABELS:
                    waiting.add(LABELS)  # One at a time: should it have to be sent again, a newer one must come after.
                continue
            ready_at = fact.not_before
            if fact.kind == "step_logged":
                ready_at = max(ready_at, stream.next_line_at)
            if fact.about in waiting:
                continue
            if ready_at <= now:
                return self._write(stream, fact, now), now
            waiting.add(fact.about)
            wait_until = min(wait_until, ready_at)
        return None, wait_until

    def _write(self, stream: _Stream, fact: _Fact, now: float) -> pb.ConnectRequest:
        if fact.kind == "step_progressed":
            self._outbox.remove(fact)  # Number 0: never acknowledged, never sent again.
            return pb.ConnectRequest(step_progressed=fact.message)
        if fact.kind == "step_logged":
            # Evenly spread, the lines never break the limit; a refused line would arrive too late, or never.
            stream.next_line_at = now + 1 / (self._limits.log_lines_per_second or 1000)
        stream.sequence += 1
        fact.sequence = stream.sequence
        return pb.ConnectRequest(sequence=fact.sequence, **{fact.kind: fact.message})

    def _disconnected(self, stream: _Stream) -> None:
        with self._changed:
            stream.closed = True
            # The next hello says the slots. All other facts go out again, oldest first, with new numbers.
            self._outbox = [fact for fact in self._outbox if fact.about != SLOTS]
            for fact in self._outbox:
                fact.sequence = 0
            if self._evicted or stream.said_goodbye:
                for step in self._held.values():
                    step.cancelled.set()
            self._changed.notify_all()

    def _wait_to_reconnect(self, failures: int) -> None:
        # Half of it by chance, so that a thousand workers do not come back at the same moment.
        longest = min(RECONNECT_SECONDS_MAX, RECONNECT_SECONDS_FIRST * 2**failures)
        at = max(self._reconnect_at, time.monotonic() + longest * random.uniform(0.5, 1))
        with self._changed:
            self._changed.wait_for(self._is_over, max(0.0, at - time.monotonic()))

    def _is_over(self) -> bool:
        """Stopping, and nothing is left to be told to a server that is away."""
        return self._stopping and (not self._held or time.monotonic() >= self._stop_at)

    # What the server says. All of it under the lock.

    def _received(self, stream: _Stream, response: pb.ConnectResponse) -> None:
        kind = response.WhichOneof("message")
        if kind == "welcome":
            self._welcomed(stream, response.welcome)
        elif kind == "run_step":
            self._run_step(response.run_step)
        elif kind == "cancel_step":
            step = self._held.get(response.cancel_step.assignment_id)
            if step:
                step.cancelled.set()  # Its end is told when the handler has ended: the slot is in use until then.
        elif kind == "refused":
            self._refused(response.refused)
        elif kind == "drain":
            self._say(f"draining: {response.drain.reason}")  # The server gives nothing new by itself.
        elif kind == "reconnect":
            # The server is about to end this stream; it serves until then.
            self._reconnect_at = time.monotonic() + response.reconnect.delay.ToTimedelta().total_seconds()
        elif kind == "evicted":
            reason = response.evicted.reason
            if reason in FINAL_EVICTIONS:
                self._evicted = f"{pb.EvictionReason.Name(reason)}: {response.evicted.message}"
        # A heartbeat has done its work by arriving; orders of a newer server are ignored.

    def _welcomed(self, stream: _Stream, welcome: pb.Welcome) -> None:
        stream.welcomed = True
        stream.silence_seconds = welcome.silence_timeout.ToTimedelta().total_seconds()
        stream.heartbeat_seconds = welcome.heartbeat_interval.ToTimedelta().total_seconds()
        stream.heartbeat_at = time.monotonic() + stream.heartbeat_seconds
        self._limits = welcome.limits
        self._say(f"{'resumed' if self._session_id else 'connected'} as {welcome.name}")
        self._session_id = welcome.session_id
        for assignment_id in welcome.dropped_assignment_ids:
            self._drop(assignment_id)

    def _run_step(self, order: pb.RunStep) -> None:
        if order.assignment_id in self._held:
            return
        step = Step(self, order)
        self._held[order.assignment_id] = step
        objection = self._objection(order)
        if objection:
            step._ended = True
            self._tell_about(step, "step_returned", objection)
            return
        # Accepted first, and at once: the server waits only for Welcome.accept_timeout.
        self._tell_about(step, "step_accepted", pb.StepAccepted())
        self._running += 1
        threading.Thread(target=self._handle, args=(step,), daemon=True).start()

    def _objection(self, order: pb.RunStep) -> pb.StepReturned | None:
        if self._stopping:
            return pb.StepReturned(reason=pb.RETURN_REASON_SHUTTING_DOWN)
        if order.action not in self._handlers:
            return pb.StepReturned(reason=pb.RETURN_REASON_OTHER, detail=f"no handler for {order.action}")
        if self._running >= self._slots:
            return pb.StepReturned(reason=pb.RETURN_REASON_NOT_READY, detail="all slots are in use")
        return None

    def _settle(self, acknowledged: int) -> None:
        """Every number up to this one is committed or refused; what was refused has left the outbox before."""
        settled = [fact for fact in self._outbox if 0 < fact.sequence <= acknowledged]
        if not settled:
            return
        self._outbox = [fact for fact in self._outbox if not 0 < fact.sequence <= acknowledged]
        for fact in settled:
            if fact.kind in ENDS:
                self._held.pop(fact.about, None)

    def _refused(self, refused: pb.Refused) -> None:
        fact = next((fact for fact in self._outbox if fact.sequence and fact.sequence == refused.sequence), None)
        if fact is None:
            return  # About progress, which carries no number.
        if refused.HasField("retry_after"):
            fact.sequence = 0
            fact.not_before = time.monotonic() + refused.retry_after.ToTimedelta().total_seconds()
            return
        self._outbox.remove(fact)
        self._say(f"refused: {fact.kind}: {refused.reason}: {refused.message}")
        step = self._held.get(fact.about)
        if step is None:
            return
        if fact.kind in ENDS and (refused.reason == "STALE_ASSIGNMENT" or fact.kind == "step_failed"):
            del self._held[fact.about]
        elif refused.reason == "STALE_ASSIGNMENT":
            self._drop(fact.about)
        elif fact.kind in ENDS:
            # The step is still RUNNING there, and must end some other way.
            error = StepError(reason="RESULT_REFUSED", message=refused.message)
            self._tell_about(step, "step_failed", pb.StepFailed(error=error))

    def _drop(self, assignment_id: str) -> None:
        """It is somebody else's by now. The slot stays reserved here until this worker says that it is done with it."""
        step = self._held.get(assignment_id)
        if step is None:
            return
        step._void = True
        step.cancelled.set()
        self._outbox = [fact for fact in self._outbox if fact.about != assignment_id]
        if step._ended:
            self._tell_about(step, "step_cancelled", pb.StepCancelled())

    # What handlers say.

    def _handle(self, step: Step) -> None:
        kind, message = self._outcome(step)
        with self._changed:
            self._running -= 1
            step._ended = True
            if step.cancelled.is_set():
                kind, message = "step_cancelled", pb.StepCancelled()
            self._tell_about(step, kind, message)

    def _outcome(self, step: Step) -> tuple[str, Any]:
        try:
            output = json.dumps(self._handlers[step.order.action](step), allow_nan=False)
            most = self._limits.payload_bytes
            if most and len(output.encode()) > most:
                # Beyond the transport's own limit it would end every stream it is sent on.
                raise PermanentError(f"the output has {len(output)} characters; the limit is {most} bytes")
            return "step_succeeded", pb.StepSucceeded(output_json=output)
        except BaseException as thrown:  # Also of sys.exit(): however a handler ends, the step must.
            error = StepError(
                reason="APPLICATION",
                type=type(thrown).__name__,
                message=str(thrown)[:ERROR_CHARACTERS_MAX],
                stack=traceback.format_exc()[-ERROR_CHARACTERS_MAX:],
                retryable=not isinstance(thrown, PermanentError),
            )
            return "step_failed", pb.StepFailed(error=error)

    def _log(self, step: Step, text: str, level: int) -> None:
        line = pb.LogLine(text=text, level=level)
        line.time.GetCurrentTime()
        with self._changed:
            self._changed.wait_for(lambda: step.cancelled.is_set() or len(self._outbox) < UNSETTLED_FACTS_MAX)
            if step._ended or step._void:
                return
            # Numbered without gaps; the server knows a line again that it had before the stream broke.
            step._lines += 1
            self._tell_about(step, "step_logged", pb.StepLogged(first_line_number=step._lines, lines=[line]))

    def _progress(self, step: Step, text: str, fraction: float | None, phase: str) -> None:
        most = self._limits.progress_text_characters or 255
        message = pb.StepProgressed(text=text[:most], fraction=fraction, phase=phase[:most])
        with self._changed:
            if step._ended or step._void:
                return
            # The last one wins: what has not left yet need not leave any more.
            about = step.order.assignment_id
            self._outbox = [each for each in self._outbox if (each.kind, each.about) != ("step_progressed", about)]
            self._tell_about(step, "step_progressed", message)

    def _tell_about(self, step: Step, kind: str, message: Any) -> None:
        message.assignment_id = step.order.assignment_id
        self._tell(kind, message, step.order.assignment_id)

    def _tell(self, kind: str, message: Any, about: str) -> None:
        self._outbox.append(_Fact(kind, message, about))
        self._changed.notify_all()
