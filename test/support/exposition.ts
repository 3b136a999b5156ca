/**
 * A strict reader of Prometheus' text format 0.0.4: what `promtool check metrics` would refuse or warn of is an error.
 * Of our own, since no package for it is installed; the page was held against promtool itself when this was written.
 */

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: Sample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y;

export function parseExposition(page: string): Map<string, Family> {
  if (!page.endsWith('\n')) throw new Error('the last line has no end');
  const families = new Map<string, Family>();
  let current: Family | null = null;
  let help: { name: string; text: string } | null = null;
  for (const line of page.split('\n')) {
    if (line === '') continue;
    if (line.startsWith('# HELP ')) {
      const [, name = '', text = ''] = /^# HELP (\S+) (.+)$/.exec(line) ?? [];
      help = { name, text };
    } else if (line.startsWith('# TYPE ')) {
      const [, name = '', type = ''] = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line) ?? [];
      if (!NAME.test(name) || help?.name !== name || families.has(name)) throw new Error(`bad family: ${line}`);
      current = { name, type, help: help.text, samples: [] };
      families.set(name, current);
    } else {
      if (current === null) throw new Error(`a sample without a family: ${line}`);
      current.samples.push(sampleOf(line, current));
    }
  }
  for (const family of families.values()) check(family);
  return families;
}

function sampleOf(line: string, { name, type }: Family): Sample {
  const [, sampleName = '', labels, number = ''] = SAMPLE.exec(line) ?? [];
  const suffixes =
    type === 'histogram' ? ['_bucket', '_sum', '_count'] : type === 'summary' ? ['', '_sum', '_count'] : [''];
  if (!suffixes.some((suffix) => sampleName === name + suffix)) throw new Error(`not a sample of ${name}: ${line}`);
  const value =
    number === '+Inf' ? Number.POSITIVE_INFINITY : number === 'Nan' || number === 'NaN' ? Number.NaN : Number(number);
  if (Number.isNaN(value) && !/^nan$/i.test(number)) throw new Error(`not a number: ${line}`);
  return { name: sampleName, labels: labels === undefined ? {} : labelsOf(labels), value };
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const found = LABEL.exec(text);
    if (found === null) throw new Error(`bad labels: ${text}`);
    const [, name = '', value = ''] = found;
    if (name in labels) throw new Error(`the label ${name} twice: ${text}`);
    labels[name] = value.replace(/\\(.)/g, (_all, escaped: string) => (escaped === 'n' ? '\n' : escaped));
  }
  return labels;
}

function check({ name, type, help, samples }: Family): void {
  if (help === '') throw new Error(`${name} has no help`);
  if ((type === 'counter') !== name.endsWith('_total'))
    throw new Error(`${name}: _total is for counters, and for all of them`);
  if (/_(ms|milliseconds|minutes|kb|kilobytes|mb)(_|$)/.test(name)) throw new Error(`${name} is not in base units`);
  const seen = new Set<string>();
  for (const { name: sample, labels, value } of samples) {
    const key = `${sample}${JSON.stringify(Object.entries(labels).sort())}`;
    if (seen.has(key)) throw new Error(`twice: ${key}`);
    seen.add(key);
    if (type === 'counter' && !(value >= 0)) throw new Error(`${key} is ${value}`);
  }
  if (type === 'histogram') checkHistogram(name, samples);
}

/** One histogram for each set of labels beside `le`. */
function checkHistogram(name: string, samples: readonly Sample[]): void {
  const setOf = ({ labels: { le: _le, ...rest } }: Sample) => JSON.stringify(rest);
  for (const set of new Set(samples.map(setOf))) {
    checkBuckets(
      name,
      samples.filter((sample) => setOf(sample) === set),
    );
  }
}

function checkBuckets(name: string, samples: readonly Sample[]): void {
  let last = 0;
  let lastBound = Number.NEGATIVE_INFINITY;
  for (const { labels, value } of samples.filter((sample) => sample.name === `${name}_bucket`)) {
    const bound = labels.le === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels.le);
    if (!(bound > lastBound) || value < last) throw new Error(`${name}: the bucket ${labels.le} is out of order`);
    last = value;
    lastBound = bound;
  }
  const count = samples.find((sample) => sample.name === `${name}_count`)?.value;
  if (lastBound !== Number.POSITIVE_INFINITY || last !== count) throw new Error(`${name}: the last bucket is not all`);
}
