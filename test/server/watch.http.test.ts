/** Watches by the HTTP listener, in every protocol, and the end of the server under them on both listeners. */
import { Code } from '@connectrpc/connect';
import { Client, credentials, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AdminService } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { RunState } from '../../gen/yardmaster/v1/run_pb.ts';
import { DEFAULT_HTTP_LIMITS } from '../../src/server/http/limits.ts';
import { createWorker, type Worker } from '../../src/worker/index.ts';
import { runOf, unique } from '../support/conformance.ts';
import { adminBy, failureBy, type HttpYard, startHttpYard, WAYS } from '../support/http_yard.ts';
import { until } from '../support/until.ts';
import { Watching } from '../support/watching.ts';

const IDLE_MS = 300;
let yard: HttpYard;
const workers: Worker[] = [];
beforeAll(async () => {
  // Shorter than the silence of a watch.
  const httpLimits = {
    ...DEFAULT_HTTP_LIMITS,
    idleMs: IDLE_MS,
    requestMs: IDLE_MS,
    headersMs: IDLE_MS,
    pingMs: IDLE_MS,
  };
  yard = await startHttpYard({ httpLimits });
});
afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.stop({ graceMs: 0 })));
  await yard.stop();
});

async function serve(action: string, handler: () => unknown): Promise<void> {
  const worker = createWorker({
    address: `127.0.0.1:${yard.server.grpcPort}`,
    name: unique('worker'),
    actions: { [action]: handler },
  });
  workers.push(worker);
  await worker.start();
}

describe.each(Object.keys(WAYS))('by %s', (way) => {
  const admin = () => adminBy(way, yard.url);

  it('a run is watched and its log tailed to the end, over a silence as well', async () => {
    const action = unique('quiet');
    const { run } = await admin().scheduleRun(runOf({ action }));
    const runId = run?.runId ?? '';
    const states: RunState[] = [];
    const watching = (async () => {
      for await (const { event } of admin().watchRun({ runId }))
        if (event.case === 'changed') states.push(event.value.state);
    })();
    const texts: string[] = [];
    const tailing = (async () => {
      for await (const { lines } of admin().tailStepLogs({ runId }))
        texts.push(...lines.map(({ line }) => line?.text ?? ''));
    })();
    await until(() => states.length === 1 && yard.server.plane.watches.count === 2);
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS * 2.5));
    await serve(action, () => 'done');
    await Promise.all([watching, tailing]);
    expect(states.at(0)).toBe(RunState.PENDING);
    expect(states.at(-1)).toBe(RunState.SUCCEEDED);
    expect(texts).toEqual([]);
  });

  it('a reader that leaves, or has waited long enough, leaves nothing behind', async () => {
    const left = new AbortController();
    const read = async (options: { signal?: AbortSignal; timeoutMs?: number }) => {
      for await (const { event } of admin().watchWorkers({}, options)) if (event.case === 'caughtUp') left.abort();
    };
    expect(await failureBy(read({ signal: left.signal }))).toMatchObject({ code: Code.Canceled });
    expect(await failureBy(read({ timeoutMs: 200 }))).toMatchObject({ code: Code.DeadlineExceeded });
    await until(() => yard.server.plane.watches.isIdle, undefined, 5_000);
  });

  it('what is not there is refused with its reason', async () => {
    const first = admin().watchRun({ runId: 'nothing' })[Symbol.asyncIterator]().next();
    expect(await failureBy(first)).toMatchObject({ code: Code.NotFound, reason: 'RUN_NOT_FOUND' });
  });
});

it('a server that stops ends its watches at once, UNAVAILABLE and with a reason, on both listeners', async () => {
  const other = await startHttpYard();
  const client = new Client(`127.0.0.1:${other.server.grpcPort}`, credentials.createInsecure());
  const watching = new Watching(client, AdminService.method.watchWorkers, {});
  await watching.sees('that it has caught up', ({ event }) => event.case === 'caughtUp');
  const byHttp = Object.keys(WAYS).map((way) =>
    failureBy(
      (async () => {
        for await (const _ of adminBy(way, other.url).watchWorkers({}));
      })(),
    ),
  );
  await until(() => other.server.plane.watches.count === 1 + byHttp.length);
  const fromMs = performance.now();
  const stopped = other.stop();
  const refused = { reason: 'STANDING_DOWN', domain: 'yardmaster' };
  expect(await watching.ended).toMatchObject({ code: status.UNAVAILABLE, ...refused });
  for (const end of byHttp) expect(await end).toMatchObject({ code: Code.Unavailable, ...refused });
  await stopped;
  // Nobody had to be cut off.
  expect(performance.now() - fromMs).toBeLessThan(2_000);
  client.close();
});
