/** Small facts about text that several rules need. */

/**
 * Bytes of `text` in UTF-8. An unpaired surrogate counts as the three bytes of U+FFFD, which is what it becomes.
 * Written out because the rules import nothing, not even a runtime's encoder.
 */
export function utf8Bytes(text: string): number {
  let bytes = 0;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) bytes += 1;
    else if (unit < 0x800) bytes += 2;
    else if (unit >= 0xd800 && unit < 0xdc00 && isLowSurrogate(text.charCodeAt(index + 1))) {
      bytes += 4;
      index += 1;
    } else bytes += 3;
  }
  return bytes;
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000;
}

/** PostgreSQL cannot store U+0000 in text, so no name, key or value may carry it. */
export function hasNul(text: string): boolean {
  return text.includes('\u0000');
}

/** Order by UTF-16 code units: the same on every machine, unlike a locale's. */
export function compareText(a: string, b: string): number {
  if (a < b) return -1;
  return a > b ? 1 : 0;
}
