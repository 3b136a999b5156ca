/** The first message of a stream as a command. */
import { create } from '@bufbuild/protobuf';
import { type Hello, type Welcome, WelcomeSchema } from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import type { Limits, Times } from '../../domain/limits.ts';
import { isRefusal, type Refusal, refuseField, refuseLimit } from '../../domain/refusal.ts';
import { parseTags } from '../../domain/tags.ts';
import type { OpenSession, SessionOpened } from '../../engine/commands.ts';
import { digest } from '../../lib/random.ts';
import { HELLO_LABELS, readLabelPatch, writeLabels } from '../convert/labels.ts';
import { checkText } from '../convert/text.ts';
import { duration } from '../convert/time.ts';

export interface HelloContext {
  readonly connection: number;
  readonly namespace: string;
  readonly secret: string;
  readonly limits: Limits;
}

export function readHello(hello: Hello, bytes: Uint8Array, context: HelloContext): OpenSession | Refusal {
  const { limits } = context;
  const tags = parseTags('hello.tags', hello.tags, limits.tagsPerWorkerMax, limits);
  if (isRefusal(tags)) return tags;
  const actions = readActions(hello.actions, limits);
  if (isRefusal(actions)) return actions;
  const labels = hello.labels === undefined ? null : readLabelPatch('hello.labels', bytes, HELLO_LABELS);
  if (isRefusal(labels)) return labels;
  const badNickname = checkText('hello.nickname', hello.nickname, limits.valueBytesMax);
  if (badNickname) return badNickname;
  return {
    connection: context.connection,
    namespace: context.namespace,
    workerId: hello.workerId,
    name: hello.name,
    tags,
    labels,
    actions,
    slots: hello.slots ?? null,
    devices: hello.devices ? { gpuIds: hello.devices.gpuIds, cpuSlots: hello.devices.cpuSlots ?? null } : null,
    nickname: hello.nickname,
    sdk: hello.sdk ? { name: hello.sdk.name, version: hello.sdk.version, language: hello.sdk.language } : null,
    resume: hello.resume
      ? { sessionHash: digest(hello.resume.sessionId), heldAssignmentIds: hello.resume.heldAssignmentIds }
      : null,
    newSessionHash: digest(context.secret),
  };
}

function readActions(actions: readonly string[], limits: Limits): string[] | Refusal {
  const unique = [...new Set(actions)];
  if (unique.length > limits.actionsPerWorkerMax)
    return refuseLimit('hello.actions', unique.length, limits.actionsPerWorkerMax, 'actions');
  for (const action of unique) {
    if (action === '') return refuseField('INVALID_FIELD', 'hello.actions', 'holds an empty action');
    const bad = checkText('hello.actions', action, limits.keyBytesMax);
    if (bad) return bad;
  }
  return unique;
}

/** `sessionId` is the process's secret: the new one, or the one it resumed with. */
export function writeWelcome(opened: SessionOpened, sessionId: string, limits: Limits, times: Times): Welcome {
  const { worker } = opened;
  return create(WelcomeSchema, {
    workerId: worker.workerId,
    name: worker.name,
    displayName: worker.displayName,
    namespace: worker.namespace,
    sessionId,
    tags: [...worker.tags],
    labels: writeLabels(worker.labels),
    labelsRevision: BigInt(worker.labelsRevision),
    heartbeatInterval: duration(times.heartbeatIntervalMs),
    silenceTimeout: duration(times.silenceTimeoutMs),
    reconnectGrace: duration(times.reconnectGraceMs),
    acceptTimeout: duration(times.acceptTimeoutMs),
    keptAssignmentIds: [...opened.keptAssignmentIds],
    droppedAssignmentIds: [...opened.droppedAssignmentIds],
    limits: {
      messageBytes: limits.messageBytesMax,
      payloadBytes: limits.payloadBytesMax,
      progressTextCharacters: limits.progressTextCharactersMax,
      logLineBytes: limits.logLineBytesMax,
      logBytesPerAttempt: BigInt(limits.logBytesPerAttemptMax),
      logLinesPerSecond: limits.logLinesPerSecondMax,
      labelMessagesPerSecond: limits.labelMessagesPerSecondMax,
    },
    warnings: opened.warnings.map((warning) => warning.message),
  });
}
