/** The side of a process that a benchmark started. It never outlives the benchmark. */

process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(1));

export function settings<T>(): T {
  return JSON.parse(process.env.BENCH_SETTINGS ?? '{}') as T;
}

export function say(message: object): void {
  process.send?.(message);
}

export function onOrder<T>(obey: (order: T) => void): void {
  process.on('message', (order) => obey(order as T));
}

/** Nanoseconds of the clock that all processes of the machine share. */
export function nowNs(): string {
  return String(process.hrtime.bigint());
}
