/** Comparing secrets. */
import { createHash, timingSafeEqual } from 'node:crypto';

/**
 * Tells whether a text is the secret, in the same time whichever it is: both are digested, so neither the place of the
 * first difference nor the length shows.
 */
export function secretMatcher(secret: string): (given: string) => boolean {
  const expected = sha256(secret);
  return (given) => timingSafeEqual(sha256(given), expected);
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
