/** What a command may touch of the process it runs in; the tests hand in one of their own. */
import { addAbortSignal } from 'node:stream';
import { type Clock, systemClock } from '../lib/clock.ts';

export interface Io {
  stdout(text: string): void;
  stderr(text: string): void;
  /** All of standard input. */
  stdin(): Promise<string>;
  /** Standard input as it comes, for what may be longer than memory; the signal breaks off a wait for more. */
  stdinChunks(signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Standard output is a terminal: it can be redrawn. */
  readonly isTTY: boolean;
  readonly colours: boolean;
  readonly clock: Clock;
  /** Aborted by Ctrl-C. Only who asks for it is told; otherwise Ctrl-C ends the process as it does any other. */
  interrupted(): AbortSignal;
}

export function processIo(): Io {
  const { stdin, stdout, stderr } = process;
  let interruption: AbortController | undefined;
  return {
    stdout: (text) => void stdout.write(text),
    stderr: (text) => void stderr.write(text),
    async stdin() {
      const chunks: Buffer[] = [];
      for await (const chunk of stdin) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString('utf8');
    },
    stdinChunks: (signal) => addAbortSignal(signal, stdin),
    isTTY: stdout.isTTY === true,
    // Asks NO_COLOR, FORCE_COLOR and TERM as well.
    colours: stdout.isTTY === true && stdout.hasColors(),
    clock: systemClock(),
    interrupted() {
      if (interruption === undefined) {
        const controller = new AbortController();
        // Once: whoever presses it again does not want to wait.
        process.once('SIGINT', () => controller.abort());
        interruption = controller;
      }
      return interruption.signal;
    },
  };
}
