/** Lines of a log on the wire. */
import type { LogLevel } from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import type { StoredLine } from '../../store/queries/read_logs.ts';
import { timestamp } from './time.ts';

export function writeLine({ number, attempt, lineMs, level, text }: StoredLine) {
  return { number: BigInt(number), attempt, line: { time: timestamp(lineMs), level: level as LogLevel, text } };
}
