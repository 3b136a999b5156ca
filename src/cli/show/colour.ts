/** The few colours there are. */
const ESCAPE = '\u001b[';
const STATE_COLOURS: Readonly<Record<string, number>> = {
  SUCCEEDED: 32,
  RUNNING: 36,
  BUSY: 36,
  FAILED: 31,
  CRASHED: 31,
  TIMED_OUT: 31,
  CANCELLED: 33,
  DISCONNECTED: 33,
  OFFLINE: 90,
};

export function bold(text: string, colours: boolean): string {
  return colours ? `${ESCAPE}1m${text}${ESCAPE}22m` : text;
}

/** The name of a state; others stay as they are. */
export function coloured(state: string, colours: boolean): string {
  const colour = STATE_COLOURS[state];
  return colours && colour !== undefined ? `${ESCAPE}${colour}m${state}${ESCAPE}39m` : state;
}
