/** Sticky between the wire and the rules. */
import { Sticky as WireSticky } from '../../../gen/yardmaster/v1/run_pb.ts';
import type { Sticky } from '../../domain/sticky.ts';

const ON_WIRE: Readonly<Record<Sticky, WireSticky>> = {
  NONE: WireSticky.NONE,
  SOFT: WireSticky.SOFT,
  HARD: WireSticky.HARD,
};

/** null: UNSPECIFIED, which means something else in each message. */
export function readSticky(sticky: WireSticky): Sticky | null {
  return (Object.keys(ON_WIRE) as Sticky[]).find((name) => ON_WIRE[name] === sticky) ?? null;
}

export function writeSticky(sticky: Sticky): WireSticky {
  return ON_WIRE[sticky];
}
