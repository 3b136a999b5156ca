import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { unique, useYard } from '../support/conformance.ts';

const HELLO_TIMEOUT_MS = 500;
const yard = useYard({ times: { helloTimeoutMs: HELLO_TIMEOUT_MS } });

describe('the first message of a stream', () => {
  it('V1 no hello in time, or another first message: INVALID_ARGUMENT', async () => {
    const openedAt = performance.now();
    const silent = yard.open();
    expect(await silent.ended).toMatchObject({
      code: status.INVALID_ARGUMENT,
      reason: 'HELLO_EXPECTED',
      domain: 'yardmaster',
    });
    expect(performance.now() - openedAt).toBeGreaterThanOrEqual(HELLO_TIMEOUT_MS * 0.9);
    expect(silent.received).toEqual([]);

    const early = yard.open();
    early.send({ case: 'heartbeat', value: {} });
    expect(await early.ended).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'HELLO_EXPECTED' });

    const eager = yard.open();
    eager.send({ case: 'upsertLabels', value: { labels: { memory: 1 } } });
    expect(await eager.ended).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'HELLO_EXPECTED' });

    const empty = yard.open();
    empty.sendBytes(new Uint8Array());
    expect(await empty.ended).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'HELLO_EXPECTED' });
  });

  it('a stream that said hello in time outlives the hello timeout', async () => {
    const worker = await yard.connect();
    // Another stream that times out after it shows that the time is over, without a sleep.
    await yard.open().ended;
    await worker.heartbeat();
    expect(worker.isEnded).toBe(false);
  });

  it('a hello uses sequence 0', async () => {
    const stream = yard.open();
    stream.sendAs(1, { case: 'hello', value: { name: unique('worker') } });
    expect(await stream.ended).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'INVALID_SEQUENCE' });
  });

  it('a hello that cannot be taken ends the stream, naming the field', async () => {
    const refused: [hello: object, reason: string, named: string][] = [
      [{ name: 'x' }, 'INVALID_NAME', 'name'],
      [{ name: '-ab' }, 'INVALID_NAME', 'name'],
      [{ name: 'n'.repeat(129) }, 'INVALID_NAME', 'name'],
      [{ tags: ['gpu'] }, 'TAGS_WITHOUT_IDENTITY', 'tags'],
      [
        { name: unique('worker'), tags: Array.from({ length: 65 }, (_, index) => `t${index}`) },
        'LIMIT_EXCEEDED',
        'tags',
      ],
      [{ name: unique('worker'), slots: 10_001 }, 'LIMIT_EXCEEDED', 'slots'],
      [{ name: unique('worker'), actions: [''] }, 'INVALID_FIELD', 'actions'],
      [{ name: unique('worker'), labels: { flag: true } }, 'INVALID_LABEL', 'labels'],
    ];
    for (const [hello, reason, named] of refused) {
      const stream = yard.open();
      stream.send({ case: 'hello', value: hello });
      const end = await stream.ended;
      expect(end, JSON.stringify(hello)).toMatchObject({ code: status.INVALID_ARGUMENT, reason, domain: 'yardmaster' });
      expect(end.fields.map(({ field }) => field).join()).toContain(named);
    }
  });

  it('an id and a name that disagree are refused', async () => {
    const [first, second] = [await yard.connect(), await yard.connect()];
    const stream = yard.open();
    stream.send({ case: 'hello', value: { workerId: first.workerId, name: second.welcome.name } });
    expect(await stream.ended).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'ID_AND_NAME_DISAGREE' });
    // Nobody was thrown out by it.
    await Promise.all([first.heartbeat(), second.heartbeat()]);
  });
});
