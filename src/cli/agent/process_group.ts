/** The processes a command has become: everything it started that has not made itself independent. */
import { readdirSync, readFileSync } from 'node:fs';

export class ProcessGroup {
  readonly #id: number;

  /** `id` is the process id of the leader. */
  constructor(id: number) {
    this.#id = id;
  }

  signal(name: 'SIGTERM' | 'SIGKILL'): void {
    try {
      process.kill(-this.#id, name);
    } catch {
      // Nobody is left, or somebody who is not ours to end.
    }
  }

  /** True while a member runs. A dead one that nobody has reaped, as in containers without an init, does not count. */
  isAlive(): boolean {
    try {
      process.kill(-this.#id, 0);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'EPERM';
    }
    return process.platform !== 'linux' || hasRunningMember(this.#id);
  }
}

function hasRunningMember(group: number): boolean {
  try {
    return readdirSync('/proc').some((name) => /^\d+$/.test(name) && runsIn(group, name));
  } catch {
    return true;
  }
}

function runsIn(group: number, processId: string): boolean {
  try {
    const stat = readFileSync(`/proc/${processId}/stat`, 'utf8');
    // The name of the program stands in brackets and may itself contain anything.
    const [state = '', , groupId] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(groupId) === group && !'ZXx'.includes(state);
  } catch {
    // It has ended meanwhile.
    return false;
  }
}
