/** The private folder of a step, with the files that its command is told about. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StepFailure } from './step_failure.ts';

/** More is not even read; the server's own limit, 1 MiB by default, is checked by the SDK. */
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

export class StepFiles {
  readonly input: string;
  readonly output: string;
  readonly progress: string;
  readonly labels: string;
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
    this.input = join(folder, 'input.json');
    this.output = join(folder, 'output.json');
    this.progress = join(folder, 'progress');
    this.labels = join(folder, 'labels');
  }

  static async create(inputJson: string): Promise<StepFiles> {
    // Only its owner may enter such a folder.
    const files = new StepFiles(await mkdtemp(join(tmpdir(), 'yardmaster-step-')));
    try {
      await Promise.all([
        writeFile(files.input, inputJson),
        ...[files.output, files.progress, files.labels].map((path) => writeFile(path, '')),
      ]);
    } catch (error) {
      await files.remove();
      throw error;
    }
    return files;
  }

  /** The text that the command has written as its output, which is JSON; undefined when it wrote none. */
  async readOutput(): Promise<string | undefined> {
    const size = await sizeOf(this.output);
    if (size > OUTPUT_BYTES_MAX) {
      throw new StepFailure(
        'InvalidOutput',
        `the file YARDMASTER_OUTPUT has ${size} bytes; at most ${OUTPUT_BYTES_MAX} are read`,
      );
    }
    const text = size === 0 ? '' : decoded(await readFile(this.output));
    if (text.trim() === '') return undefined;
    try {
      JSON.parse(text);
    } catch (error) {
      throw new StepFailure('InvalidOutput', `the file YARDMASTER_OUTPUT is not JSON: ${(error as Error).message}`);
    }
    return text;
  }

  /** What cannot be removed is not the step's fault. */
  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 2 }).catch(() => {});
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    const found = await stat(path);
    if (found.isFile()) return found.size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
  throw new StepFailure('InvalidOutput', 'YARDMASTER_OUTPUT is no longer a file');
}

function decoded(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new StepFailure('InvalidOutput', 'the file YARDMASTER_OUTPUT is not JSON: it is not even UTF-8');
  }
}
