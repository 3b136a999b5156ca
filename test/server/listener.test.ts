import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Metadata, status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../gen/grpc/health/v1/health_pb.ts';
import {
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import { present, useYard } from '../support/conformance.ts';
import { callsOf, failureOf } from '../support/conformance_calls.ts';

const yard = useYard();
const health = callsOf(() => yard.client, Health);

type Question = ServerReflectionRequest['messageRequest'];
type Answer = ServerReflectionResponse['messageResponse'];

/** Asks each question on one stream, as buf and grpcurl do. */
function reflect(version: string, questions: readonly Question[]): Promise<Answer[]> {
  return new Promise((resolve, reject) => {
    const answers: Answer[] = [];
    const stream = yard.client.makeBidiStreamRequest(
      `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
      (request: ServerReflectionRequest) => Buffer.from(toBinary(ServerReflectionRequestSchema, request)),
      (bytes) => fromBinary(ServerReflectionResponseSchema, bytes),
      new Metadata(),
    );
    stream.on('data', (response: ServerReflectionResponse) => answers.push(response.messageResponse));
    stream.on('error', reject);
    stream.on('end', () => resolve(answers));
    for (const messageRequest of questions) stream.write(create(ServerReflectionRequestSchema, { messageRequest }));
    stream.end();
  });
}

function filesOf(answer: Answer | undefined) {
  if (answer?.case !== 'fileDescriptorResponse') throw new Error(`no files, but ${JSON.stringify(answer)}`);
  return answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
}

describe('the gRPC listener', () => {
  it('answers the health check for itself and for both services', async () => {
    for (const service of ['', 'yardmaster.v1.AdminService', 'yardmaster.v1.WorkerService']) {
      expect((await health.check({ service })).status, service).toBe(Serving.SERVING);
    }
    expect(await failureOf(health.check({ service: 'nobody' }))).toMatchObject({ code: status.NOT_FOUND });
  });

  it.each(['v1', 'v1alpha'])('lists its services by reflection %s', async (version) => {
    const [answer] = await reflect(version, [{ case: 'listServices', value: '' }]);
    if (answer?.case !== 'listServicesResponse') throw new Error('no list');
    expect(answer.value.service.map(({ name }) => name)).toEqual([
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
      'yardmaster.v1.AdminService',
      'yardmaster.v1.WorkerService',
    ]);
  });

  it.each(['v1', 'v1alpha'])('describes its services by reflection %s', async (version) => {
    const symbols = [
      'yardmaster.v1.AdminService',
      'yardmaster.v1.WorkerService.Connect',
      'yardmaster.v1.Run',
      'grpc.health.v1.Health',
    ];
    const byName: Question = { case: 'fileByFilename', value: 'yardmaster/v1/run.proto' };
    const answers = await reflect(version, [
      ...symbols.map((value) => ({ case: 'fileContainingSymbol', value }) as const),
      byName,
      { case: 'fileContainingSymbol', value: 'yardmaster.v1.Nothing' },
    ]);
    const [admin, connect, run, healthFiles, file, unknown] = answers;
    const services = filesOf(admin)[0]?.service;
    const scheduleRun = services
      ?.find(({ name }) => name === 'AdminService')
      ?.method.find(({ name }) => name === 'ScheduleRun');
    expect(scheduleRun).toMatchObject({ inputType: '.yardmaster.v1.ScheduleRunRequest' });
    expect(filesOf(connect)[0]?.service.map(({ name }) => name)).toContain('WorkerService');
    expect(filesOf(run)[0]?.name).toBe('yardmaster/v1/run.proto');
    expect(filesOf(healthFiles)[0]?.package).toBe('grpc.health.v1');
    expect(filesOf(file)[0]?.messageType.map(({ name }) => name)).toContain('Run');
    // Everything a client needs to build it, so that it asks once.
    const names = filesOf(admin).map(({ name }) => name);
    for (const needed of filesOf(admin).flatMap(({ dependency }) => dependency)) expect(names).toContain(needed);
    expect(present(unknown).case).toBe('errorResponse');
  });
});
