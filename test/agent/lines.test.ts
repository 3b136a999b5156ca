import { describe, expect, it } from 'vitest';
import { LastLines } from '../../src/cli/agent/last_lines.ts';
import { LINE_BYTES_MAX, LineSplitter } from '../../src/cli/agent/lines.ts';
import { LogGate } from '../../src/cli/agent/log_gate.ts';

/** The lines of all this, whatever pieces it comes in. */
function linesOf(bytes: Uint8Array, piece: number): string[] {
  const splitter = new LineSplitter();
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += piece) lines.push(...splitter.push(bytes.subarray(at, at + piece)));
  return [...lines, ...splitter.flush()];
}

describe('lines', () => {
  it.each([
    ['a\nb\n', ['a', 'b']],
    ['a\n\nb', ['a', '', 'b']],
    ['', []],
    ['\n', ['']],
    ['a\r\nb\r\n', ['a', 'b']],
    ['a\r\r\nb', ['a', 'b']],
    ['\r\n\r\n', ['', '']],
    ['10%\r50%\r100%\n', ['100%']],
    ['10%\r50%\r100%\rdone', ['done']],
    ['10%\r50%\r', ['50%']],
    ['é😀\nü', ['é😀', 'ü']],
    ['\ufeffa\n', ['\ufeffa']],
  ])('of %j', (text, lines) => {
    const bytes = Buffer.from(text);
    for (const piece of [1, 2, 3, 100]) expect(linesOf(bytes, piece)).toEqual(lines);
  });

  it('replace what is not UTF-8', () => {
    expect(linesOf(Buffer.from([0x61, 0xff, 0x62, 0x0a, 0xc3, 0x0a]), 1)).toEqual(['a\ufffdb', '\ufffd']);
  });

  it('are cut between two characters, and say by how much', () => {
    const [line = '', next] = linesOf(Buffer.from(`a${'é'.repeat(LINE_BYTES_MAX)}\nnext`), 1_000);
    expect(line).toMatch(/^aé+ \[8001 more bytes cut\]$/);
    expect(Buffer.byteLength(line)).toBeLessThan(8 * 1024);
    expect(next).toBe('next');
  });

  it('that are redrawn and do not end are glimpsed once per redrawing, and not said again', () => {
    const splitter = new LineSplitter();
    expect([...splitter.push(Buffer.from('10%\r20%\r'))]).toEqual([]);
    expect([splitter.glimpse(), splitter.glimpse()]).toEqual(['20%', undefined]);
    expect([...splitter.push(Buffer.from('30%\r'))]).toEqual([]);
    expect(splitter.glimpse()).toBe('30%');
    expect([...splitter.push(Buffer.from('\nnext'))]).toEqual([]);
    expect(splitter.glimpse()).toBeUndefined();
    expect([...splitter.flush()]).toEqual(['next']);
  });
});

describe('the last lines', () => {
  it('are at most twenty, and fit into an error message', () => {
    const last = new LastLines();
    expect(last.isEmpty).toBe(true);
    for (let line = 1; line <= 30; line += 1) last.add(`line ${line}`);
    expect(last.text().split('\n')).toEqual(Array.from({ length: 20 }, (_, at) => `line ${at + 11}`));
    for (let line = 1; line <= 30; line += 1) last.add('€'.repeat(5_000));
    expect(Buffer.byteLength(last.text())).toBeLessThan(8_000);
    expect(last.text()).not.toBe('');
  });
});

describe('the gate of the log', () => {
  it('lets a burst through, then slows whoever prints to the rate', () => {
    const gate = new LogGate({ linesPerSecond: 100, bytesPerSecond: 1_000, burstMs: 1_000 });
    expect(gate.charge(100, 10, 0)).toBe(0);
    expect(gate.charge(50, 10, 0)).toBe(500);
    expect(gate.charge(0, 500, 500)).toBe(500);
    expect(gate.charge(1, 0, 60_000)).toBe(0);
  });
});
