/** Limits of one stream, as told in Welcome, and the SDK's own. */
import type { Limits } from '../../gen/yardmaster/v1/worker_service_pb.ts';

export interface StreamLimits {
  messageBytes: number;
  payloadBytes: number;
  progressTextCharacters: number;
  logLineBytes: number;
  logLinesPerSecond: number;
  labelMessagesPerSecond: number;
}

/** What holds until a server has said otherwise; a limit of 0 is one the server did not name. */
export const STREAM_LIMITS_DEFAULT: Readonly<StreamLimits> = {
  messageBytes: 4 * 1024 * 1024,
  payloadBytes: 1024 * 1024,
  progressTextCharacters: 255,
  logLineBytes: 8 * 1024,
  logLinesPerSecond: 1_000,
  labelMessagesPerSecond: 10,
};

/** Lines wait this long for company, so that a chatty handler costs few messages. */
export const LOG_WINDOW_MS = 20;
/** Log lines that no server has acknowledged yet, for all assignments together; more are dropped and counted in the log. */
export const LOG_LINES_UNSETTLED_MAX = 10_000;
/** The same in bytes. */
export const LOG_BYTES_UNSETTLED_MAX = 8 * 1024 * 1024;
/** Lines and bytes of one step_logged. */
export const LOG_LINES_PER_MESSAGE_MAX = 200;
export const LOG_BYTES_PER_MESSAGE_MAX = 256 * 1024;
/** One progress message per assignment in this time; the newest text wins. */
export const PROGRESS_INTERVAL_MS = 100;
/** Longest error message and stack that travel with step_failed. */
export const ERROR_MESSAGE_BYTES_MAX = 8 * 1024;
export const ERROR_STACK_BYTES_MAX = 16 * 1024;
/** A stream without a welcome after this long is given up. */
export const WELCOME_TIMEOUT_MS = 10_000;
/** A timer this late means that the process stood still: what the server sent meanwhile is still to be read. */
export const PAUSE_MS = 1_000;

export function streamLimits(told: Limits | undefined): StreamLimits {
  const standard = STREAM_LIMITS_DEFAULT;
  return {
    messageBytes: told?.messageBytes || standard.messageBytes,
    payloadBytes: told?.payloadBytes || standard.payloadBytes,
    progressTextCharacters: told?.progressTextCharacters || standard.progressTextCharacters,
    logLineBytes: told?.logLineBytes || standard.logLineBytes,
    logLinesPerSecond: told?.logLinesPerSecond || standard.logLinesPerSecond,
    labelMessagesPerSecond: told?.labelMessagesPerSecond || standard.labelMessagesPerSecond,
  };
}
