import { writeFileSync } from "node:fs";
import { attack } from "./attack.js";
import { Evidence } from "./evidence.js";
import { runCommand } from "./run-command.js";
import { readSettings, usage } from "./settings.js";
import { isGood, verdictLine } from "./verdict.js";

async function main(args: string[]): Promise<void> {
  const settings = readSettings(args);
  const { seed, nodes, rate } = settings;
  const evidence = new Evidence();
  let isKept = true;
  const report = (line: string) => {
    console.error(line);
    evidence.note(line);
  };
  try {
    const where = nodes === 1 ? "one server" : "a cluster of three servers";
    report(`seed ${seed}, ${where}, ${rate} calls a second`);
    const verdict = await attack(settings, evidence, report);
    console.log(verdictLine(verdict));
    if (settings.json !== undefined) {
      writeFileSync(settings.json, `${JSON.stringify({ seed, nodes, rate, ...verdict })}\n`);
    }
    isKept = !isGood(verdict);
  } finally {
    if (isKept) {
      console.error(`failed: repeat it with --seed ${seed} --nodes ${nodes} --rate ${rate}`);
      console.error(`stores and logs are in ${evidence.folder}`);
      process.exitCode = 1;
    } else {
      evidence.remove();
    }
  }
}

await runCommand(usage, main);
