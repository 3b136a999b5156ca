/** Metrics in the text format of Prometheus, on a registry of their own: two servers of one process share none. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

const PREFIX = 'yardmaster_';

type LabelValues = Readonly<Record<string, string>>;

export interface Metrics {
  /** `name` as it is shown, without the prefix; it ends with `_total`. */
  counter(name: string, help: string, labels?: readonly string[]): (by: number, values?: LabelValues) => void;
  /** Read at each scrape: `read` sets every value there is; what it leaves out is not shown. */
  gauge(
    name: string,
    help: string,
    labels: readonly string[],
    read: (set: (value: number, values?: LabelValues) => void) => void,
  ): void;
  histogram(name: string, help: string, buckets: readonly number[]): (value: number) => void;
  /** The page, facts about the process included. */
  text(): Promise<string>;
  readonly contentType: string;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  return {
    contentType: registry.contentType,
    counter(name, help, labels = []) {
      const counter = new Counter({ name: PREFIX + name, help, labelNames: [...labels], registers });
      return (by, values = {}) => counter.inc(values, by);
    },
    gauge(name, help, labels, read) {
      new Gauge({
        name: PREFIX + name,
        help,
        labelNames: [...labels],
        registers,
        collect() {
          this.reset();
          read((value, values = {}) => this.set(values, value));
        },
      });
    },
    histogram(name, help, buckets) {
      const histogram = new Histogram({ name: PREFIX + name, help, buckets: [...buckets], registers });
      return (value) => histogram.observe(value);
    },
    text: async () => Registry.merge([registry, processRegistry()]).metrics(),
  };
}

// By their names these are counters, and they are gauges: Prometheus' own check refuses the page for them.
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

let ofProcess: Registry | null = null;

/** One for the process: its observers of the event loop and of garbage collection cannot be taken off again. */
function processRegistry(): Registry {
  if (ofProcess === null) {
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess, prefix: PREFIX });
    for (const name of MISNAMED) ofProcess.removeSingleMetric(PREFIX + name);
  }
  return ofProcess;
}
