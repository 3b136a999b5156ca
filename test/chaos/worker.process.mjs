// A worker of the SDK, as built, in a process of its own. It keeps a journal that outlives it: what it entered, what it
// finished with, and what it was told about that. What it was told is read off its stream, beneath the SDK.
import { fdatasyncSync, openSync, writeSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { systemClock } from '../../dist/src/lib/clock.js';
import { systemIds } from '../../dist/src/lib/random.js';
import { grpcStreams } from '../../dist/src/worker/connection.js';
import { createWorker, rawJson } from '../../dist/src/worker/index.js';
import { createWorkerOn } from '../../dist/src/worker/worker.js';

const { address, name, labels, slots, thread, journal } = JSON.parse(process.env.CHAOS_WORKER ?? '{}');
const STOP_GRACE_MS = 10_000;
const file = openSync(journal, 'a');

function note(line) {
  writeSync(file, `${JSON.stringify(line)}\n`);
}

/** What the check relies on is on the disk before it happens. */
function noteFirst(line) {
  note(line);
  fdatasyncSync(file);
}

/** A step of any kind: says its lines, takes its time, and gives back who it was and what it was given. */
async function work(context) {
  const { assignmentId, runId, stepName, attempt, input, runInput } = context;
  noteFirst({ kind: 'entered', assignmentId, runId, stepName, attempt });
  const { workMs, lines } = runInput;
  for (let line = 1; line <= lines; line++) context.log(`line ${line}`);
  await wait(workMs);
  const output = JSON.stringify({ assignmentId, worker: name, from: input.assignmentId ?? null });
  noteFirst({ kind: 'finished', assignmentId, lines, output });
  return rawJson(output);
}

async function failFirst(context) {
  const { assignmentId, runId, stepName, attempt } = context;
  if (attempt > 1) return work(context);
  noteFirst({ kind: 'entered', assignmentId, runId, stepName, attempt });
  noteFirst({ kind: 'failed', assignmentId });
  throw new Error('the first attempt fails');
}

function onEvent(event) {
  if (event.type === 'refused' || event.type === 'step_aborted' || event.type === 'evicted') {
    note({ ...event, kind: event.type });
  }
}

/** The stream of the SDK; on its way through it is noted which facts were settled, and not refused. */
function watched(openStream) {
  return (listener) => {
    const sent = new Map();
    const stream = openStream({
      ...listener,
      received(response) {
        const { message, acknowledged } = response;
        if (message.case === 'refused') sent.delete(message.value.sequence);
        for (const [sequence, fact] of sent) {
          if (sequence > acknowledged) break;
          sent.delete(sequence);
          note({ kind: 'settled', ...fact });
        }
        listener.received(response);
      },
    });
    return {
      ...stream,
      write(request) {
        const { sequence, message } = request;
        if (message.case === 'stepSucceeded' || message.case === 'stepFailed') {
          sent.set(sequence, { fact: message.case, assignmentId: message.value.assignmentId });
        }
        stream.write(request);
      },
    };
  };
}

const actions = { work, fail_first: failFirst };
const options = { address, name, labels, slots, thread, actions, onEvent };
const target = { address, tls: false, token: '', namespace: '' };
const worker = thread
  ? createWorker(options)
  : createWorkerOn(options, {
      clock: systemClock(),
      fraction: systemIds().fraction,
      openStream: watched(grpcStreams(target)),
    });

// The last line of the process before may be torn.
writeSync(file, '\n');
note({ kind: 'began', pid: process.pid });
const stop = () => void worker.stop({ graceMs: STOP_GRACE_MS });
process.on('SIGTERM', stop);
// Whoever started it is gone: so is the reason to be here.
process.on('disconnect', () => process.exit(1));
worker.start().catch(() => {});
const end = await worker.closed;
noteFirst({ kind: 'ended', how: end.kind, reason: end.reason ?? end.error?.message ?? '' });
process.exit(end.kind === 'stopped' ? 0 : 1);
