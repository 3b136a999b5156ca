/** Making text fit: sizes are those the server counts. */

const encoder = new TextEncoder();

export function utf8Bytes(text: string): number {
  return Buffer.byteLength(text, 'utf8');
}

/** The longest beginning of `text` that is at most `bytesMax` long in UTF-8 and ends between two characters. */
export function cutToBytes(text: string, bytesMax: number): string {
  // No UTF-16 unit takes more than three bytes, so most texts need no counting.
  if (text.length * 3 <= bytesMax || utf8Bytes(text) <= bytesMax) return text;
  const { read } = encoder.encodeInto(text, new Uint8Array(bytesMax));
  return text.slice(0, read);
}

/** The beginning of `text`, at most `charactersMax` UTF-16 units (so never more code points), no surrogate pair torn. */
export function cutToCharacters(text: string, charactersMax: number): string {
  if (text.length <= charactersMax) return text;
  const last = text.charCodeAt(charactersMax - 1);
  const torn = last >= 0xd800 && last <= 0xdbff;
  return text.slice(0, torn ? charactersMax - 1 : charactersMax);
}

/** U+0000 is refused everywhere but in logs: it must not be able to cost a worker its error report. */
export function withoutNul(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '\ufffd') : text;
}
