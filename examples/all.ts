/** `npm run test:examples`: every example, one after the other; ends with 0 when all of them did. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';

const here = new URL('.', import.meta.url);
const examples = readdirSync(here).filter((name) => existsSync(new URL(`${name}/main.ts`, here)));

let failed = 0;
for (const name of examples) {
  const program = new URL(`${name}/main.ts`, here).pathname;
  // With the loader that this program was started with.
  const child = spawn(process.execPath, [...process.execArgv, program], { stdio: 'inherit' });
  const [code] = await once(child, 'exit');
  if (code !== 0) failed += 1;
}
console.log(failed === 0 ? `All ${examples.length} examples went as told.` : `${failed} of the examples failed.`);
process.exitCode = failed === 0 ? 0 : 1;
