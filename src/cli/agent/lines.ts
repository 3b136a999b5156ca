/**
 * The bytes of a pipe as lines of text. Pure, and bounded whatever comes in.
 *
 * A carriage return does what it does on a terminal: what follows overwrites what stood there. So a progress bar that
 * is redrawn a hundred times leaves one line, its last state, and `\r\n` is an end of line like `\n`.
 */

/** With the note about what was cut this stays under the 8 KiB that a server keeps of a line by default. */
export const LINE_BYTES_MAX = 8_000;

const NEW_LINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

export class LineSplitter {
  readonly #kept = Buffer.allocUnsafe(LINE_BYTES_MAX);
  #length = 0;
  #cutBytes = 0;
  /** What stood on the line when the last carriage return came. */
  #standing: string | undefined;
  #standingSeen = false;

  /** The lines that these bytes complete. */
  *push(bytes: Uint8Array): Generator<string> {
    for (let at = 0; at < bytes.length; ) {
      const end = bytes.indexOf(NEW_LINE, at);
      this.#overwrite(bytes.subarray(at, end < 0 ? bytes.length : end));
      if (end < 0) return;
      yield* this.flush(true);
      at = end + 1;
    }
  }

  /** What is left at the end of the pipe, if anything is. */
  *flush(ended = false): Generator<string> {
    if (this.#length > 0) yield this.#take();
    else if (this.#standing !== undefined && !this.#standingSeen) yield this.#standing;
    else if (this.#standing === undefined && ended) yield '';
    this.#standing = undefined;
    this.#standingSeen = false;
  }

  /** What was redrawn on the line that has not ended, once per redrawing: a bar may be drawn for hours. */
  glimpse(): string | undefined {
    if (this.#standing === undefined || this.#standingSeen) return undefined;
    this.#standingSeen = true;
    return this.#standing;
  }

  #overwrite(bytes: Uint8Array): void {
    let at = 0;
    for (;;) {
      const end = bytes.indexOf(CARRIAGE_RETURN, at);
      this.#append(bytes.subarray(at, end < 0 ? bytes.length : end));
      if (end < 0) return;
      if (this.#length > 0) {
        this.#standing = this.#take();
        this.#standingSeen = false;
      }
      at = end + 1;
    }
  }

  #append(bytes: Uint8Array): void {
    const fitting = bytes.subarray(0, LINE_BYTES_MAX - this.#length);
    this.#kept.set(fitting, this.#length);
    this.#length += fitting.length;
    this.#cutBytes += bytes.length - fitting.length;
  }

  #take(): string {
    const cutBytes = this.#cutBytes;
    // A decoder that expects more says nothing of the character that the cut has torn.
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    const text = decoder.decode(this.#kept.subarray(0, this.#length), { stream: cutBytes > 0 });
    this.#length = 0;
    this.#cutBytes = 0;
    return cutBytes === 0 ? text : `${text} [${cutBytes} more bytes cut]`;
  }
}
