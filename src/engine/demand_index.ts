/**
 * The demands that wait under one lookup key, by what few workers have: one value of a label, or a tag. A worker with new
 * room then looks at those it may suit, however many others wait.
 */
import type { LabelValue } from '../domain/labels.ts';
import { addTo, removeFrom } from './index_of_sets.ts';
import type { DemandRecord, WorkerRecord } from './state.ts';

export class DemandIndex implements Iterable<DemandRecord> {
  private readonly all = new Set<DemandRecord>();
  /** Those that ask for one of named values of a label: by the label's key, then under each of the values. */
  private readonly byLabel = new Map<string, Map<LabelValue, Set<DemandRecord>>>();
  /** Of the others those that ask for tags: under the first. */
  private readonly byTag = new Map<string, Set<DemandRecord>>();
  /** All others. */
  private readonly rest = new Set<DemandRecord>();

  get size(): number {
    return this.all.size;
  }

  [Symbol.iterator](): Iterator<DemandRecord> {
    return this.all[Symbol.iterator]();
  }

  has(demand: DemandRecord): boolean {
    return this.all.has(demand);
  }

  add(demand: DemandRecord): void {
    this.all.add(demand);
    const condition = namedValues(demand);
    const [tag] = demand.spec.runsOn;
    if (condition !== null) {
      const byValue = this.byLabel.get(condition.key) ?? new Map<LabelValue, Set<DemandRecord>>();
      this.byLabel.set(condition.key, byValue);
      for (const value of condition.values) addTo(byValue, value, demand);
    } else if (tag !== undefined) addTo(this.byTag, tag, demand);
    else this.rest.add(demand);
  }

  delete(demand: DemandRecord): void {
    this.all.delete(demand);
    const condition = namedValues(demand);
    const [tag] = demand.spec.runsOn;
    if (condition !== null) {
      const byValue = this.byLabel.get(condition.key) ?? new Map<LabelValue, Set<DemandRecord>>();
      for (const value of condition.values) removeFrom(byValue, value, demand);
      if (byValue.size === 0) this.byLabel.delete(condition.key);
    } else if (tag !== undefined) removeFrom(this.byTag, tag, demand);
    else this.rest.delete(demand);
  }

  /** Adds sets that hold every demand which the worker suits, and others. */
  nearTo(worker: WorkerRecord, near: ReadonlySet<DemandRecord>[]): void {
    if (this.rest.size > 0) near.push(this.rest);
    if (this.byLabel.size > worker.labels.size) {
      for (const [key, value] of worker.labels) addIfAny(near, this.byLabel.get(key)?.get(value));
    } else {
      for (const [key, byValue] of this.byLabel) addIfAny(near, byValue.get(worker.labels.get(key) as LabelValue));
    }
    // A worker without tags may suit whatever tags are asked for.
    if (worker.tags.size === 0) for (const demands of this.byTag.values()) near.push(demands);
    else if (this.byTag.size > 0) for (const tag of worker.tags) addIfAny(near, this.byTag.get(tag));
  }
}

function addIfAny<T>(all: T[], one: T | undefined): void {
  if (one !== undefined) all.push(one);
}

/** The first condition that names the values which meet it; null: the demand has none. */
export function namedValues({
  spec,
}: Pick<DemandRecord, 'spec'>): { readonly key: string; readonly values: readonly LabelValue[] } | null {
  for (const { required, comparator, key, value, values } of spec.desired) {
    if (!required) continue;
    if (comparator === 'EQUAL' && value !== null) return { key, values: [value] };
    if (comparator === 'IN') return { key, values };
  }
  return null;
}
