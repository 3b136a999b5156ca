// Generates again, and fails when what is committed differs.
import { execFileSync } from 'node:child_process';

execFileSync('npx', ['buf', 'generate'], { stdio: 'inherit' });
const changed = execFileSync('git', ['status', '--porcelain', '--', 'gen'], { encoding: 'utf8' });
if (changed !== '') {
  console.error(`gen/ is not what proto/ generates; run "npm run generate" and commit:\n${changed}`);
  process.exit(1);
}
console.log('gen/ is what proto/ generates');
