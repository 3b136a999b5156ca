/** Every limit and every default time, by name, with its unit last. Settings override them one by one. */
export interface Limits {
  readonly tagsPerWorkerMax: number;
  readonly runsOnMax: number;
  readonly labelsPerWorkerMax: number;
  readonly desiredLabelsMax: number;
  readonly comparatorValuesMax: number;
  readonly keyBytesMax: number;
  readonly valueBytesMax: number;
  readonly actionsPerWorkerMax: number;
  readonly slotsMax: number;
  readonly payloadBytesMax: number;
  readonly messageBytesMax: number;
  readonly nestingMax: number;
  readonly progressTextCharactersMax: number;
  readonly logLineBytesMax: number;
  readonly logBytesPerAttemptMax: number;
  readonly logLinesPerSecondMax: number;
  readonly labelMessagesPerSecondMax: number;
  readonly batchRunsMax: number;
  readonly stepsPerRunMax: number;
  /** Runs that one run may depend on. */
  readonly dependenciesPerRunMax: number;
  readonly metadataEntriesMax: number;
  /** Top-level keys of an input that do not count when inputs are compared. */
  readonly hashExcludeKeysMax: number;
  /** Times that steps of a run may run again because their outputs were reported invalid. */
  readonly stepBacksPerRunMax: number;
  readonly pageSizeDefault: number;
  readonly pageSizeMax: number;
  /** Watches and log tails open at the same time, of all callers. */
  readonly watchesMax: number;
  /** Events that wait for one watcher; one that is slower gets the newest state instead. */
  readonly watchEventsMax: number;
}

export const DEFAULT_LIMITS: Limits = {
  tagsPerWorkerMax: 64,
  runsOnMax: 32,
  labelsPerWorkerMax: 64,
  desiredLabelsMax: 64,
  comparatorValuesMax: 64,
  keyBytesMax: 128,
  valueBytesMax: 256,
  actionsPerWorkerMax: 256,
  slotsMax: 10_000,
  payloadBytesMax: 1024 * 1024,
  messageBytesMax: 4 * 1024 * 1024,
  nestingMax: 64,
  progressTextCharactersMax: 255,
  logLineBytesMax: 8 * 1024,
  logBytesPerAttemptMax: 10 * 1024 * 1024,
  logLinesPerSecondMax: 1000,
  labelMessagesPerSecondMax: 10,
  batchRunsMax: 1000,
  stepsPerRunMax: 1000,
  dependenciesPerRunMax: 1000,
  metadataEntriesMax: 64,
  hashExcludeKeysMax: 64,
  stepBacksPerRunMax: 10,
  pageSizeDefault: 100,
  pageSizeMax: 1000,
  watchesMax: 1000,
  watchEventsMax: 64,
};

export interface Times {
  /** How often a worker speaks when it has nothing to say. */
  readonly heartbeatIntervalMs: number;
  /** A stream silent for this long is dead. */
  readonly silenceTimeoutMs: number;
  /** How long a worker that lost its stream keeps its assignments. */
  readonly reconnectGraceMs: number;
  /** From the hand-over of an assignment to the transport until step_accepted. */
  readonly acceptTimeoutMs: number;
  /** After a missed accept the worker gets nothing for this long, unless it speaks about its work before. */
  readonly missedAcceptPauseMsMax: number;
  /** How long a step waits for a worker, unless it says otherwise; 0 = for ever. */
  readonly scheduleTimeoutMs: number;
  /** A worker that returned a step is offered it again after this, doubling … */
  readonly reofferPauseMs: number;
  /** … up to this. */
  readonly reofferPauseMsMax: number;
  /** A step whose input was reported invalid is offered again after this, doubling with every report … */
  readonly invalidInputPauseMs: number;
  /** … up to this. */
  readonly invalidInputPauseMsMax: number;
  /** The first message of a stream must have come by then. */
  readonly helloTimeoutMs: number;
  /** A cancelled handler that does not end is closed after this, whatever it does. */
  readonly cancelCloseMs: number;
  /** An ended run stays in memory for this long, so that late facts and repeated requests find it without the store. */
  readonly endedInMemoryMs: number;
  /** A default worker that was not seen for this long is deleted. */
  readonly defaultWorkerKeptMs: number;
  /** How often ended runs are looked for that are no longer to be kept. */
  readonly retentionIntervalMs: number;
  /** A watcher of a run hears of its progress at most this often. */
  readonly watchProgressIntervalMs: number;
}

export const DEFAULT_TIMES: Times = {
  heartbeatIntervalMs: 5_000,
  silenceTimeoutMs: 15_000,
  reconnectGraceMs: 30_000,
  acceptTimeoutMs: 10_000,
  missedAcceptPauseMsMax: 30_000,
  scheduleTimeoutMs: 300_000,
  reofferPauseMs: 1_000,
  reofferPauseMsMax: 30_000,
  invalidInputPauseMs: 1_000,
  invalidInputPauseMsMax: 60_000,
  helloTimeoutMs: 5_000,
  cancelCloseMs: 10_000,
  endedInMemoryMs: 60_000,
  defaultWorkerKeptMs: 7 * 24 * 3_600_000,
  retentionIntervalMs: 5_000,
  watchProgressIntervalMs: 200,
};
