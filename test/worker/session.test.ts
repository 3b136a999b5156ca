import { status } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { EvictionReason, ReturnReason } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { refuse } from '../../src/domain/refusal.ts';
import { statusBytes } from '../../src/server/errors.ts';
import {
  AssignmentAbortedError,
  action,
  ConnectRefusedError,
  InputInvalidError,
  NonRetryableError,
  rawJson,
  type StepContext,
} from '../../src/worker/index.ts';
import { settle } from './fake-clock.ts';
import { cut, gate, stage } from './fake-stream.ts';

const five = { seconds: 5n };
const fifteen = { seconds: 15n };

describe('a step', () => {
  test('is accepted and begun in the turn in which it arrives', async () => {
    let seen: StepContext | undefined;
    const work = (ctx: StepContext) => {
      seen = ctx;
      return gate().promise;
    };
    const { peer } = await stage({ actions: { work } });
    peer.runStep('a', {
      inputJson: '[1]',
      runInputJson: '{"x":2}',
      metadata: { k: 'v' },
      stepName: 's',
      attempt: 2,
    });
    expect(seen).toMatchObject({
      assignmentId: 'a',
      runId: 'run-a',
      action: 'work',
      stepName: 's',
      attempt: 2,
    });
    expect(seen?.input).toEqual([1]);
    expect(seen?.inputJson).toBe('[1]');
    expect(seen?.runInput).toEqual({ x: 2 });
    expect(seen?.metadata).toEqual({ k: 'v' });
    expect(seen?.device).toBeUndefined();
    expect(seen?.signal.aborted).toBe(false);
    expect(peer.waiting()).toEqual(['stepAccepted']);
  });

  test('typed handlers, devices, and outputs of every kind', async () => {
    const outputs: Record<string, unknown> = {
      none: undefined,
      text: 'x',
      raw: rawJson('{"b": 1, "a":1e400}'),
    };
    const { peer } = await stage({
      slots: 9,
      actions: {
        work: action<{ kind: string }, unknown>((ctx) => outputs[ctx.input.kind]),
        // A handler may also name its input's type itself.
        typed: (ctx: StepContext<{ n: number }>) => ctx.input.n + 1,
        gpu: async (ctx) => ({ device: ctx.device, env: ctx.deviceEnvironment }),
      },
    });
    const outputOf = async (id: string) => {
      await peer.take('stepAccepted');
      const { value } = await peer.take('stepSucceeded');
      expect(value.assignmentId).toBe(id);
      return value.outputJson;
    };
    for (const [kind, json] of [
      ['none', ''],
      ['text', '"x"'],
      ['raw', '{"b": 1, "a":1e400}'],
    ] as const) {
      peer.runStep(kind, { inputJson: JSON.stringify({ kind }) });
      expect(await outputOf(kind)).toBe(json);
    }
    peer.runStep('g', { action: 'gpu', device: { kind: 2, id: '7' } });
    expect(JSON.parse(await outputOf('g'))).toEqual({
      device: { kind: 'GPU', id: '7' },
      env: { CUDA_VISIBLE_DEVICES: '7' },
    });
  });

  test.each([
    ['an error', new TypeError('bad'), { reason: 'APPLICATION', type: 'TypeError', message: 'bad' }],
    ['a final error', new NonRetryableError('never'), { type: 'NonRetryableError', retryable: false }],
    ['no error at all', 'text\0', { type: 'Error', message: 'text\ufffd' }],
    ['nothing', undefined, { reason: 'APPLICATION', message: 'undefined' }],
  ])('that throws %s fails', async (_name, thrown, expected) => {
    const { peer } = await stage({
      actions: {
        work: () => {
          throw thrown;
        },
      },
    });
    peer.runStep('a');
    await peer.take('stepAccepted');
    const { value } = await peer.take('stepFailed');
    expect(value.error).toMatchObject(expected);
    if (thrown instanceof TypeError) {
      expect(value.error?.stack).toContain('session.test');
      expect(value.error?.retryable).toBeUndefined();
    }
  });

  test('may report its input invalid', async () => {
    const { peer } = await stage({
      actions: {
        work: async () => {
          throw new InputInvalidError('not a tar', 'fetch');
        },
      },
    });
    peer.runStep('a');
    await peer.take('stepAccepted');
    const { value } = await peer.take('inputInvalid');
    expect(value).toMatchObject({ assignmentId: 'a', stepName: 'fetch', reason: 'not a tar' });
  });

  test('with an output over the limit, or without JSON, fails as RESULT_REFUSED', async () => {
    const outputs = ['x'.repeat(100), 10n];
    const { peer } = await stage({ actions: { work: () => outputs.shift() } }, { limits: { payloadBytes: 50 } });
    peer.runStep('a');
    await peer.take('stepAccepted');
    const large = await peer.take('stepFailed');
    expect(large.value.error).toMatchObject({ reason: 'RESULT_REFUSED' });
    expect(large.value.error?.message).toMatch(/102 bytes.*payload_bytes is 50/);
    peer.acknowledge(2);
    peer.runStep('b');
    await peer.take('stepAccepted');
    expect((await peer.take('stepFailed')).value.error?.message).toMatch(/no JSON/);
  });
});

describe('giving back', () => {
  test('what it has no handler or no slot for, and what accept() will not have', async () => {
    const answers = ['STALE_LABELS', { reason: 'NOT_READY', detail: 'warming up' }, true] as const;
    let asked = 0;
    const { peer, worker } = await stage(
      {
        actions: { work: () => gate().promise },
        accept: (offer) => {
          expect(offer.labelsAreStale).toBe(offer.assignmentId === 'a');
          return answers[asked++] ?? true;
        },
      },
      { labelsRevision: 4n },
    );
    peer.runStep('x', { action: 'unknown' });
    peer.runStep('a', { labelsRevision: 3n });
    peer.runStep('b', { labelsRevision: 4n });
    peer.runStep('c', { labelsRevision: 4n });
    peer.runStep('d', { labelsRevision: 4n });
    expect((await peer.take('stepReturned')).value).toMatchObject({ reason: ReturnReason.OTHER });
    expect((await peer.take('stepReturned')).value).toMatchObject({
      reason: ReturnReason.STALE_LABELS,
    });
    expect((await peer.take('stepReturned')).value).toMatchObject({
      assignmentId: 'b',
      reason: ReturnReason.NOT_READY,
      detail: 'warming up',
    });
    await peer.take('stepAccepted');
    expect((await peer.take('stepReturned')).value).toMatchObject({
      assignmentId: 'd',
      reason: ReturnReason.NOT_READY,
      detail: '1 of 1 slots are in use',
    });
    worker.setSlots(2);
    expect((await peer.take('slotsChanged')).value.slots).toBe(2);
    peer.runStep('e', { labelsRevision: 4n });
    expect((await peer.take('stepAccepted')).value.assignmentId).toBe('e');
  });
});

describe('a step taken away', () => {
  test('by a refused acceptance: aborted, the result discarded, its end still told', async () => {
    const handler = gate();
    let reason: unknown;
    const { peer, events } = await stage({
      actions: {
        work: (ctx) => {
          ctx.signal.addEventListener('abort', () => {
            reason = ctx.signal.reason;
          });
          return handler.promise;
        },
      },
    });
    peer.runStep('a');
    peer.refuse((await peer.take('stepAccepted')).sequence, 'STALE_ASSIGNMENT');
    expect(reason).toBeInstanceOf(AssignmentAbortedError);
    expect(reason).toMatchObject({ kind: 'ACCEPT_REFUSED' });
    expect(events.map(({ type }) => type)).toEqual(expect.arrayContaining(['refused', 'step_aborted']));
    handler.open('late');
    expect((await peer.take('stepCancelled')).value.assignmentId).toBe('a');
  });

  test('by cancel_step', async () => {
    const handler = gate();
    let context: StepContext | undefined;
    const { peer } = await stage({
      actions: {
        work: (ctx) => {
          context = ctx;
          return handler.promise;
        },
      },
    });
    peer.runStep('a');
    await peer.take('stepAccepted');
    peer.send({ case: 'cancelStep', value: { assignmentId: 'a', reason: 'user' } });
    // Asked for after the fact, the signal is aborted all the same.
    expect(context?.signal.reason).toMatchObject({ kind: 'CANCELLED', message: 'user' });
    context?.log('cleaning up');
    handler.fail(context?.signal.reason);
    expect((await peer.take('stepLogged')).value.lines[0]?.text).toBe('cleaning up');
    expect((await peer.take('stepCancelled')).value.assignmentId).toBe('a');
  });

  test('that is not held is answered at once, so that its slot is free', async () => {
    const { peer } = await stage({});
    peer.send({ case: 'cancelStep', value: { assignmentId: 'ghost' } });
    expect((await peer.take('stepCancelled')).value.assignmentId).toBe('ghost');
  });

  test('whose end is already said is left alone', async () => {
    const { peer } = await stage({ actions: { work: () => 1 } });
    peer.runStep('a');
    peer.send({ case: 'cancelStep', value: { assignmentId: 'a' } });
    await settle();
    expect(peer.waiting()).toEqual(['stepAccepted', 'stepSucceeded']);
  });
});

describe('a refused result', () => {
  test('is followed by RESULT_REFUSED, once', async () => {
    const { peer } = await stage({ actions: { work: () => 1 } });
    peer.runStep('a');
    await peer.take('stepAccepted');
    peer.refuse((await peer.take('stepSucceeded')).sequence, 'PAYLOAD_TOO_LARGE');
    const followUp = await peer.take('stepFailed');
    expect(followUp.value.error).toMatchObject({ reason: 'RESULT_REFUSED' });
    expect(followUp.value.error?.message).toContain('PAYLOAD_TOO_LARGE');
    peer.refuse(followUp.sequence, 'INVALID_FIELD');
    await settle();
    expect(peer.waiting()).toEqual([]);
  });

  test('is seen before the acknowledgement that comes with it', async () => {
    const { peer } = await stage({ actions: { work: () => 1 } });
    peer.runStep('a');
    await peer.take('stepAccepted');
    await peer.take('stepSucceeded');
    const refused = { sequence: 2n, reason: 'INVALID_JSON', message: 'no' };
    peer.send({ case: 'refused', value: refused }, 2);
    expect((await peer.take('stepFailed')).value.error).toMatchObject({ reason: 'RESULT_REFUSED' });
  });

  test('of an assignment that is over is the end of it', async () => {
    const current = await stage({ actions: { work: () => 1 } });
    current.peer.runStep('a');
    await current.peer.take('stepAccepted');
    current.peer.refuse((await current.peer.take('stepSucceeded')).sequence, 'STALE_ASSIGNMENT');
    const hello = await cut(current);
    expect(hello.resume?.heldAssignmentIds).toEqual([]);
  });

  test('with retry_after is sent again, unchanged, under the next number', async () => {
    const { peer, clock } = await stage({ actions: { work: () => 1 } });
    peer.runStep('a');
    await peer.take('stepAccepted');
    const first = await peer.take('stepSucceeded');
    peer.refuse(first.sequence, 'RATE_LIMITED', 200);
    await clock.advance(199);
    expect(peer.waiting()).toEqual([]);
    await clock.advance(1);
    const second = await peer.take('stepSucceeded');
    expect(second).toEqual({ sequence: 3, value: first.value });
  });
});

describe('a cut stream', () => {
  test('is resumed: held work named, unsettled facts sent again in order under new numbers', async () => {
    const handlers: Record<string, ReturnType<typeof gate>> = { b: gate(), c: gate() };
    const current = await stage({
      slots: 3,
      actions: { work: (ctx) => handlers[ctx.assignmentId]?.promise ?? 'at once' },
    });
    for (const id of ['a', 'b', 'c']) current.peer.runStep(id);
    await settle();
    current.peer.acknowledge(1);
    handlers.b?.open('b done');
    await settle();
    const sent = current.peer.all.map(({ message, sequence }) => [message.case, Number(sequence)]);
    expect(sent).toEqual([
      ['hello', 0],
      ['stepAccepted', 1],
      ['stepSucceeded', 2],
      ['stepAccepted', 3],
      ['stepAccepted', 4],
      ['stepSucceeded', 5],
    ]);
    const hello = await cut(current);
    expect(hello.resume).toMatchObject({ sessionId: 's-1', heldAssignmentIds: ['a', 'b', 'c'] });
    const again = [];
    for (let count = 0; count < 4; count += 1) {
      const { message, sequence } = await current.peer.next();
      again.push([message.case, (message.value as { assignmentId: string }).assignmentId, Number(sequence)]);
    }
    expect(again).toEqual([
      ['stepSucceeded', 'a', 1],
      ['stepAccepted', 'b', 2],
      ['stepAccepted', 'c', 3],
      ['stepSucceeded', 'b', 4],
    ]);
    current.peer.acknowledge(4);
    handlers.c?.open(1);
    expect((await current.peer.take('stepSucceeded')).sequence).toBe(5);
    current.peer.acknowledge(5);
    expect((await cut(current)).resume?.heldAssignmentIds).toEqual([]);
  });

  test('sends nothing but hello before the welcome', async () => {
    const handler = gate();
    const current = await stage({ actions: { work: () => handler.promise } });
    current.peer.runStep('a');
    await settle();
    current.peer.end(status.UNAVAILABLE);
    handler.open(1);
    const upserted = current.worker.upsertLabels({ k: 1 });
    await current.clock.advance(1_000);
    const next = await current.peers.next();
    await current.clock.advance(5_000);
    expect(next.all.map(({ message }) => message.case)).toEqual(['hello']);
    next.welcome({ labels: { k: 1 } });
    expect((await next.take('hello')).value.labels).toEqual({ k: 1 });
    await next.take('stepAccepted');
    await next.take('stepSucceeded');
    expect(await upserted).toEqual({ k: 1 });
  });

  test('drops what somebody else has by now', async () => {
    const running = gate();
    const aborted: unknown[] = [];
    const current = await stage({
      slots: 3,
      actions: {
        work: (ctx) => {
          if (ctx.assignmentId !== 'run') return 1;
          ctx.signal.addEventListener('abort', () => aborted.push(ctx.signal.reason));
          return running.promise;
        },
      },
    });
    for (const id of ['done', 'run', 'mine']) current.peer.runStep(id);
    await settle();
    const hello = await cut(current, {
      droppedAssignmentIds: ['done', 'run'],
      keptAssignmentIds: ['mine'],
    });
    expect(hello.resume?.heldAssignmentIds).toEqual(['done', 'run', 'mine']);
    expect(aborted).toEqual([expect.objectContaining({ kind: 'DROPPED' })]);
    expect((await current.peer.take('stepAccepted')).value.assignmentId).toBe('mine');
    expect((await current.peer.take('stepSucceeded')).value.assignmentId).toBe('mine');
    // Nothing of the old facts; only that this worker is done with it, which frees the reserved slot.
    expect((await current.peer.take('stepCancelled')).value.assignmentId).toBe('done');
    running.open(1);
    expect((await current.peer.take('stepCancelled')).value.assignmentId).toBe('run');
  });

  test('backs off, doubling from 100 ms to 10 s, until a welcome', async () => {
    const { peer, clock, peers, events } = await stage({});
    peer.end(status.UNAVAILABLE, 'gone');
    for (let tries = 0; tries < 9; tries += 1) {
      await clock.advance(10_000);
      (await peers.next()).end(status.UNAVAILABLE, 'still gone');
    }
    const waits = events.flatMap((event) => (event.type === 'disconnected' ? [event.retryInMs] : []));
    expect(waits).toEqual([75, 150, 300, 600, 1_200, 2_400, 4_800, 7_500, 7_500, 7_500]);
    await clock.advance(10_000);
    const back = await peers.next();
    back.welcome();
    back.end(status.UNAVAILABLE);
    expect(events.at(-1)).toMatchObject({ type: 'disconnected', retryInMs: 75 });
  });

  test('says the newest progress again', async () => {
    let context: StepContext | undefined;
    const current = await stage({
      actions: {
        work: (ctx) => {
          context = ctx;
          return gate().promise;
        },
      },
    });
    current.peer.runStep('a');
    await current.peer.take('stepAccepted');
    current.peer.acknowledge(1);
    // Handlers take their context apart.
    const { progress } = context ?? {};
    progress?.('one');
    context?.progress({ text: 'two', fraction: 0.5, phase: 'p' });
    context?.progress({ text: 'x'.repeat(300), fraction: 7 });
    expect((await current.peer.take('stepProgressed')).value.text).toBe('one');
    await current.clock.advance(100);
    const second = await current.peer.take('stepProgressed');
    expect(second.sequence).toBe(0);
    expect(second.value).toMatchObject({ text: 'x'.repeat(255), fraction: 1 });
    await cut(current);
    expect((await current.peer.take('stepProgressed')).value.fraction).toBe(1);
  });
});

describe('heartbeats and silence', () => {
  test('beats at the interval it is told, and hangs up on a silent server', async () => {
    const { peer, clock, peers, events } = await stage({}, { heartbeatInterval: five, silenceTimeout: fifteen });
    const beats = () => peer.all.filter(({ message }) => message.case === 'heartbeat');
    await clock.advance(5_000);
    expect(beats()).toHaveLength(1);
    expect(beats()[0]?.sequence).toBe(0n);
    peer.send({ case: 'heartbeat', value: {} });
    await clock.advance(14_999);
    expect(beats()).toHaveLength(3);
    expect(peer.isGone).toBe(false);
    await clock.advance(1);
    expect(peer.isGone).toBe(true);
    expect(events.at(-1)).toMatchObject({
      type: 'disconnected',
      reason: expect.stringContaining('15000 ms'),
    });
    await clock.advance(100);
    expect((await (await peers.next()).take('hello')).value.resume?.sessionId).toBe('s-1');
  });

  test('does not take its own pause for the silence of the server', async () => {
    const { peer, clock } = await stage({}, { heartbeatInterval: five, silenceTimeout: fifteen });
    await clock.freeze(60_000);
    expect(peer.isGone).toBe(false);
    await clock.advance(5_000);
    expect(peer.isGone).toBe(true);
  });

  test('gives up a stream that brings no welcome', async () => {
    const { peer, clock, peers } = await stage({}, 'none');
    await clock.advance(10_000);
    expect(peer.isGone).toBe(true);
    await clock.advance(100);
    expect(peers.count).toBe(2);
  });
});

describe('orders of the server', () => {
  test('reconnect: works on, and resumes on a new stream after the delay', async () => {
    const handler = gate();
    const current = await stage({ actions: { work: () => handler.promise } });
    const { peer, clock, peers } = current;
    peer.runStep('a');
    await peer.take('stepAccepted');
    peer.send({ case: 'reconnect', value: { reason: 'moving', delay: { seconds: 2n } } }, 1);
    await clock.advance(1_999);
    expect(peer.isGone).toBe(false);
    handler.open(1);
    await peer.take('stepSucceeded');
    await clock.advance(1);
    expect(peer.isGone).toBe(true);
    const next = await peers.next();
    expect((await next.take('hello')).value.resume?.heldAssignmentIds).toEqual(['a']);
    next.welcome();
    expect((await next.take('stepSucceeded')).sequence).toBe(1);
  });

  test('reconnect: keeps to the delay when the stream ends before', async () => {
    const { peer, clock, peers } = await stage({});
    peer.send({ case: 'reconnect', value: { delay: { seconds: 2n } } });
    peer.end();
    await clock.advance(1_999);
    expect(peers.count).toBe(1);
    await clock.advance(1);
    expect(peers.count).toBe(2);
  });

  test('drain: goes on, stays, and takes what it is given after a resume', async () => {
    const { peer, events } = await stage({ actions: { work: () => 1 } });
    peer.send({ case: 'drain', value: { reason: 'update' } });
    expect(events.at(-1)).toEqual({ type: 'draining', reason: 'update' });
    peer.runStep('a');
    await peer.take('stepAccepted');
  });

  test.each([EvictionReason.SUPERSEDED, EvictionReason.DELETED, EvictionReason.TOKEN_REVOKED])(
    'evicted %i: stops for good',
    async (reason) => {
      let context: StepContext | undefined;
      const { peer, worker, clock, peers } = await stage({
        actions: {
          work: (ctx) => {
            context = ctx;
            return gate().promise;
          },
        },
      });
      peer.runStep('a');
      const upserted = worker.upsertLabels({ a: 1 });
      peer.send({ case: 'evicted', value: { reason, message: 'go' } });
      peer.end();
      expect(await worker.closed).toMatchObject({ kind: 'evicted', message: 'go' });
      expect(context?.signal.reason).toMatchObject({ kind: 'EVICTED' });
      await expect(upserted).rejects.toThrow('go');
      await expect(worker.upsertLabels({})).rejects.toThrow('closed');
      await clock.advance(60_000);
      expect(peers.count).toBe(1);
      await worker.stop();
      await worker.drain();
    },
  );

  test('evicted for another reason: comes back', async () => {
    const { peer, clock, peers } = await stage({});
    peer.send({ case: 'evicted', value: { reason: EvictionReason.STANDING_DOWN } });
    await clock.advance(100);
    expect((await (await peers.next()).take('hello')).value.resume?.sessionId).toBe('s-1');
  });
});

describe('connecting', () => {
  test('goes on trying when its hello came too late', async () => {
    const { worker, clock, peers, peer } = await stage({}, 'none');
    await peer.take('hello');
    const late = refuse('HELLO_EXPECTED', 'no hello came within 5000 ms');
    peer.end(status.INVALID_ARGUMENT, late.message, statusBytes(late));
    await clock.advance(1_000);
    const next = await peers.next();
    await next.take('hello');
    next.welcome();
    await worker.start();
  });

  test.each([status.INVALID_ARGUMENT, status.NOT_FOUND, status.FAILED_PRECONDITION, status.UNAUTHENTICATED])(
    'is refused for good with status %i',
    async (code) => {
      const { peer, worker } = await stage({}, 'none');
      peer.end(code, 'not you');
      await expect(worker.start()).rejects.toMatchObject({
        name: 'ConnectRefusedError',
        code: status[code],
        message: 'not you',
      });
      expect(await worker.closed).toMatchObject({
        kind: 'failed',
        error: expect.any(ConnectRefusedError),
      });
    },
  );

  test('keeps trying through everything else', async () => {
    const { peer, worker, clock, peers } = await stage({}, 'none');
    peer.end(status.UNAVAILABLE);
    await clock.advance(1_000);
    (await peers.next()).end(status.INTERNAL);
    await clock.advance(1_000);
    const third = await peers.next();
    third.welcome();
    await worker.start();
    // After a welcome even a permanent code says something about the stream, not about the worker.
    third.end(status.INVALID_ARGUMENT);
    await clock.advance(1_000);
    expect(peers.count).toBe(4);
  });

  test('says who it is and what it can do', async () => {
    const { peer } = await stage(
      {
        name: 'two',
        workerId: 'w-9',
        tags: ['a'],
        nickname: 'nick',
        devices: { gpus: '0,   ,1 , 2  ,2 , 4', cpuSlots: 3 },
        actions: { x: () => 1, y: () => 2 },
      },
      'none',
    );
    const { value } = await peer.take('hello');
    expect(value).toMatchObject({
      workerId: 'w-9',
      name: 'two',
      tags: ['a'],
      nickname: 'nick',
      slots: 7,
      actions: ['x', 'y'],
      devices: { gpuIds: ['0', '1', '2', '4'], cpuSlots: 3 },
      sdk: { name: 'yardmaster', language: 'typescript' },
    });
    expect(value.labels).toBeUndefined();
    expect(value.resume).toBeUndefined();
  });
});

describe('ending', () => {
  test('drain offers no slot, returns what crosses, and waits for what runs to be settled', async () => {
    const handler = gate();
    const current = await stage({ slots: 2, actions: { work: () => handler.promise } });
    const { peer, worker } = current;
    peer.runStep('a');
    await peer.take('stepAccepted');
    let drained = false;
    const draining = worker.drain().then(() => {
      drained = true;
    });
    expect((await peer.take('slotsChanged')).value.slots).toBe(0);
    peer.runStep('b');
    expect((await peer.take('stepReturned')).value).toMatchObject({
      assignmentId: 'b',
      reason: ReturnReason.SHUTTING_DOWN,
    });
    handler.open(1);
    await peer.take('stepSucceeded');
    await settle();
    expect(drained).toBe(false);
    peer.acknowledge(4);
    await draining;
    const hello = await cut(current);
    expect(hello.slots).toBe(2);
    expect((await current.peer.take('slotsChanged')).value.slots).toBe(0);
  });

  test('stop waits, aborts after the grace, says goodbye, and is closed', async () => {
    let reason: unknown;
    const { peer, worker, clock } = await stage({
      actions: {
        work: (ctx) =>
          new Promise((_, reject) => {
            ctx.signal.addEventListener('abort', () => {
              reason = ctx.signal.reason;
              reject(ctx.signal.reason);
            });
          }),
      },
    });
    peer.runStep('a');
    const stopped = worker.stop({ reason: 'deploy', graceMs: 2_000 });
    await clock.advance(1_999);
    expect(reason).toBeUndefined();
    await clock.advance(1);
    expect(reason).toMatchObject({ kind: 'STOPPED', message: 'deploy' });
    await peer.take('stepAccepted');
    await peer.take('slotsChanged');
    // The aborted step is given back by the goodbye itself.
    expect((await peer.take('goodbye')).value.reason).toBe('deploy');
    await peer.gone;
    peer.end();
    await stopped;
    expect(await worker.closed).toEqual({ kind: 'stopped' });
    await expect(worker.start()).resolves.toBeUndefined();
  });

  test('stop delivers a result before it says goodbye, over a new stream if need be', async () => {
    const handler = gate();
    const current = await stage({ actions: { work: () => handler.promise } });
    current.peer.runStep('a');
    const stopped = current.worker.stop();
    handler.open(1);
    await settle();
    await cut(current);
    await current.peer.take('stepAccepted');
    await current.peer.take('stepSucceeded');
    await current.peer.take('slotsChanged');
    current.peer.acknowledge(2);
    await current.peer.take('goodbye');
    await current.peer.gone;
    current.peer.end();
    await stopped;
  });

  test('stop does not wait for ever for a server that is away', async () => {
    const { peer, worker, clock } = await stage({ actions: { work: () => 1 } });
    peer.runStep('a');
    peer.end(status.UNAVAILABLE);
    const stopped = worker.stop();
    await clock.advance(7_000);
    await stopped;
    await worker.stop();
  });

  test('stop before the first welcome rejects start', async () => {
    const { worker, clock } = await stage({}, 'none');
    const stopped = worker.stop();
    await clock.advance(2_000);
    await stopped;
    await expect(worker.start()).rejects.toThrow('stopped');
  });
});
