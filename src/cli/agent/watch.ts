/** Looks at the files of a running command again and again: not every file system announces what is written. */
import type { Clock, Timer } from '../../lib/clock.ts';

const LOOK_MS = 200;

export interface Watched {
  look(last: boolean): Promise<void>;
}

export class Watch {
  readonly #clock: Clock;
  readonly #files: readonly Watched[];
  #timer: Timer | undefined;
  #looking: Promise<unknown> = Promise.resolve();

  constructor(clock: Clock, files: readonly Watched[]) {
    this.#clock = clock;
    this.#files = files;
    this.#later();
  }

  /** The command has ended: one last look. */
  async stop(): Promise<void> {
    this.#timer?.clear();
    await this.#looking;
    this.#timer?.clear();
    await this.#look(true);
  }

  #look(last: boolean): Promise<unknown> {
    return Promise.all(this.#files.map((file) => file.look(last)));
  }

  #later(): void {
    this.#timer = this.#clock.after(LOOK_MS, () => {
      this.#looking = this.#look(false).then(() => this.#later());
    });
  }
}
