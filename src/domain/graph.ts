/** The steps of a run as a directed graph without cycles: who needs whom, checked at once when a workflow is put. */
import type { Limits } from './limits.ts';
import { type Refusal, refuseField, refuseLimit } from './refusal.ts';

/** By place of the step in its workflow. */
export interface Graph {
  readonly needs: readonly (readonly number[])[];
  readonly dependents: readonly (readonly number[])[];
  /** Steps that nobody needs: their outputs are the run's. */
  readonly sinks: readonly number[];
}

interface Node {
  readonly name: string;
  readonly needs: readonly string[];
}

/** The graph of these steps, or what is wrong with them: duplicate name, unknown need, cycle, too many. */
export function buildGraph(field: string, steps: readonly Node[], limits: Limits): Graph | Refusal {
  if (steps.length > limits.stepsPerRunMax) return refuseLimit(field, steps.length, limits.stepsPerRunMax, 'steps');
  const places = new Map<string, number>();
  for (const [place, { name }] of steps.entries()) {
    const earlier = places.get(name);
    if (earlier !== undefined)
      return refuseStep(field, place, 'name', name, `is the name of steps[${earlier}] too; names are unique`);
    places.set(name, place);
  }
  const needs: number[][] = [];
  for (const [place, step] of steps.entries()) {
    const found = new Set<number>();
    for (const name of step.needs) {
      const need = places.get(name);
      if (need === undefined)
        return refuseStep(field, place, 'needs', step.name, `needs "${name}", which is no step of the workflow`);
      found.add(need);
    }
    needs.push([...found]);
  }
  return withoutCycle(field, steps, needs);
}

function withoutCycle(field: string, steps: readonly Node[], needs: readonly number[][]): Graph | Refusal {
  const dependents: number[][] = steps.map(() => []);
  for (const [place, its] of needs.entries()) for (const need of its) dependents[need]?.push(place);
  const open = needs.map((its) => its.length);
  const free = open.flatMap((count, place) => (count === 0 ? [place] : []));
  // Whatever is left when no step without open needs is, goes round in a circle or waits for one that does.
  for (let next = free.pop(); next !== undefined; next = free.pop()) {
    for (const dependent of dependents[next] ?? []) {
      open[dependent] = (open[dependent] ?? 0) - 1;
      if (open[dependent] === 0) free.push(dependent);
    }
  }
  const left = open.findIndex((count) => count > 0);
  if (left >= 0) {
    const circle = circleFrom(left, needs, open).map((place) => `"${steps[place]?.name}"`);
    const first = circleFrom(left, needs, open)[0] ?? left;
    return refuseStep(field, first, 'needs', steps[first]?.name ?? '', `is in a cycle: ${circle.join(' needs ')}`);
  }
  return { needs, dependents, sinks: dependents.flatMap((its, place) => (its.length === 0 ? [place] : [])) };
}

/** Walks along open needs until a step comes again: from there to there is the cycle. */
function circleFrom(start: number, needs: readonly number[][], open: readonly number[]): number[] {
  const path: number[] = [];
  for (let place = start; ; ) {
    const before = path.indexOf(place);
    path.push(place);
    if (before >= 0) return path.slice(before);
    place = needs[place]?.find((need) => (open[need] ?? 0) > 0) ?? start;
  }
}

function refuseStep(field: string, place: number, part: string, name: string, what: string): Refusal {
  const path = `${field}[${place}].${part}`;
  return refuseField('INVALID_WORKFLOW', path, `step "${name}" ${what}`, { step: name });
}
