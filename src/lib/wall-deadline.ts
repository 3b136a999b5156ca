/**
 * The instant `afterMs` from now by the system's clock. grpc-js measures deadlines against that clock, so one taken from
 * a Clock would be off by every step the system's clock has made since the process started.
 */
export function wallDeadline(afterMs: number): Date {
  return new Date(Date.now() + afterMs);
}
