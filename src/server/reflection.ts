/**
 * Server reflection over the generated descriptors: what the contract says, options and all. One answer serves both
 * versions of the protocol, whose messages are the same on the wire.
 */
import {
  create,
  createRegistry,
  type DescFile,
  type MessageInitShape,
  type Registry,
  toBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { file_grpc_health_v1_health } from '../../gen/grpc/health/v1/health_pb.ts';
import {
  file_grpc_reflection_v1_reflection,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import { file_grpc_reflection_v1alpha_reflection } from '../../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { AdminService, file_yardmaster_v1_admin_service } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { file_yardmaster_v1_worker_service, WorkerService } from '../../gen/yardmaster/v1/worker_service_pb.ts';

const ROOTS = [
  file_yardmaster_v1_admin_service,
  file_yardmaster_v1_worker_service,
  file_grpc_health_v1_health,
  file_grpc_reflection_v1_reflection,
  file_grpc_reflection_v1alpha_reflection,
];
const HEALTH = 'grpc.health.v1.Health';
const REFLECTION = ['grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection'];

const NOT_FOUND = 5;
const INVALID_ARGUMENT = 3;

export type Reflect = (request: ServerReflectionRequest) => ServerReflectionResponse;

/** Answers for a listener that carries these services. */
export function createReflection(
  services: readonly string[] = [AdminService.typeName, WorkerService.typeName, HEALTH, ...REFLECTION],
): Reflect {
  const files = ROOTS.flatMap(withDependencies);
  const known: Known = {
    types: createRegistry(...files),
    files: new Map(files.map((file) => [file.proto.name, file])),
  };
  return (request) =>
    create(ServerReflectionResponseSchema, {
      validHost: request.host,
      originalRequest: request,
      messageResponse: answer(known, services, request.messageRequest),
    });
}

interface Known {
  readonly types: Registry;
  /** By name, as in an import. */
  readonly files: ReadonlyMap<string, DescFile>;
}

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>;

function answer(
  { types, files }: Known,
  services: readonly string[],
  asked: ServerReflectionRequest['messageRequest'],
): Answer {
  switch (asked.case) {
    case 'listServices':
      return { case: 'listServicesResponse', value: { service: [...services].sort().map((name) => ({ name })) } };
    case 'fileByFilename':
      return fileAnswer(files.get(asked.value), `file "${asked.value}"`);
    case 'fileContainingSymbol':
      return fileAnswer(fileOf(types, asked.value), `symbol "${asked.value}"`);
    case 'fileContainingExtension': {
      const { containingType, extensionNumber } = asked.value;
      const message = types.getMessage(containingType);
      const extension = message && types.getExtensionFor(message, extensionNumber);
      return fileAnswer(extension?.file, `extension ${extensionNumber} of "${containingType}"`);
    }
    case 'allExtensionNumbersOfType': {
      const extensionNumber = [...types]
        .filter((desc) => desc.kind === 'extension')
        .filter((desc) => desc.extendee.typeName === asked.value)
        .map((desc) => desc.number);
      return { case: 'allExtensionNumbersResponse', value: { baseTypeName: asked.value, extensionNumber } };
    }
    default:
      return failed(INVALID_ARGUMENT, 'the request asks for nothing this server knows');
  }
}

/** A symbol is a service, message, enum or extension, or something inside one. */
function fileOf(registry: Registry, symbol: string): DescFile | undefined {
  for (let name = symbol; name !== ''; name = name.slice(0, Math.max(0, name.lastIndexOf('.')))) {
    const desc = registry.get(name);
    if (desc) return desc.file;
  }
  return undefined;
}

/** The file and everything it imports, each once: the caller needs no second question. */
function fileAnswer(file: DescFile | undefined, what: string): Answer {
  if (file === undefined) return failed(NOT_FOUND, `${what} is not known here`);
  const fileDescriptorProto = withDependencies(file).map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
}

function failed(errorCode: number, errorMessage: string): Answer {
  return { case: 'errorResponse', value: { errorCode, errorMessage } };
}

function withDependencies(file: DescFile): DescFile[] {
  const files = new Set<DescFile>();
  const add = (next: DescFile) => {
    if (files.has(next)) return;
    files.add(next);
    next.dependencies.forEach(add);
  };
  add(file);
  return [...files];
}
