/** `npm run bench -- NAME [--json FILE] [--smoke]`. Without a name: every benchmark. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DISPATCH_SIZES, DISPATCH_SMOKE, dispatch, reportDispatch } from './dispatch/dispatch.ts';
import { describeMachine } from './support/machine.ts';

type Figures = Record<string, number>;

/** Each by its name: `smoke` is a small round that only shows that it runs. */
const BENCHES: Readonly<Record<string, (smoke: boolean) => Promise<Figures>>> = {
  dispatch: async (smoke) => reportDispatch(await dispatch(smoke ? DISPATCH_SMOKE : DISPATCH_SIZES)),
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'string' }, smoke: { type: 'boolean', default: false } },
});
const names = positionals.length > 0 ? positionals : Object.keys(BENCHES);
const results: Record<string, Figures> = {};

console.log(describeMachine());
for (const name of names) {
  const bench = BENCHES[name];
  if (bench === undefined) throw new Error(`no benchmark "${name}"; there are: ${Object.keys(BENCHES).join(', ')}`);
  const figures = await bench(values.smoke);
  results[name] = figures;
  console.log(`\n${name}${values.smoke ? ' (smoke: too small to mean anything)' : ''}`);
  for (const [figure, value] of Object.entries(figures)) console.log(`  ${figure.padEnd(26)} ${value.toFixed(3)}`);
}
if (values.json !== undefined) {
  writeFileSync(
    values.json,
    `${JSON.stringify({ machine: describeMachine(), smoke: values.smoke, results }, null, 2)}\n`,
  );
}
process.exit(0);
