/** What a process uses, from Linux's /proc. */
import { readFileSync } from 'node:fs';

/** Of USER_HZ, which is 100 everywhere Linux runs node. */
const TICKS_PER_SECOND = 100;
const KIB_PER_MIB = 1_024;
// Fields of /proc/PID/stat, counted after the name in parentheses.
const USER_TICKS = 11;
const SYSTEM_TICKS = 12;

export function residentKiB(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (line === null) throw new Error(`process ${pid} has no memory any more`);
  return Number(line[1]);
}

export function residentMiB(pid: number): number {
  return residentKiB(pid) / KIB_PER_MIB;
}

export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[USER_TICKS]) + Number(fields[SYSTEM_TICKS])) / TICKS_PER_SECOND;
}
