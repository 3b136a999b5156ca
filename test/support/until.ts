import { setTimeout as wait } from 'node:timers/promises';

const LOOK_MS = 20;

/** Waits for a condition; when it does not come true in time, fails with what `describe` says. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  describe: () => string = () => '',
  timeoutMs = 30_000,
): Promise<void> {
  const untilMs = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > untilMs) throw new Error(`not true within ${timeoutMs} ms: ${condition}\n${describe()}`);
    await wait(LOOK_MS);
  }
}
