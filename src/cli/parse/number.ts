/** Whole numbers in options. */
import { InvalidArgumentError } from 'commander';

/** For an option whose value is a whole number from `min` to `max`. */
export function integerFrom(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (/^-?\d+$/.test(text) && number >= min && number <= max) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

export const PORT_MAX = 65_535;
export const UINT32_MAX = 2 ** 32 - 1;
