/** A fleet that waits costs the database next to nothing. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openTestStore, type TestStore, type TestWorker } from '../support/store.ts';

// Long enough that what a server does once, at its start, does not count as what it does all the time.
const WATCHED_MS = 10_000;
const BEAT_MS = 500;
const STATEMENTS_PER_SECOND_MAX = 1;

let store: TestStore;
beforeAll(async () => {
  store = await openTestStore();
});
afterAll(() => store.close());

it('three idle workers: at most a statement a second', async () => {
  const plane = await store.plane();
  const workers: TestWorker[] = [];
  for (const name of ['alpha', 'beta', 'gamma']) workers.push(await plane.worker(name));
  const commits = plane.counts().commits;
  const statements = store.proxy.answers();
  // What is measured is time passing, with all that a living stream does in it.
  for (let leftMs = WATCHED_MS; leftMs > 0; leftMs -= BEAT_MS) {
    for (const { connection } of workers) plane.decide({ kind: 'heartbeat', connection }, () => {});
    await new Promise<void>((resolve) => plane.clock.after(BEAT_MS, resolve, true));
  }
  expect(plane.counts().commits).toBe(commits);
  expect(store.proxy.answers() - statements).toBeLessThanOrEqual((WATCHED_MS / 1_000) * STATEMENTS_PER_SECOND_MAX);
  // The counting counts.
  await plane.run();
  expect(store.proxy.answers()).toBeGreaterThan(statements);
});
