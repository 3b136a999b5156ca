/** Free text from outside, made fit for the store and for the headers of an answer. */
import { type Refusal, refuseField, refuseLimit } from '../../domain/refusal.ts';
import { hasNul, utf8Bytes } from '../../domain/text.ts';

export function checkText(field: string, text: string, bytesMax: number): Refusal | null {
  if (hasNul(text)) return refuseField('INVALID_FIELD', field, 'holds U+0000');
  const bytes = utf8Bytes(text);
  return bytes > bytesMax ? refuseLimit(field, bytes, bytesMax, 'bytes') : null;
}

const NUL = /\u0000/g;

/** The store cannot hold U+0000; in what a worker reports it is replaced rather than refused. */
export function clean(text: string): string {
  return text.includes('\u0000') ? text.replace(NUL, '\ufffd') : text;
}

/** At most so many bytes of UTF-8, never half a character: a lone surrogate, here or inside, would break a header. */
export function clipBytes(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= bytesMax) return bytes.toString();
  // A cut inside a character leaves a replacement mark at the end: it goes too.
  return `${bytes
    .subarray(0, bytesMax)
    .toString()
    .replace(/\ufffd+$/, '')}…`;
}
