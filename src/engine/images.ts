/** Rows from records: the image that is written when a batch is sealed. */
import type { NamespaceRow, RunInsertRow, RunUpdateRow, WorkerRow } from './rows.ts';
import type { NamespaceRecord, RunRecord, StepFailure, StepRecord, WorkerRecord } from './state.ts';

export function runUpdateRow(run: RunRecord, outputJson: string | null): RunUpdateRow {
  const step = run.steps[0] as StepRecord;
  const { assignment } = step;
  return {
    run_id: run.runId,
    revision: run.revision,
    priority: run.priority,
    state: run.state,
    step_state: step.state,
    ready_sequence: step.readySequence,
    failures: step.failures,
    losses: step.losses,
    started: step.started,
    assignment_id: assignment?.assignmentId ?? null,
    assignment_number: assignment?.number ?? null,
    worker_id: assignment?.worker.workerId ?? null,
    worker_name: assignment?.worker.name ?? null,
    labels_revision: assignment?.labelsRevision ?? null,
    assign_ms: assignment?.assignMs ?? null,
    accept_ms: assignment?.acceptMs ?? null,
    ready_ms: step.readyMs,
    schedule_deadline_ms: step.scheduleDeadlineMs,
    start_ms: run.startMs,
    end_ms: run.endMs,
    // One step of the run may have been told to stop, rather than the run.
    cancel_reason: run.cancelReason ?? assignment?.cancelReason ?? null,
    progress: step.progress === null ? null : JSON.stringify(step.progress),
    failure: failureJson(step.failure),
    output: outputJson,
  };
}

export function runInsertRow(run: RunRecord, inputJson: string, outputJson: string | null): RunInsertRow {
  const step = run.steps[0] as StepRecord;
  return {
    ...runUpdateRow(run, outputJson),
    namespace: run.namespace.name,
    action: step.definition.action,
    step_name: step.definition.name,
    definition: JSON.stringify({ step: step.definition, desired: run.desired }),
    runs_on: JSON.stringify(run.runsOn),
    metadata: JSON.stringify(run.metadata),
    input: inputJson,
    request_id: run.requestId === '' ? null : run.requestId,
    request_digest: run.requestId === '' ? null : run.requestDigest,
    create_ms: run.createMs,
  };
}

export function workerRow(worker: WorkerRecord): WorkerRow {
  return {
    worker_id: worker.workerId,
    worker_number: worker.workerNumber,
    namespace: worker.namespace,
    name: worker.name,
    display_name: worker.displayName,
    nickname: worker.nickname,
    default_worker: worker.defaultWorker,
    tags: JSON.stringify(worker.tagList),
    labels: JSON.stringify([...worker.labels]),
    labels_revision: worker.labelsRevision,
    actions: JSON.stringify([...worker.actions]),
    slots: worker.slots,
    devices: worker.devices === null ? null : JSON.stringify(worker.devices),
    sdk: worker.sdk === null ? null : JSON.stringify(worker.sdk),
    draining: worker.draining,
    crashed: worker.crashed,
    session_hash: worker.sessionHash,
    reserved: worker.reserved.size === 0 ? null : JSON.stringify([...worker.reserved]),
    completed_count: worker.completedCount,
    register_ms: worker.registerMs,
    connect_ms: worker.connectMs,
    last_seen_ms: worker.lastSeenMs,
  };
}

export function namespaceRow(namespace: NamespaceRecord): NamespaceRow {
  return {
    name: namespace.name,
    match_mode: namespace.matchMode,
    retention_ms: namespace.retentionMs,
    schedule_timeout_ms: namespace.scheduleTimeoutMs,
  };
}

export function failureJson(failure: StepFailure | null): string | null {
  return failure === null ? null : JSON.stringify(failure);
}
