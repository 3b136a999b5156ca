import { cpus, release, totalmem } from 'node:os';

/** One line: numbers mean nothing without the machine they were measured on. */
export function describeMachine(): string {
  const processors = cpus();
  const gib = Math.round(totalmem() / 2 ** 30);
  return `${processors.length} × ${processors[0]?.model.trim()}, ${gib} GiB, Linux ${release()}, Node ${process.version}`;
}
