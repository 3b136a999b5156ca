/** One page of explanations: as many workers of each step as fit into an answer. */
import type { Explanation, WorkerReport } from '../../domain/explain.ts';
import type { StepState } from '../../domain/step.ts';

/** Of JSON, which is no shorter than what goes over the wire: half of what clients take by default. */
const PAGE_BYTES_MAX = 2 * 1024 * 1024;

interface Entry {
  readonly name: string;
  readonly state: StepState;
  readonly explanation: Explanation;
}

export interface ExplainPage {
  /** The workers of this page among all of a step. */
  cut(workers: readonly WorkerReport[]): readonly WorkerReport[];
  /** The explanation has the page's workers; `total` is how many there are in all. */
  add(entry: Entry, total: number): void;
  entries(): readonly Entry[];
  /** False: too many steps, even with one worker each. */
  fits(): boolean;
  /** Where the next page begins; null: this is the last one. */
  nextOffset(): number | null;
}

/** Workers from `offset` on, up to `size` for each step; fewer when the answer becomes too large. */
export function createExplainPage(offset: number, size: number, bytesMax = PAGE_BYTES_MAX): ExplainPage {
  let entries: Entry[] = [];
  let perStep = size;
  let bytes = 0;
  let most = 0;

  function shrink(): void {
    perStep = Math.ceil(perStep / 2);
    entries = entries.map((entry) => shortened(entry, perStep));
    bytes = entries.reduce((sum, entry) => sum + bytesOf(entry), 0);
  }

  return {
    cut: (workers) => workers.slice(offset, offset + perStep),
    add(entry, total) {
      const shown = shortened(entry, perStep);
      entries.push(shown);
      bytes += bytesOf(shown);
      most = Math.max(most, total);
      while (bytes > bytesMax && perStep > 1) shrink();
    },
    entries: () => entries,
    fits: () => bytes <= bytesMax,
    nextOffset: () => (offset + perStep < most ? offset + perStep : null),
  };
}

function shortened({ name, state, explanation }: Entry, perStep: number): Entry {
  return { name, state, explanation: { ...explanation, workers: explanation.workers.slice(0, perStep) } };
}

function bytesOf(entry: Entry): number {
  return Buffer.byteLength(JSON.stringify(entry));
}
