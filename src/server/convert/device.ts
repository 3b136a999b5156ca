/** Leased devices on the wire. */
import { DeviceKind } from '../../../gen/yardmaster/v1/worker_pb.ts';
import type { Device } from '../../domain/devices.ts';

export function writeDevice({ kind, id }: Device) {
  return { kind: kind === 'GPU' ? DeviceKind.GPU : DeviceKind.CPU, id };
}
