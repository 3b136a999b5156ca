import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AdminService } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { createMetrics } from '../../src/lib/prometheus.ts';
import { largest, NAMED_MAX } from '../../src/server/metrics.ts';
import { runOf } from '../support/conformance.ts';
import { type Calls, callsOf, failureOf } from '../support/conformance_calls.ts';
import { WorkerStream } from '../support/conformance_stream.ts';
import { type Family, parseExposition } from '../support/exposition.ts';
import { type HttpYard, startHttpYard } from '../support/http_yard.ts';
import { until } from '../support/until.ts';

let yard: HttpYard;
let grpc: Client;
let admin: Calls<typeof AdminService>;
beforeAll(async () => {
  yard = await startHttpYard();
  grpc = new Client(`127.0.0.1:${yard.server.grpcPort}`, credentials.createInsecure());
  admin = callsOf(() => grpc, AdminService);
});
afterAll(async () => {
  grpc.close();
  await yard.stop();
});

async function scrape(): Promise<Map<string, Family>> {
  const answer = await fetch(`${yard.url}/metrics`);
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  return parseExposition(await answer.text());
}

/** The value of one sample, by its full name without the prefix. */
function value(families: Map<string, Family>, name: string, labels: Record<string, string> = {}): number {
  const samples = [...families.values()].flatMap((family) => family.samples);
  const found = samples.find((sample) => {
    const same = Object.entries(labels).every(([key, label]) => sample.labels[key] === label);
    return (
      sample.name === `yardmaster_${name}` &&
      same &&
      (labels.le !== undefined || Object.keys(sample.labels).length === Object.keys(labels).length)
    );
  });
  if (found === undefined) throw new Error(`no ${name} with ${JSON.stringify(labels)}`);
  return found.value;
}

async function worker(name: string, actions: string[], slots: number): Promise<WorkerStream> {
  const stream = new WorkerStream(grpc, new Metadata());
  await stream.hello({ name, actions, slots });
  return stream;
}

describe('the page', () => {
  it('is well formed, every name has the prefix and every metric its help', async () => {
    const families = await scrape();
    for (const name of families.keys()) expect(name).toMatch(/^yardmaster_/);
    const expected = [
      'ready',
      'workers',
      'pending_steps',
      'slots',
      'slots_used',
      'streams_open',
      'assignments_total',
      'runs_ended_total',
    ];
    expected.push(
      'submit_to_accept_seconds',
      'assign_to_accept_seconds',
      'commits_total',
      'commit_commands',
      'commit_duration_seconds',
    );
    expected.push(
      'commit_failures_total',
      'refusals_total',
      'nodejs_eventloop_lag_p99_seconds',
      'process_resident_memory_bytes',
    );
    expect([...families.keys()]).toEqual(expect.arrayContaining(expected.map((name) => `yardmaster_${name}`)));
  });

  it('follows a run from its submission to its end', async () => {
    const before = await scrape();
    const stream = await worker('counted', ['count'], 3);
    await admin.scheduleRun(runOf({ action: 'count' }));
    await admin.scheduleRun(runOf({ action: 'uncounted "\\\n' }));
    const { assignmentId } = await stream.take();
    await stream.settled(stream.sequence);
    const during = await scrape();
    expect(value(during, 'workers', { state: 'busy', namespace: 'default' })).toBe(1);
    expect([value(during, 'slots'), value(during, 'slots_used'), value(during, 'streams_open')]).toEqual([3, 1, 1]);
    expect(value(during, 'pending_steps', { action: 'uncounted "\\\n', verdict: 'NO_SUCH_ACTION' })).toBe(1);
    expect(value(during, 'assignments_total') - value(before, 'assignments_total')).toBe(1);
    for (const latency of ['submit_to_accept_seconds', 'assign_to_accept_seconds']) {
      expect(value(during, `${latency}_count`)).toBe(1);
      expect(value(during, `${latency}_sum`)).toBeGreaterThan(0);
      expect(value(during, `${latency}_sum`)).toBeLessThan(8);
    }
    await stream.settled(stream.succeed({ assignmentId }));
    const after = await scrape();
    expect(value(after, 'runs_ended_total', { state: 'succeeded' })).toBe(1);
    expect(value(after, 'runs_ended_total', { state: 'failed' })).toBe(0);
    expect(value(after, 'workers', { state: 'idle', namespace: 'default' })).toBe(1);
    expect(value(after, 'slots_used')).toBe(0);
    // One commit holds one command at least.
    expect(value(after, 'commits_total')).toBe(value(after, 'commit_commands_count'));
    expect(value(after, 'commit_commands_sum')).toBeGreaterThanOrEqual(value(after, 'commits_total'));
    expect(value(after, 'commit_duration_seconds_count')).toBe(value(after, 'commits_total'));
    await stream.leave();
    await until(async () => value(await scrape(), 'streams_open') === 0);
  });

  it('counts what is refused, on streams and on calls, by reason', async () => {
    const stream = await worker('refused', ['nothing'], 1);
    stream.send({ case: 'stepAccepted', value: { assignmentId: 'unheard-of' } });
    await stream.next('refused');
    await failureOf(admin.getRun({ runId: 'unheard-of' }));
    await fetch(`${yard.url}/yardmaster.v1.AdminService/GetRun`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"runId":"x"}',
    });
    const families = await scrape();
    expect(value(families, 'refusals_total', { reason: 'STALE_ASSIGNMENT', to: 'stream' })).toBe(1);
    expect(value(families, 'refusals_total', { reason: 'RUN_NOT_FOUND', to: 'call' })).toBe(2);
    await stream.leave();
  });

  it('counts the end of a cancelled run once', async () => {
    const { run } = await admin.scheduleRun(runOf({ action: 'nobody' }));
    await admin.cancelRun({ runId: run?.runId ?? '' });
    await admin.cancelRun({ runId: run?.runId ?? '' });
    expect(value(await scrape(), 'runs_ended_total', { state: 'cancelled' })).toBe(1);
  });

  it('counts what is blocked by why, and forgets it with its end', async () => {
    const first = await admin.scheduleRun(runOf({ action: 'blocking' }));
    const runId = first.run?.runId ?? '';
    await admin.scheduleRun({ ...runOf({ action: 'blocked' }), dependsOnRunIds: [runId] });
    const blocked = async () => value(await scrape(), 'pending_steps', { action: 'blocked', verdict: 'BLOCKED_BY' });
    expect(await blocked()).toBe(1);
    await admin.cancelRun({ runId });
    await expect(blocked()).rejects.toThrow();
  });

  it('names so many actions at most, the largest, and sums the rest up', async () => {
    const runs = Array.from({ length: NAMED_MAX + 20 }, (_, index) => runOf({ action: `many-${index}` }));
    await admin.scheduleRuns({ runs });
    await admin.scheduleRuns({ runs: Array.from({ length: 5 }, () => runOf({ action: 'large' })) });
    const families = await scrape();
    const samples = families.get('yardmaster_pending_steps')?.samples ?? [];
    expect(samples).toHaveLength(NAMED_MAX + 1);
    expect(value(families, 'pending_steps', { action: 'large', verdict: 'NO_SUCH_ACTION' })).toBe(5);
    const others = ['uncounted "\\\n', 'large'].length;
    expect(value(families, 'pending_steps', { action: 'other', verdict: 'NO_SUCH_ACTION' })).toBe(
      NAMED_MAX + 20 + others - NAMED_MAX,
    );
  });
});

describe('parts', () => {
  it('the rest is added to an action that happens to be called like it', () => {
    const counts = new Map([
      ['other', 3],
      ['a', 2],
      ['b', 1],
    ]);
    expect([...largest(counts, 2)]).toEqual([
      ['other', 4],
      ['a', 2],
    ]);
    expect([...largest(counts, 1)]).toEqual([['other', 6]]);
    expect([...largest(counts, 3)]).toEqual([...counts]);
  });

  it('two servers of one process do not share their counters', async () => {
    const [one, other] = [createMetrics(), createMetrics()];
    one.counter('things_total', 'Things.')(2);
    other.counter('things_total', 'Things.')(5);
    expect(await one.text()).toContain('yardmaster_things_total 2\n');
    expect(await other.text()).toContain('yardmaster_things_total 5\n');
  });

  it('the reader refuses what Prometheus would', () => {
    const bad = [
      'a 1\n',
      '# HELP a h\n# TYPE a gauge\na 1',
      '# HELP a h\n# TYPE a gauge\na{x="1"} 1\na{x="1"} 2\n',
      '# HELP a_total h\n# TYPE a_total gauge\na_total 1\n',
      '# HELP a h\n# TYPE a counter\na 1\n',
      '# HELP a h\n# TYPE a gauge\na{x="\n"} 1\n',
      '# HELP a h\n# TYPE a gauge\na one\n',
      '# HELP a h\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
    ];
    for (const page of bad) expect(() => parseExposition(page), page).toThrow();
  });
});
