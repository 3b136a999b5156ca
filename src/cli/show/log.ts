/** Lines of a log for people. */
import { toJson } from '@bufbuild/protobuf';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import type { NumberedLogLine } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { LogLevel, LogLevelSchema } from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import { nameOf } from '../parse/names.ts';
import { printable } from './text.ts';

const LEVEL_WIDTH = 7;

/** The text, with its level when that is worth a word. */
export function logText({ line }: NumberedLogLine): string {
  if (line === undefined) return '';
  const ordinary = line.level === LogLevel.INFO || line.level === LogLevel.UNSPECIFIED;
  return `${ordinary ? '' : `${nameOf(LogLevelSchema, line.level)} `}${printable(line.text)}`;
}

/** With when (UTC, by the worker's clock), how loud, and in which attempt. */
export function logLine(numbered: NumberedLogLine): string {
  const { attempt, line } = numbered;
  const time = line?.time === undefined ? '' : toJson(TimestampSchema, line.time);
  const level = nameOf(LogLevelSchema, line?.level || LogLevel.INFO);
  return `${time}  ${attempt}  ${level.padEnd(LEVEL_WIDTH)}  ${printable(line?.text ?? '')}\n`;
}
