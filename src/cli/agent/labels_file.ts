/** `YARDMASTER_LABELS`: what the lines of the file say about the worker's labels, and what of it is still to be told. */
import type { LabelPatch } from '../../worker/index.ts';
import { parseLabel } from './label.ts';
import { WatchedFile } from './watched_file.ts';

export interface LabelsPorts {
  upsert(patch: LabelPatch): Promise<unknown>;
  complain(text: string): void;
}

export class LabelsFile {
  readonly #file: WatchedFile;
  readonly #ports: LabelsPorts;
  /** What this file has said so far; another step may have said otherwise since, and is not to be overruled by old lines. */
  readonly #said = new Map<string, string | number | null>();
  readonly #complaints = new Set<string>();
  readonly #underWay = new Set<Promise<void>>();

  constructor(path: string, ports: LabelsPorts) {
    this.#file = new WatchedFile(path);
    this.#ports = ports;
  }

  async look(last: boolean): Promise<void> {
    const lines = (await this.#file.look(last)) ?? [];
    const whole: LabelPatch = Object.assign({}, ...lines.map((line) => this.#parse(line)));
    const fresh = Object.entries(whole).filter(([key, value]) => !this.#said.has(key) || this.#said.get(key) !== value);
    if (fresh.length === 0) return;
    for (const [key, value] of fresh) this.#said.set(key, value);
    this.#upsert(Object.fromEntries(fresh));
  }

  /** Resolves when all that was said has been answered. */
  async answered(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  #upsert(patch: LabelPatch): void {
    const call = this.#ports.upsert(patch).then(
      () => {},
      (error: Error) => this.#ports.complain(`YARDMASTER_LABELS: ${error.message}`),
    );
    this.#underWay.add(call);
    call.finally(() => this.#underWay.delete(call)).catch(() => {});
  }

  #parse(line: string): LabelPatch {
    try {
      return parseLabel(line);
    } catch (error) {
      if (!this.#complaints.has(line)) this.#ports.complain(`YARDMASTER_LABELS: ${(error as Error).message}`);
      this.#complaints.add(line);
      return {};
    }
  }
}
