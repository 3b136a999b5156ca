/** Structured logs: an event's name as the message, its facts as fields. Never payloads, never secrets. */
import { type DestinationStream, destination, pino } from 'pino';

/** What the program asks of a logger. */
export interface Log {
  debug(facts: object, event: string): void;
  info(facts: object, event: string): void;
  warn(facts: object, event: string): void;
  error(facts: object, event: string): void;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

const STANDARD_ERROR = 2;

/** Standard output is for what a person asked to see; logs go to standard error unless told otherwise. */
export function createLog(level: LogLevel, stream: DestinationStream = destination(STANDARD_ERROR)): Log {
  return pino({ level, base: null }, stream);
}

export const SILENT_LOG: Log = { debug() {}, info() {}, warn() {}, error() {} };
