import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { afterAll, beforeAll, expect, test } from "vitest";

/** Does what "Add a service in five steps" of the README says, to the letter. */
const top = join(import.meta.dirname, "..");
let folder: string;
let nats: NatsServer;
let worker: ChildProcess | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "jetrpc-readme-"));
  nats = await startNats();
  // What git has, and what is built already.
  const list = (...args: string[]) =>
    execFileSync("git", ["ls-files", "-o", ...args], { cwd: top })
      .toString()
      .trim()
      .split("\n");
  const built = list("-i", "--exclude-standard", "--directory").filter((p) => p.endsWith("/dist/"));
  for (const path of [...list("-c", "--exclude-standard"), ...built]) {
    cpSync(join(top, path), join(folder, path), { recursive: true });
  }
  // Hard links: what is installed is read, never written in place.
  execFileSync("cp", ["-al", join(top, "node_modules"), join(folder, "node_modules")]);
});

afterAll(async () => {
  if (worker?.exitCode === null && worker.signalCode === null) {
    const exit = once(worker, "exit");
    worker.stdin?.end();
    await exit;
  }
  await nats?.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Block {
  readonly language: string;
  readonly text: string;
}

/** The steps of the README: the words before each block of code, and the block. */
function steps(): { words: string; block: Block }[] {
  const readme = readFileSync(join(top, "README.md"), "utf8");
  const section = readme.split("## Add a service in five steps")[1]?.split("\n## ")[0] ?? "";
  return section
    .split(/(?=^\*\*\d\. )/m)
    .slice(1)
    .map((step) => {
      const match = /^([\s\S]*?)```(\w+)\n([\s\S]*?)```/.exec(step);
      if (!match) {
        throw new Error(`a step without code: ${step}`);
      }
      return {
        words: match[1] as string,
        block: { language: match[2] as string, text: match[3] as string },
      };
    });
}

function write(step: { words: string; block: Block }): string {
  const path = /`([\w/.-]+\.(?:proto|ts))`/.exec(step.words)?.[1] as string;
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), step.block.text);
  return path;
}

function shell(command: string): string {
  return execFileSync("bash", ["-ec", command], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, NATS_URL: nats.url },
  });
}

test("a service is added in five steps", { timeout: 900_000 }, async () => {
  const [contract, generate, implement, run, call] = steps();
  if (!contract || !generate || !implement || !run || !call) {
    throw new Error("the README has no five steps");
  }
  write(contract);
  shell(generate.block.text);
  write(implement);
  // npx and tsx have processes of their own. They end, all of them, with the pipe
  // of stdin: when the test says so, and when it dies.
  worker = spawn("bash", ["-c", `${run.block.text.trim()} & read -r _; kill 0`], {
    cwd: folder,
    env: { ...process.env, NATS_URL: nats.url },
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  const [ready] = await once(worker.stdout as NodeJS.ReadableStream, "data");
  expect(String(ready)).toBe("ready\n");
  const app = write(call);
  expect(call.words).toContain(`npx tsx ${app}`);
  expect(shell(`npx tsx ${app}`)).toBe("Hello, Ada!\nDear Ada, this was attempt 1.\n");
});
