// node summary.mjs <0, or 1 when a step failed> <vitest's JSON report>...
// Names what failed once more, as a log may be cut from its beginning, and counts.
import { readFileSync } from "node:fs";

const [hasFailedStep, ...files] = process.argv.slice(2);
let passed = 0;
let failed = 0;
for (const file of files) {
  try {
    const report = JSON.parse(readFileSync(file, "utf8"));
    passed += report.numPassedTests;
    for (const { name, status, message, assertionResults } of report.testResults) {
      const failures = assertionResults.filter((test) => test.status === "failed");
      for (const { fullName, failureMessages } of failures) {
        console.log(`FAILED: ${fullName}: ${failureMessages[0]?.split("\n")[0]}`);
      }
      failed += failures.length;
      // A file that cannot be loaded has no failed test, and failed all the same.
      if (status === "failed" && failures.length === 0) {
        console.log(`FAILED: ${name}: ${message}`);
        failed++;
      }
    }
  } catch (error) {
    console.log(`FAILED: there is no report ${file}: ${error.message}`);
    failed++;
  }
}
if (failed === 0 && hasFailedStep !== "0") {
  failed = 1;
}
console.log(`${passed} passed, ${failed} failed`);
