/** How far a file of runs has come: a bar that is redrawn on a terminal, and a line for each batch elsewhere. */
import type { Io } from '../io.ts';

const BAR_WIDTH = 30;
const MS_PER_SECOND = 1_000;
const CLEAR_LINE = '\r\u001b[K';

interface BatchTold {
  readonly firstNumber: number;
  readonly lastNumber: number;
  readonly runIds: readonly string[];
  readonly alreadyCount: number;
  /** Of the file, by bytes; undefined: its length is not known. */
  readonly fraction: number | undefined;
}

export interface Teller {
  batch(told: BatchTold): void;
  /** Nothing more comes: the bar goes, and in its place the next line begins. */
  close(): void;
}

export function fileTeller(io: Io): Teller {
  return io.isTTY ? barTeller(io) : lineTeller(io);
}

/** The ids are for whoever reads the output; how far it has come is for the person. */
function lineTeller(io: Io): Teller {
  return {
    batch({ firstNumber, lastNumber, runIds, alreadyCount, fraction }) {
      io.stdout(runIds.map((id) => `${id}\n`).join(''));
      const before = alreadyCount === 0 ? '' : `, ${alreadyCount} of them before`;
      const share = fraction === undefined ? '' : ` (${percent(fraction)})`;
      io.stderr(`runs ${firstNumber} to ${lastNumber} submitted${before}${share}\n`);
    },
    close() {},
  };
}

function barTeller(io: Io): Teller {
  const fromMs = io.clock.nowMs();
  let isDrawn = false;
  return {
    batch({ lastNumber, fraction }) {
      // What is done with the first call needs no bar.
      if (!isDrawn && fraction === 1) return;
      isDrawn = true;
      const seconds = Math.max(io.clock.nowMs() - fromMs, 1) / MS_PER_SECOND;
      const rate = `${lastNumber} runs, ${Math.round(lastNumber / seconds)}/s`;
      const bar = fraction === undefined ? '' : `${barOf(fraction)} ${percent(fraction).padStart(5)}  `;
      io.stdout(`${CLEAR_LINE}${bar}${rate}`);
    },
    close() {
      if (isDrawn) io.stdout(CLEAR_LINE);
    },
  };
}

function barOf(fraction: number): string {
  const full = Math.floor(fraction * BAR_WIDTH);
  return `[${'#'.repeat(full)}${'.'.repeat(BAR_WIDTH - full)}]`;
}

function percent(fraction: number): string {
  return `${Math.floor(fraction * 100)} %`;
}
