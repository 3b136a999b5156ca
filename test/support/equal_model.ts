/** Equal requests as the table of the design says them, without an eye to how an engine would do it. One step a run. */

export type ModelState = 'WAITING' | 'FOLLOWS' | 'ASSIGNED' | 'RUNNING' | 'SUCCEEDED' | 'FAILED' | 'CANCELLED';

export interface ModelRun {
  readonly id: string;
  /** Empty: it asks for no equals. */
  readonly hash: string;
  readonly dependsOn: readonly string[];
  state: ModelState;
  /** Place in the order of readiness; 0: it was not ready yet. */
  place: number;
  /** Of one that follows: it came while its leader ran. */
  adopted: boolean;
  executedBy: string | null;
}

const ENDED: ReadonlySet<ModelState> = new Set(['SUCCEEDED', 'FAILED', 'CANCELLED']);

export class EqualModel {
  readonly runs: ModelRun[] = [];
  #successes = new Map<string, string>();
  #places = 0;

  run(id: string): ModelRun {
    const found = this.runs.find((run) => run.id === id);
    if (found === undefined) throw new Error(`the model has no run ${id}`);
    return found;
  }

  submit(id: string, hash: string, dependsOn: readonly string[]): void {
    const run: ModelRun = { id, hash, dependsOn, state: 'WAITING', place: 0, adopted: false, executedBy: null };
    this.runs.push(run);
    this.#look(run);
  }

  accept(id: string): void {
    this.run(id).state = 'RUNNING';
  }

  end(id: string, state: 'SUCCEEDED' | 'FAILED' | 'CANCELLED'): void {
    const ended = [this.run(id)];
    this.#end(this.run(id), state);
    for (let run = ended.shift(); run !== undefined; run = ended.shift()) {
      ended.push(...this.#tellEquals(run));
      for (const other of this.runs) {
        if (other.state === 'WAITING' && other.dependsOn.includes(run.id) && this.#look(other)) ended.push(other);
      }
    }
  }

  retry(id: string): void {
    const run = this.run(id);
    run.state = 'WAITING';
    run.executedBy = null;
    this.#look(run);
  }

  purge(hash: string): void {
    this.#successes.delete(hash);
  }

  /** The run that equal ones are answered with. */
  successOf(hash: string): string | undefined {
    return this.#successes.get(hash);
  }

  leaderOf(hash: string): ModelRun | undefined {
    return this.runs.find((run) => run.hash === hash && (run.state === 'ASSIGNED' || run.state === 'RUNNING'));
  }

  followersOf(hash: string): ModelRun[] {
    return this.runs.filter((run) => run.hash === hash && run.state === 'FOLLOWS').sort((a, b) => a.place - b.place);
  }

  #end(run: ModelRun, state: ModelState): void {
    if (state === 'CANCELLED') run.executedBy = null;
    // One that executed itself is the success of its key from now on.
    if (state === 'SUCCEEDED' && run.executedBy === null && run.hash !== '') this.#successes.set(run.hash, run.id);
    run.state = state;
  }

  /** Whether it has ended by being looked at: dependencies first, then its equals. */
  #look(run: ModelRun): boolean {
    const states = run.dependsOn.map((id) => this.run(id).state);
    if (states.some((state) => ENDED.has(state) && state !== 'SUCCEEDED')) {
      this.#end(run, 'FAILED');
      return true;
    }
    if (states.some((state) => state !== 'SUCCEEDED')) return false;
    const leader = run.hash === '' ? undefined : this.leaderOf(run.hash);
    const success = this.#successes.get(run.hash);
    if (leader === undefined && success !== undefined) {
      run.executedBy = success;
      this.#end(run, 'SUCCEEDED');
      return true;
    }
    if (run.place === 0) {
      this.#places += 1;
      run.place = this.#places;
    }
    run.state = leader === undefined ? 'ASSIGNED' : 'FOLLOWS';
    run.adopted = leader?.state === 'RUNNING';
    run.executedBy = run.adopted ? (leader?.id ?? null) : null;
    return false;
  }

  /** Runs that ended because this one did. */
  #tellEquals(run: ModelRun): ModelRun[] {
    // What followed, or was answered, tells nobody. Neither does one that ended while another leads.
    if (run.hash === '' || run.executedBy !== null || this.leaderOf(run.hash) !== undefined) return [];
    const followers = this.followersOf(run.hash);
    const alike = followers.filter(({ adopted }) => run.state === 'SUCCEEDED' || (run.state === 'FAILED' && adopted));
    for (const follower of alike) {
      follower.executedBy = run.id;
      this.#end(follower, run.state);
    }
    const [next, ...rest] = followers.filter((follower) => follower.state === 'FOLLOWS');
    if (next !== undefined) Object.assign(next, { state: 'ASSIGNED', adopted: false, executedBy: null });
    for (const follower of rest) Object.assign(follower, { adopted: false, executedBy: null });
    return alike;
  }
}
