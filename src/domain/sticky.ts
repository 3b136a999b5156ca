/** How strongly the steps of a run keep to one worker. */
export type Sticky = 'NONE' | 'SOFT' | 'HARD';

/** The worker a step should go to. */
export interface Pin {
  readonly workerId: string;
  readonly workerName: string;
  /** True: to that one or to nobody; all other conditions still apply. False: to that one first. */
  readonly hard: boolean;
}
