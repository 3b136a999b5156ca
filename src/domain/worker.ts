/** Who a worker is, and how it is doing. */
import { type Refusal, refuseField } from './refusal.ts';

export type WorkerState = 'OFFLINE' | 'IDLE' | 'BUSY' | 'DISCONNECTED' | 'CRASHED';

export const NICKNAME_DEFAULT = 'anonymous';
export const SLOTS_DEFAULT = 1;

const NAME_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9 ._-]+$/;
const NAME_CHARACTERS_MIN = 3;
const NAME_CHARACTERS_MAX = 128;

/** null when `name` may be a worker's name, else what is wrong with it. */
export function checkWorkerName(field: string, name: string): Refusal | null {
  if (name.length >= NAME_CHARACTERS_MIN && name.length <= NAME_CHARACTERS_MAX && NAME_PATTERN.test(name)) return null;
  const shown = name.length > 40 ? `${name.slice(0, 40)}…` : name;
  return refuseField(
    'INVALID_NAME',
    field,
    `"${shown}" must have ${NAME_CHARACTERS_MIN} to ${NAME_CHARACTERS_MAX} characters and match ${NAME_PATTERN.source}`,
  );
}

export interface WorkerCondition {
  readonly connected: boolean;
  readonly holds: number;
  readonly crashed: boolean;
}

export function workerStateOf({ connected, holds, crashed }: WorkerCondition): WorkerState {
  if (connected) return holds > 0 ? 'BUSY' : 'IDLE';
  if (holds > 0) return 'DISCONNECTED';
  return crashed ? 'CRASHED' : 'OFFLINE';
}

const ADJECTIVES =
  'amber brave brisk calm clever copper coral crisp eager early fleet gentle golden happy hardy jolly keen kind lively loyal lucid mellow nimble noble patient plucky polar proud quick quiet rapid ready robust rosy sharp silver solid sturdy sunny swift tidy vivid warm wise'.split(
    ' ',
  );
const NOUNS =
  'anchor arch badger barge beacon bison boxcar bridge cabin canal crane depot dingo engine falcon ferry gantry harbor heron jetty lantern lark lever lynx marten otter pier piston pulley rail raven rivet signal sleeper sparrow switch tender tern trestle truss tunnel wagon walrus winch'.split(
    ' ',
  );
const NUMBERS = 1000;

/** A name people can say: word-word-number. `fraction` is uniform in [0, 1). */
export function displayName(fraction: number): string {
  const index = Math.floor(fraction * ADJECTIVES.length * NOUNS.length * NUMBERS);
  const words = Math.floor(index / NUMBERS);
  return `${ADJECTIVES[Math.floor(words / NOUNS.length)]}-${NOUNS[words % NOUNS.length]}-${index % NUMBERS}`;
}
