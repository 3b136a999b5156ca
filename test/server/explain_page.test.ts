import { expect, it } from 'vitest';
import type { Explanation, WorkerReport } from '../../src/domain/explain.ts';
import { createExplainPage } from '../../src/server/rpc/explain_page.ts';

const explanation: Explanation = {
  verdict: 'BUSY',
  summary: 'full',
  counts: [],
  workers: [],
  workersTotal: 0,
  aheadInDemand: 0,
  aheadInNamespace: 0,
  scheduleDeadlineMs: null,
  asOfMs: 0,
};

const reports: WorkerReport[] = Array.from({ length: 100 }, (_, index) => ({
  workerId: `id-${index}`,
  workerName: `worker ${index}`,
  failed: [],
  rank: null,
}));

/** A page with so many steps, each of which was seen by all the workers. */
function pageOf(steps: number, offset: number, size: number, bytesMax?: number) {
  const page = createExplainPage(offset, size, bytesMax);
  for (let count = 0; count < steps; count++)
    page.add({ name: `s${count}`, state: 'PENDING', explanation: { ...explanation, workers: page.cut(reports) } }, 100);
  const names = page.entries().map((entry) => entry.explanation.workers.map(({ workerName }) => workerName));
  return { page, names };
}

it('holds the workers behind its offset, and says where the next one begins', () => {
  const { page, names } = pageOf(2, 40, 30);
  expect(names).toEqual([0, 1].map(() => reports.slice(40, 70).map(({ workerName }) => workerName)));
  expect(page.nextOffset()).toBe(70);
  expect(pageOf(1, 70, 30).page.nextOffset()).toBeNull();
});

it('gives every step the same share when all do not fit, and misses none over its pages', () => {
  const seen: string[] = [];
  let offset: number | null = 0;
  while (offset !== null) {
    const { page, names }: ReturnType<typeof pageOf> = pageOf(5, offset, 100, 8_000);
    expect(page.fits()).toBe(true);
    expect(Buffer.byteLength(JSON.stringify(page.entries()))).toBeLessThan(8_100);
    expect(new Set(names.map(String)).size).toBe(1);
    seen.push(...(names[0] ?? []));
    offset = page.nextOffset();
  }
  expect(seen).toEqual(reports.map(({ workerName }) => workerName));
});

it('does not fit with too many steps, however few workers are shown', () => {
  expect(pageOf(100, 0, 100, 8_000).page.fits()).toBe(false);
});
