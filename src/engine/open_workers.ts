/**
 * The open workers of one action. Those with one value of a label are found without a look at the others, once a demand
 * has asked for that label.
 */
import type { Labels, LabelValue } from '../domain/labels.ts';
import { namedValues } from './demand_index.ts';
import { addTo, removeFrom } from './index_of_sets.ts';
import type { DemandRecord, WorkerRecord } from './state.ts';

/** Every one is kept up to date with every worker; whoever asks for more different labels than this looks at all workers. */
const LABELS_MAX = 8;
/** With so few workers a look at all of them costs less than an index. */
const WORKERS_MIN = 16;

export class OpenWorkers implements Iterable<WorkerRecord> {
  /** With their labels as they were when they were put in place here. */
  private readonly all = new Map<WorkerRecord, Labels>();
  private readonly byLabel = new Map<string, Map<LabelValue, Set<WorkerRecord>>>();

  get size(): number {
    return this.all.size;
  }

  [Symbol.iterator](): Iterator<WorkerRecord> {
    return this.all.keys();
  }

  constructor(workers: readonly WorkerRecord[]) {
    for (const worker of workers) this.add(worker);
  }

  has(worker: WorkerRecord): boolean {
    return this.all.has(worker);
  }

  add(worker: WorkerRecord): void {
    this.all.set(worker, worker.labels);
    for (const [key, byValue] of this.byLabel) place(byValue, worker, worker.labels.get(key));
  }

  delete(worker: WorkerRecord): void {
    const labels = this.all.get(worker);
    this.all.delete(worker);
    for (const [key, byValue] of this.byLabel) unplace(byValue, worker, labels?.get(key));
  }

  /** Puts a worker that is here in its place by its present labels; false: it was there already. */
  replace(worker: WorkerRecord): boolean {
    if (this.all.get(worker) === worker.labels) return false;
    this.delete(worker);
    this.add(worker);
    return true;
  }

  /** Every worker that suits the demand, and others. */
  near(demand: DemandRecord): Iterable<WorkerRecord> {
    const condition = this.all.size < WORKERS_MIN ? null : namedValues(demand);
    const byValue = condition === null ? null : this.byValue(condition.key);
    if (condition === null || byValue === null) return this;
    const [first] = condition.values;
    if (condition.values.length === 1) return byValue.get(first as LabelValue) ?? [];
    return [...new Set(condition.values)].flatMap((value) => [...(byValue.get(value) ?? [])]);
  }

  /** null: too many labels are asked for. */
  private byValue(key: string): ReadonlyMap<LabelValue, ReadonlySet<WorkerRecord>> | null {
    let byValue = this.byLabel.get(key);
    if (byValue !== undefined) return byValue;
    if (this.byLabel.size === LABELS_MAX) return null;
    byValue = new Map();
    for (const [worker, labels] of this.all) place(byValue, worker, labels.get(key));
    this.byLabel.set(key, byValue);
    return byValue;
  }
}

type ByValue = Map<LabelValue, Set<WorkerRecord>>;

function place(byValue: ByValue, worker: WorkerRecord, value: LabelValue | undefined): void {
  if (value !== undefined) addTo(byValue, value, worker);
}

function unplace(byValue: ByValue, worker: WorkerRecord, value: LabelValue | undefined): void {
  if (value !== undefined) removeFrom(byValue, value, worker);
}
