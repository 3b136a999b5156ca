/** Rpcs over Connect, gRPC-Web and gRPC: the same functions as on the gRPC listener, the same checks, the same errors. */
import { create, createRegistry, type DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter, createContextKey, type HandlerContext } from '@connectrpc/connect';
import { BadRequestSchema, ErrorInfoSchema } from '../../../gen/google/rpc/error_details_pb.ts';
import { NAMESPACE_DEFAULT } from '../../engine/namespaces.ts';
import type { Refusal } from '../../domain/refusal.ts';
import { bounded, detailsOf, RefusedError, statusCode } from '../errors.ts';
import { type AnyRpc, findRpc, NAMESPACE_KEY, type Notes, noted } from '../grpc/adapter.ts';
import type { Caller } from '../rpc/rpc.ts';
import { checkShape } from '../validate.ts';
