/** Structured logs: an event's name as the message, its facts as fields. Never payloads, never secrets. */
import { type DestinationStream, pino } from 'pino';

/** What the program asks of a logger. */
export interface Log {
  debug(facts: object, event: string): void;
  info(facts: object, event: string): void;
  warn(facts: object, event: string): void;
  error(facts: object, event: string): void;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export function createLog(level: LogLevel, destination?: DestinationStream): Log {
  const options = { level, base: null };
  return destination ? pino(options, destination) : pino(options);
}

export const SILENT_LOG: Log = { debug() {}, info() {}, warn() {}, error() {} };
