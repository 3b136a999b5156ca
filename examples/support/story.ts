/** An example tells what happens and checks it: the process ends with 0 only when all of it was so. */
import { setTimeout as wait } from 'node:timers/promises';
import { run as runs } from 'yardmaster/client';
import { createWorker, type Worker, type WorkerOptions } from 'yardmaster/worker';
import { type Plane, startPlane } from './plane.ts';

/** Whatever waits for something that never comes. */
const STORY_MS_MAX = 60_000;
const LOOK_MS = 20;

export interface Story extends Plane {
  tell(text: string): void;
  /** Says whether it holds. */
  check(what: string, holds: boolean): void;
  /** Connects a worker of this example's namespace; it leaves when the story is over. */
  worker(options: WorkerOptions): Promise<Worker>;
  /** Done when the story is over, however it ends. */
  atEnd(stop: () => Promise<unknown>): void;
  /** Waits until it holds. */
  until(what: string, holds: () => Promise<boolean> | boolean): Promise<void>;
  /** The run, when it has ended. */
  ended(runId: string): Promise<runs.Run>;
}

export async function story(name: string, act: (story: Story) => Promise<void>): Promise<void> {
  console.log(`\n${name}`);
  const late = setTimeout(() => {
    console.error(`  ✗ ${name} is not over after ${STORY_MS_MAX / 1_000} s`);
    process.exit(1);
  }, STORY_MS_MAX);
  const plane = await startPlane(name);
  const stops: (() => Promise<unknown>)[] = [];
  let failed = 0;
  const check = (what: string, holds: boolean) => {
    if (!holds) failed += 1;
    console.log(`  ${holds ? '✓' : '✗'} ${what}`);
  };
  try {
    await act({
      ...plane,
      tell: (text) => console.log(`    ${text}`),
      check,
      async worker(options) {
        const worker = createWorker({ address: plane.address, namespace: plane.namespace, ...options });
        stops.push(() => worker.stop({ graceMs: 0 }));
        await worker.start();
        return worker;
      },
      atEnd: (stop) => void stops.push(stop),
      until: (what, holds) => until(what, holds),
      ended: (runId) => ended(plane, runId),
    });
  } catch (error) {
    check(`went on to its end: ${error instanceof Error ? error.message : String(error)}`, false);
  } finally {
    await Promise.all(stops.map((stop) => stop()));
    await plane.stop();
    clearTimeout(late);
  }
  process.exitCode = failed === 0 ? 0 : 1;
}

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const giveUpAt = performance.now() + STORY_MS_MAX / 2;
  while (!(await holds())) {
    if (performance.now() > giveUpAt) throw new Error(`it never came true: ${what}`);
    await wait(LOOK_MS);
  }
}

/** Nobody asks again and again: the stream ends after the run's end. */
async function ended({ admin }: Plane, runId: string): Promise<runs.Run> {
  let last: runs.Run | undefined;
  for await (const { event } of admin.watchRun({ runId })) {
    if (event.case === 'changed') last = event.value;
  }
  if (last === undefined) throw new Error(`nothing was heard of run ${runId}`);
  return last;
}

/** `SUCCEEDED` and so on. */
export function stateOf({ state }: runs.Run): string {
  return nameIn(runs.RunState, state);
}

export function nameIn(values: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(values).find((name) => values[name] === value) ?? String(value);
}

/** The workers that worked on the steps of a run, by the name of the step. */
export function placesOf({ steps }: runs.Run): Record<string, string> {
  return Object.fromEntries(steps.map(({ name, attempts }) => [name, attempts.at(-1)?.workerName ?? '']));
}
