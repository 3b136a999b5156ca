/** A gate before every commit of the journal, or of the log lines: what is to be stored waits, while reads pass. */
import { vi } from 'vitest';
import { type TestStore, WAIT } from './store.ts';

export interface CommitGate {
  /** A commit waits at the gate. */
  reached(): Promise<void>;
  open(): Promise<void>;
}

const GATES = {
  JOURNAL: { name: 'yardmaster journal', close: 'SELECT 1 FROM holder FOR UPDATE' },
  LOGS: { name: 'yardmaster logs', close: 'LOCK TABLE step_logs IN EXCLUSIVE MODE' },
} as const;

export async function closeGate(store: TestStore, way: keyof typeof GATES = 'JOURNAL'): Promise<CommitGate> {
  const { name, close } = GATES[way];
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let transaction: Promise<unknown> = Promise.resolve();
  await new Promise<void>((closed, failed) => {
    transaction = store.sql.begin(async (sql) => {
      await sql.unsafe(close);
      closed();
      await released;
    });
    transaction.catch(failed);
  });
  return {
    async reached() {
      await vi.waitFor(async () => {
        const waiting = await store.sql`
          SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = ${name}
          AND wait_event_type = 'Lock'`;
        if (waiting.length === 0) throw new Error('no commit waits at the gate');
      }, WAIT);
    },
    async open() {
      release();
      await transaction;
    },
  };
}
