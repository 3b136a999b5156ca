import { describe, expect, test } from 'vitest';
import { LogLevel } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import type { StepContext } from '../../src/worker/index.ts';
import { LOG_LINES_UNSETTLED_MAX } from '../../src/worker/limits.ts';
import { cut, gate, type Stage, stage } from './fake-stream.ts';
import type { Peer } from './peer.ts';

async function running(welcome: Parameters<Peer['welcome']>[0] = {}) {
  const handler = gate();
  let context: StepContext | undefined;
  const current: Stage = await stage(
    {
      actions: {
        work: (ctx) => {
          context = ctx;
          return handler.promise;
        },
      },
    },
    welcome,
  );
  current.peer.runStep('a');
  await current.peer.take('stepAccepted');
  current.peer.acknowledge(1);
  if (context === undefined) throw new Error('not begun');
  return { ...current, current, handler, context };
}

describe('log lines', () => {
  test('travel together after a short window, numbered from 1', async () => {
    const { peer, clock, context } = await running();
    context.log('one');
    context.log.warning('two\r\nthree');
    context.log.debug('');
    context.log.error('x');
    await clock.advance(19);
    expect(peer.waiting()).toEqual([]);
    await clock.advance(1);
    const { sequence, value } = await peer.take('stepLogged');
    expect(sequence).toBe(2);
    expect(value.firstLineNumber).toBe(1n);
    expect(value.lines.map(({ level, text }) => [level, text])).toEqual([
      [LogLevel.INFO, 'one'],
      [LogLevel.WARNING, 'two'],
      [LogLevel.WARNING, 'three'],
      [LogLevel.DEBUG, ''],
      [LogLevel.ERROR, 'x'],
    ]);
    context.log.info('six');
    await clock.advance(20);
    expect((await peer.take('stepLogged')).value.firstLineNumber).toBe(6n);
  });

  test('are cut at a character, and go before the result', async () => {
    const { peer, context, handler } = await running({ limits: { logLineBytes: 10 } });
    context.log('ééééééé');
    context.log('a😀😀😀');
    handler.open(1);
    const { value } = await peer.take('stepLogged');
    expect(value.lines.map(({ text }) => text)).toEqual(['ééééé', 'a😀😀']);
    await peer.take('stepSucceeded');
    context.log('too late');
    context.progress('too late');
    expect(peer.waiting()).toEqual([]);
  });

  test('keep to the rate, and the result waits for them', async () => {
    const { peer, clock, context, handler } = await running({ limits: { logLinesPerSecond: 500 } });
    for (let line = 0; line < 1_000; line += 1) context.log(`line ${line}`);
    handler.open(1);
    await clock.advance(999);
    expect(peer.waiting()).toEqual(['stepLogged', 'stepLogged']);
    await clock.advance(1_001);
    expect(peer.waiting()).toEqual([...new Array(5).fill('stepLogged'), 'stepSucceeded']);
    const lines = [];
    for (let count = 0; count < 5; count += 1) {
      const { value } = await peer.take('stepLogged');
      expect(value.firstLineNumber).toBe(BigInt(lines.length + 1));
      lines.push(...value.lines);
    }
    expect(lines).toHaveLength(1_000);
  });

  test('said while away arrive after the cut, contiguous', async () => {
    const { current, context, clock } = await running();
    context.log('one');
    await clock.advance(20);
    current.peer.end(14);
    context.log('two');
    await clock.advance(1_000);
    context.log('three');
    current.peer = await current.peers.next();
    await current.peer.take('hello');
    current.peer.welcome();
    const first = await current.peer.take('stepLogged');
    expect(first.value.lines.map(({ text }) => text)).toEqual(['one']);
    await clock.advance(20);
    const second = await current.peer.take('stepLogged');
    expect(second.value.firstLineNumber).toBe(2n);
    expect(second.value.lines.map(({ text }) => text)).toEqual(['two', 'three']);
  });

  test('over the bound are dropped, and the log says so', async () => {
    const { current, context, clock, handler } = await running({
      limits: { logLinesPerSecond: 1e6 },
    });
    for (let line = 0; line < LOG_LINES_UNSETTLED_MAX + 7; line += 1) context.log('x');
    await clock.advance(20);
    current.peer.acknowledge(1_000);
    context.log('after');
    handler.open(1);
    await clock.advance(1);
    const texts: string[] = [];
    for (;;) {
      const { message } = await current.peer.next();
      if (message.case !== 'stepLogged') break;
      texts.push(...message.value.lines.map(({ text }) => text));
    }
    expect(texts).toHaveLength(LOG_LINES_UNSETTLED_MAX + 2);
    expect(texts.at(-2)).toMatch(/7 log lines dropped/);
    expect(texts.at(-1)).toBe('after');
    await cut(current);
  });

  test('refused with retry_after hold the result back; refused for good they do not', async () => {
    const { peer, clock, context, handler } = await running();
    context.log('one');
    await clock.advance(20);
    peer.refuse((await peer.take('stepLogged')).sequence, 'RATE_LIMITED', 100);
    handler.open(1);
    await clock.advance(99);
    expect(peer.waiting()).toEqual([]);
    await clock.advance(1);
    peer.refuse((await peer.take('stepLogged')).sequence, 'STALE_ASSIGNMENT');
    await peer.take('stepSucceeded');
  });
});
