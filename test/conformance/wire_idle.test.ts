/** V7, V8: streams that are idle, silent, half open, or left. */
import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { EvictionReason } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { createWorker, type Worker, type WorkerEvent, type WorkerOptions } from '../../src/worker/index.ts';
import { unique, until, useYard } from '../support/conformance.ts';
import { startStreamProxy } from '../support/stream_proxy.ts';

const yard = useYard();
const BEAT_MS = 300;
const SILENCE_MS = 3 * BEAT_MS;
// As the defaults, sixteen times faster.
const quick = useYard({
  times: { heartbeatIntervalMs: BEAT_MS, silenceTimeoutMs: SILENCE_MS, reconnectGraceMs: 8_000 },
});

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function proxied(silentMsMax = 0) {
  const proxy = await startStreamProxy({ port: Number(quick.address.split(':')[1]), silentMsMax });
  closers.push(proxy.close);
  return proxy;
}

async function sdk(options: WorkerOptions): Promise<{ worker: Worker; events: WorkerEvent[] }> {
  const events: WorkerEvent[] = [];
  const worker = createWorker({ name: unique('idle'), onEvent: (event) => events.push(event), ...options });
  closers.push(() => worker.stop({ graceMs: 0 }));
  await worker.start();
  return { worker, events };
}

const kinds = (events: readonly WorkerEvent[]) => events.map(({ type }) => type);

describe('V7 an idle stream', () => {
  it('lives for as long as its worker beats, and has the next work at once', async () => {
    const action = unique('idle');
    const worker = await quick.connect({ actions: [action] });
    for (let beats = 0; beats < 4; beats++) {
      await worker.heartbeat();
      // Time is what passes here.
      await new Promise((resolve) => setTimeout(resolve, BEAT_MS));
    }
    expect(worker.received.map(({ message }) => message.case)).toEqual(['welcome', ...Array(4).fill('heartbeat')]);
    expect(worker.isEnded).toBe(false);
    await quick.submit({ action });
    await worker.work();
  });

  it('without a word is given up after the silence limit: SILENT, and it may come back', async () => {
    const worker = await quick.connect();
    const connectedMs = performance.now();
    expect(await worker.next('evicted')).toMatchObject({ reason: EvictionReason.SILENT });
    expect(performance.now() - connectedMs).toBeGreaterThanOrEqual(SILENCE_MS - 50);
    expect(await worker.ended).toMatchObject({ code: status.OK });
  });

  it('of the SDK lives through a proxy that cuts what is silent for four beats', async () => {
    const proxy = await proxied(4 * BEAT_MS);
    const action = unique('idle');
    const { events } = await sdk({ address: proxy.address, actions: { [action]: () => 'done' } });
    // Twice the time after which the proxy would cut.
    await new Promise((resolve) => setTimeout(resolve, 8 * BEAT_MS));
    expect(kinds(events)).toEqual(['connected']);
    expect(proxy.connections()).toBe(1);
    const runId = await quick.submit({ action });
    await until(async () => (await quick.runState(runId)) === 'SUCCEEDED', 'it was done');
  });
});

describe('a half-open stream', () => {
  it('is noticed on both sides within the silence limit; the worker says so, comes back and goes on', async () => {
    const proxy = await proxied();
    const action = unique('half open');
    let finish: (value: string) => void = () => {};
    const { worker, events } = await sdk({
      address: proxy.address,
      actions: {
        [action]: () =>
          new Promise<string>((resolve) => {
            finish = resolve;
          }),
      },
    });
    const runId = await quick.submit({ action });
    await until(async () => (await quick.stepState(runId)) === 'RUNNING', 'it runs');
    expect(worker.health).toMatchObject({ connected: true });

    proxy.blackHole();
    const lostMs = performance.now();
    await until(async () => (await quick.worker(worker.id)).notReadyReason === 'DISCONNECTED', 'the server noticed');
    await until(async () => kinds(events).includes('disconnected'), 'the worker noticed');
    // A beat may have been on its way, and a busy machine is late.
    expect(performance.now() - lostMs).toBeLessThan(SILENCE_MS + 2_000);
    expect(events.find(({ type }) => type === 'disconnected')).toMatchObject({
      reason: expect.stringContaining('no message from the server'),
    });

    await until(async () => kinds(events).filter((kind) => kind === 'connected').length === 2, 'it came back');
    expect(worker.health).toMatchObject({ connected: true });
    finish('once');
    await until(async () => (await quick.runState(runId)) === 'SUCCEEDED', 'it was done');
    expect((await quick.step(runId)).attempts).toHaveLength(1);
    // The stream that was lost is fenced by the newer one of the same process, which is no reason to stop.
    expect(kinds(events)).not.toContain('evicted');
  });

  it('without a server to come back to, its health says since when and why', async () => {
    const proxy = await proxied();
    const { worker } = await sdk({ address: proxy.address, actions: {} });
    await proxy.close();
    await until(async () => !worker.health.connected, 'the worker noticed');
    expect(worker.health).toMatchObject({ connected: false, reason: expect.stringContaining('UNAVAILABLE') });
    expect(worker.health.sinceMs).toBeLessThanOrEqual(Date.now() + 1);
  });
});

describe('V8 after a goodbye', () => {
  it('messages are discarded, and the stream ends within a second', async () => {
    const action = unique('left');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action });
    const offer = await worker.take();
    await worker.settled(worker.sequence);
    const saidMs = performance.now();
    worker.send({ case: 'goodbye', value: {} });
    // Neither taken, nor a breach of the grammar.
    worker.succeed(offer, 'too late');
    worker.sendAs(99, { case: 'stepFailed', value: { assignmentId: offer.assignmentId } });
    worker.send({ case: 'hello', value: {} });
    expect(await worker.ended).toMatchObject({ code: status.OK });
    expect(performance.now() - saidMs).toBeLessThan(1_000);
    expect(worker.unread('refused')).toEqual([]);
    expect(await yard.runState(runId)).not.toBe('SUCCEEDED');
    const next = await yard.connect({ actions: [action] });
    await next.work('in time');
    expect(await yard.run(runId)).toMatchObject({ outputJson: '"in time"' });
  });
});
