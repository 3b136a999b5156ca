/** Runs by their ids, and by the ids that their callers gave them. */
import { packId } from './packed_ids.ts';
import { RecordTable } from './record_table.ts';
import type { RunRecord } from './run_record.ts';

export class RunTable {
  private readonly table = new RecordTable<RunRecord>((run) => run.key);

  get size(): number {
    return this.table.size;
  }

  get(runId: string): RunRecord | undefined {
    return this.table.get(packId(runId));
  }

  has(runId: string): boolean {
    return this.get(runId) !== undefined;
  }

  add(run: RunRecord): void {
    this.table.add(run);
  }

  delete(run: RunRecord): void {
    this.table.delete(run.key);
  }

  /** In no order that means anything. */
  values(): Iterable<RunRecord> {
    return this.table.values();
  }
}

/** Runs without a request id are not in it. */
export class RequestTable {
  private readonly byNamespace = new Map<string, RecordTable<RunRecord>>();

  get size(): number {
    let size = 0;
    for (const table of this.byNamespace.values()) size += table.size;
    return size;
  }

  get(namespace: string, requestId: string): RunRecord | undefined {
    return this.byNamespace.get(namespace)?.get(packId(requestId));
  }

  add(run: RunRecord): void {
    if (run.requestKey === '') return;
    let table = this.byNamespace.get(run.namespace.name);
    if (table === undefined) {
      table = new RecordTable((one) => one.requestKey);
      this.byNamespace.set(run.namespace.name, table);
    }
    table.add(run);
  }

  delete(run: RunRecord): void {
    this.byNamespace.get(run.namespace.name)?.delete(run.requestKey);
  }
}
