import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { unique, useYard } from '../support/conformance.ts';
import type { WorkerStream } from '../support/conformance_stream.ts';

const yard = useYard();

const MIB = 1024 * 1024;

/** A message of a kind that only a newer client knows. */
function unknownKind(sequence: number): Uint8Array {
  const writer = new BinaryWriter();
  if (sequence !== 0) writer.tag(1, WireType.Varint).uint64(sequence);
  return writer.tag(900, WireType.LengthDelimited).string('from the future').finish();
}

async function running(): Promise<{ worker: WorkerStream; runId: string; assignmentId: string }> {
  const action = unique('wire');
  const worker = await yard.connect({ actions: [action] });
  const runId = await yard.submit({ action });
  const { assignmentId } = await worker.take();
  return { worker, runId, assignmentId };
}

describe('the wire', () => {
  it('V2 a second hello: INVALID_ARGUMENT', async () => {
    const worker = await yard.connect();
    worker.send({ case: 'hello', value: { name: worker.welcome.name } });
    expect(await worker.ended).toMatchObject({
      code: status.INVALID_ARGUMENT,
      reason: 'SECOND_HELLO',
      domain: 'yardmaster',
    });
  });

  it('V3 an unknown kind of message is refused, and the stream stays up', async () => {
    const { worker, runId, assignmentId } = await running();
    worker.sequence += 1;
    worker.sendBytes(unknownKind(worker.sequence));
    expect(await worker.next('refused')).toMatchObject({
      sequence: BigInt(worker.sequence),
      code: status.INVALID_ARGUMENT,
      reason: 'UNKNOWN_MESSAGE',
    });
    await worker.settled(worker.sequence);
    // A kind that is sent with 0 is refused as well, and is not counted.
    worker.sendBytes(unknownKind(0));
    expect(await worker.next('refused')).toMatchObject({ sequence: 0n, reason: 'UNKNOWN_MESSAGE' });
    await worker.settled(worker.succeed({ assignmentId }));
    expect(await yard.runState(runId)).toBe('SUCCEEDED');
  });

  it('V4 a message over 4 MiB is refused, and the stream stays up', async () => {
    const { worker, runId, assignmentId } = await running();
    const sequence = worker.succeed({ assignmentId }, 'x'.repeat(5 * MIB));
    const refused = await worker.next('refused');
    expect(refused).toMatchObject({
      sequence: BigInt(sequence),
      code: status.RESOURCE_EXHAUSTED,
      reason: 'MESSAGE_TOO_LARGE',
    });
    expect(refused.message).toContain(String(4 * MIB));
    expect(refused.metadata).toMatchObject({ limit: String(4 * MIB) });
    await worker.settled(sequence);
    expect(await yard.stepState(runId)).toBe('RUNNING');
    await worker.settled(worker.succeed({ assignmentId }, 'small'));
    expect(await yard.run(runId)).toMatchObject({ outputJson: '"small"' });
  });

  it('a message over twice the limit ends the stream by the transport', async () => {
    const { worker, assignmentId } = await running();
    worker.succeed({ assignmentId }, 'x'.repeat(9 * MIB));
    expect(await worker.ended).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  });

  it('V5 malformed JSON output is refused', async () => {
    const { worker, runId, assignmentId } = await running();
    const deep = `${'['.repeat(65)}${']'.repeat(65)}`;
    const malformed = ['{"a":', '{} {}', "{'a':1}", 'undefined', 'NaN', '{"a":1,}', '"\u0001"', deep];
    for (const outputJson of malformed) {
      const sequence = worker.send({ case: 'stepSucceeded', value: { assignmentId, outputJson } });
      const refused = await worker.next('refused');
      expect(refused, outputJson).toMatchObject({ sequence: BigInt(sequence), code: status.INVALID_ARGUMENT });
      expect(refused.reason, outputJson).toBe(outputJson === deep ? 'LIMIT_EXCEEDED' : 'INVALID_JSON');
      expect(refused.metadata).toMatchObject({ field: 'step_succeeded.output_json' });
      await worker.settled(sequence);
    }
    expect(await yard.stepState(runId)).toBe('RUNNING');
    // Kept byte for byte: spaces, order of keys, and numbers no double can hold.
    const exact = '{ "b": 12345678901234567890, "a": "\\u0000",\n"a": 1e400 }';
    await worker.settled(worker.send({ case: 'stepSucceeded', value: { assignmentId, outputJson: exact } }));
    expect(await yard.run(runId)).toMatchObject({ outputJson: exact });
  });

  it('bytes that are no message are refused, and the stream stays up', async () => {
    const { worker, runId, assignmentId } = await running();
    worker.sequence += 1;
    // A sequence that can be read, and then a field that is cut off.
    const broken = new BinaryWriter()
      .tag(1, WireType.Varint)
      .uint64(worker.sequence)
      .tag(9, WireType.LengthDelimited)
      .uint32(1)
      .uint32(8)
      .finish();
    worker.sendBytes(broken);
    expect(await worker.next('refused')).toMatchObject({ sequence: BigInt(worker.sequence), reason: 'INVALID_FIELD' });
    await worker.settled(worker.succeed({ assignmentId }));
    expect(await yard.runState(runId)).toBe('SUCCEEDED');
  });
});
