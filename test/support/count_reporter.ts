import type { Reporter, TestModule } from 'vitest/node';

/** Says at the end, on a line by itself, how many tests passed and failed: for machines that read logs. */
export default class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    let passed = 0;
    let failed = 0;
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') passed += 1;
        else failed += 1;
      }
      // A file that could not be loaded has no tests, and is a failure all the same.
      failed += module.errors().length;
    }
    console.log(`${passed} passed, ${failed} failed`);
  }
}
